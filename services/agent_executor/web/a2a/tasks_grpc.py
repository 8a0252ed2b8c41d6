"""The task API of agents over the run log, which is the only state there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    ListTasksResponse,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import TaskNotCancelableError, UnsupportedOperationError
from a2a.utils.task import apply_history_length

from agent_executor.api.executor.v1 import run_pb2
from agent_executor.errors import RunNotFoundError
from agent_executor.web.a2a.context_ids import message_key, new_context_id
from agent_executor.web.a2a.message_convert import message_to_input
from agent_executor.web.a2a.task_convert import run_states_of, run_to_task
from agent_executor.web.a2a.update_convert import TaskUpdate, TaskUpdates
from agent_executor.web.deadlines import until_stopping
from agent_executor.web.executor_grpc import Executor
from agent_executor.web.run_following_grpc import FINAL_STATES, FollowedRun, RunFollower, RunUpdate
from agent_executor.web.run_wording_convert import approval_sentence

_PAGE_SIZE: Final = 50
_PAGE_SIZE_MAX: Final = 100
_CANCEL_REASON: Final = "The A2A client cancelled the task."


class AgentTasks:
    """The tasks of one agent, as one caller may see them.

    Every method raises classes of ``agent_executor.errors``, or errors of the protocol for what
    only it knows.

    Args:
        executor: The executor on behalf of the caller.
        agent_id: The agent.
        authorization: Who calls.
        stopping: Is set when streams are to end.
    """

    def __init__(
        self, executor: Executor, agent_id: str, authorization: str, stopping: asyncio.Event
    ) -> None:
        self._executor = executor
        self._agent_id = agent_id
        self._authorization = authorization
        self._stopping = stopping

    async def send(self, request: SendMessageRequest) -> Task:
        """Runs the agent, and returns the task when it has ended or waits for somebody."""
        text, context, executor = await self._begin(request)
        if request.configuration.return_immediately:
            followed = FollowedRun(await executor.start_run(self._agent_id, text, context))
        else:
            follower = RunFollower(executor, self._stopping, self._agent_id, text, context)
            followed = await follower.follow(_tell_nobody)
        task = run_to_task(followed.run, followed.waits_for)
        return apply_history_length(task, request.configuration)

    async def send_streaming(self, request: SendMessageRequest) -> AsyncGenerator[TaskUpdate, None]:
        """Runs the agent, and yields the task and what happens to it until its end."""
        text, context, executor = await self._begin(request)
        run = run_pb2.Run(agent_id=self._agent_id, input=text, conversation_id=context)
        updates = TaskUpdates(run)
        happening = executor.stream_agent(self._agent_id, text, context)
        async with aclosing(until_stopping(happening, self._stopping)) as stream:
            async for update in stream:
                for event in updates.of_update(update):
                    yield event

    async def get(self, request: GetTaskRequest) -> Task:
        """Returns a task."""
        run = await self._own_run(request.id)
        return apply_history_length(await self._task_of(run), request)

    async def list(self, request: ListTasksRequest) -> ListTasksResponse:
        """Returns a page of tasks, the newest first.

        A state of tasks is that of several states of runs, and when a run last changed is not
        indexed; so a page is cut first, and may hold fewer than its size, or none.
        """
        page_size = min(request.page_size or _PAGE_SIZE, _PAGE_SIZE_MAX)
        states = run_states_of(request.status)
        page = await self._executor.list_runs(
            self._agent_id,
            request.context_id,
            state=next(iter(states)) if len(states) == 1 else "",
            page_token=request.page_token,
            page_size=page_size,
        )
        tasks = [
            apply_history_length(
                run_to_task(run, with_artifacts=request.include_artifacts), request
            )
            for run in page.runs
            if run.state in states
        ]
        if request.HasField("status_timestamp_after"):
            after = request.status_timestamp_after.ToNanoseconds()
            tasks = [task for task in tasks if task.status.timestamp.ToNanoseconds() >= after]
        return ListTasksResponse(
            tasks=tasks,
            next_page_token=page.next_page_token,
            page_size=page_size,
            # How many there are in all is not counted: this is how many are known of.
            total_size=len(tasks),
        )

    async def cancel(self, request: CancelTaskRequest) -> Task:
        """Stops a task and returns it."""
        await self._own_run(request.id)
        receipt = await self._executor.cancel_run(request.id, _CANCEL_REASON)
        if not receipt.was_stopped:
            raise TaskNotCancelableError(f"The task had ended before: it is {receipt.state}.")
        return run_to_task(await self._executor.get_run(request.id))

    async def subscribe(self, request: SubscribeToTaskRequest) -> AsyncGenerator[TaskUpdate, None]:
        """Yields a task under way, and what happens to it from now on until its end."""
        run = await self._own_run(request.id)
        if run.state in FINAL_STATES:
            raise UnsupportedOperationError(f"The task has ended: it is {run.state}.")
        yield await self._task_of(run)
        updates = TaskUpdates(run)
        events = self._executor.stream_run_events(run.id, run.last_sequence)
        async with aclosing(until_stopping(events, self._stopping)) as stream:
            async for event in stream:
                if event.WhichOneof("payload") == "run_finished":
                    for update in updates.of_end(await self._executor.get_run(run.id)):
                        yield update
                    return
                for update in updates.of_event(event):
                    yield update

    async def _begin(self, request: SendMessageRequest) -> tuple[str, str, Executor]:
        """Returns what is asked, in which context, and the executor under the message's key."""
        message = request.message
        if message.task_id:
            await self._own_run(message.task_id)
            raise UnsupportedOperationError(
                "A task takes no further messages. To go on with what was said, send a message with"
                " the task's context and without the task."
            )
        text = message_to_input(message)
        context = message.context_id or new_context_id(
            self._authorization, self._agent_id, message.message_id, text
        )
        key = self._executor.idempotency_key or message_key(self._agent_id, message.message_id)
        return text, context, self._executor.under(key)

    async def _own_run(self, run_id: str) -> run_pb2.Run:
        run = await self._executor.get_run(run_id)
        if run.agent_id != self._agent_id:
            raise RunNotFoundError("There is no such run of this agent.")
        return run

    async def _task_of(self, run: run_pb2.Run) -> Task:
        if run.state != "waiting":
            return run_to_task(run)
        page = await self._executor.pending_approvals(run.id)
        task = run_to_task(run, " ".join(map(approval_sentence, page.approvals)))
        if not page.approvals:
            # It waits for a batch of the provider, and needs nobody.
            task.status.state = TaskState.TASK_STATE_WORKING
        return task


async def _tell_nobody(update: RunUpdate) -> None:
    """Nobody listens to what happens on the way."""

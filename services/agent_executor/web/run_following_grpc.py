"""Runs an agent for a caller who waits, until the run has ended or waits for somebody itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from agent_executor.api.executor.v1 import run_pb2, run_service_pb2
from agent_executor.errors import AgentExecutorError, DeadlineExceededError, UnavailableError
from agent_executor.web.deadlines import deadline
from agent_executor.web.executor_grpc import Executor
from agent_executor.web.run_wording_convert import happening_to_sentence

FINAL_STATES: Final = frozenset({"completed", "failed", "cancelled", "budget_exceeded"})

# A run that waits and of which nothing more is heard for so long waits now; one that is told again
# from its beginning has waited in the past, and its next event is there at once.
_QUIET_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.5
_MONEY: Final = "money"

RunUpdate: TypeAlias = run_service_pb2.RunUpdate
Tell: TypeAlias = Callable[[RunUpdate], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FollowedRun:
    """What became of a run while its caller waited.

    Attributes:
        run: The run. While it is under way, only what is known of it: at least its id and state.
        waits_for: What it waits for, in one sentence; empty if it does not wait.
    """

    run: run_pb2.Run
    waits_for: str = ""


class RunFollower:
    """Starts one run and follows it.

    Args:
        executor: The executor on behalf of the caller. Without an idempotency key the run gets
            one, so that it can be found again whatever becomes of the connection.
        stopping: Is set when nothing is to be waited for any more, since this process stops.
        agent_id: The agent.
        text: What is asked of it.
        conversation_id: The conversation that the run continues; empty: none.
    """

    def __init__(
        self,
        executor: Executor,
        stopping: asyncio.Event,
        agent_id: str,
        text: str,
        conversation_id: str = "",
    ) -> None:
        self._stopping = stopping
        self._executor = executor.under(executor.idempotency_key or str(uuid.uuid4()))
        self._agent_id = agent_id
        self._text = text
        self._conversation_id = conversation_id
        self._run_id: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting: dict[str, str] = {}

    async def follow(self, tell: Tell) -> FollowedRun:
        """Follows the run until it has ended, waits for somebody, or the deadline has passed.

        Args:
            tell: Is called with each thing that happens.

        Raises:
            AgentExecutorError: The run was refused, or nothing is heard of it any more.
        """
        try:
            async with deadline(self._executor.execution_timeout_seconds, self._stopping):
                return await self._follow(tell)
        except TimeoutError:
            if not self._run_id.done():
                if self._stopping.is_set():
                    raise UnavailableError("This server stops; call again.") from None
                raise DeadlineExceededError("The deadline of the call has passed.") from None
            return FollowedRun(self._under_way("running"))

    async def cancel(self, reason: str) -> None:
        """Cancels the run for its own caller, whether or not anything was heard of it.

        Raises:
            AgentExecutorError: The executor does not do it.
        """
        async with _in_time(self._executor):
            if not self._run_id.done():
                # Under the same key this is the same run.
                async with aclosing(self._updates()) as updates:
                    self._know((await anext(updates)).run_id)
            await self._executor.cancel_run(self._run_id.result(), reason)

    async def cancel_for(self, executor: Executor, reason: str) -> None:
        """Cancels the run for somebody who need not be its caller, once it has begun.

        Args:
            executor: The executor on behalf of whoever asks.
            reason: Why.

        Raises:
            AgentExecutorError: The executor does not do it.
        """
        async with _in_time(executor):
            await executor.cancel_run(await asyncio.shield(self._run_id), reason)

    async def _follow(self, tell: Tell) -> FollowedRun:
        try:
            async with aclosing(self._updates()) as updates:
                while True:
                    async with asyncio.timeout(_QUIET_SECONDS if self._waiting else None):
                        update = await anext(updates)
                    self._know(update.run_id)
                    self._note(update)
                    await tell(update)
                    if update.WhichOneof("update") == "done":
                        run = run_of(update.done)
                        run.conversation_id = self._conversation_id
                        return FollowedRun(run)
        except TimeoutError:
            # Of the two deadlines only the quiet one ends here: the outer one is a cancellation.
            state = "paused" if _MONEY in self._waiting else "waiting"
            return FollowedRun(self._under_way(state), self._waits_for())
        except AgentExecutorError:
            if not self._run_id.done():
                raise
            return await self._poll()

    async def _poll(self) -> FollowedRun:
        """Waits for the end of a run whose stream was cut: it goes on, maybe elsewhere."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                run = await self._executor.get_run(self._run_id.result())
            except UnavailableError:
                continue
            if run.state in FINAL_STATES:
                return FollowedRun(run)
            if run.state in {"waiting", "paused"}:
                return FollowedRun(run, self._waits_for())

    def _updates(self) -> AsyncGenerator[RunUpdate, None]:
        return self._executor.stream_agent(self._agent_id, self._text, self._conversation_id)

    def _know(self, run_id: str) -> None:
        if not self._run_id.done():
            self._run_id.set_result(run_id)

    def _note(self, update: RunUpdate) -> None:
        match update.WhichOneof("update"):
            case "approval_requested":
                tool_call_id = update.approval_requested.tool_call_id
                self._waiting[tool_call_id] = happening_to_sentence(update) or ""
            case "approval_resolved":
                self._waiting.pop(update.approval_resolved.tool_call_id, None)
            case "run_paused":
                self._waiting[_MONEY] = happening_to_sentence(update) or ""
            case "run_continued":
                self._waiting.pop(_MONEY, None)

    def _waits_for(self) -> str:
        return " ".join(self._waiting.values())

    def _under_way(self, state: str) -> run_pb2.Run:
        return run_pb2.Run(
            id=self._run_id.result(),
            agent_id=self._agent_id,
            input=self._text,
            conversation_id=self._conversation_id,
            state=state,
        )


@asynccontextmanager
async def _in_time(executor: Executor) -> AsyncIterator[None]:
    """Surrounds what ends a run, which nobody waits for but this process when it stops.

    Raises:
        DeadlineExceededError: It took longer than a request may.
    """
    try:
        async with asyncio.timeout(executor.request_timeout_seconds):
            yield
    except TimeoutError:
        raise DeadlineExceededError("Nothing was heard of the run that is to end.") from None


def run_of(execution: run_service_pb2.ExecuteAgentResponse) -> run_pb2.Run:
    """Returns a run that was executed, as far as the answer tells of it."""
    run = run_pb2.Run(
        id=execution.task_id,
        agent_id=execution.agent_id,
        model=execution.model,
        input=execution.input,
        state=execution.state,
        output=execution.output,
        tokens_used=execution.tokens_used,
        cost_usd=execution.cost_usd,
        cost_nano_usd=execution.cost_nano_usd,
        created_at=execution.created_at,
    )
    if execution.HasField("error"):
        run.error, run.code = execution.error, execution.code
    return run

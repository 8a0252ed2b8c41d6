"""What happens in a run, as the updates of its task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from a2a.types import (
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

from agent_executor.api.executor.v1 import run_event_pb2, run_pb2, run_service_pb2
from agent_executor.web.a2a.task_convert import (
    agent_message,
    answer_artifact,
    context_id,
    run_to_metadata,
    run_to_status,
    run_to_task,
)
from agent_executor.web.run_following_grpc import run_of
from agent_executor.web.run_wording_convert import Happening, happening_to_sentence, kind_of

TaskUpdate: TypeAlias = Task | TaskStatusUpdateEvent | TaskArtifactUpdateEvent

# Somebody else has to act, before the run goes on.
_STATES: Final = {
    "approval_requested": TaskState.TASK_STATE_AUTH_REQUIRED,
    "run_paused": TaskState.TASK_STATE_AUTH_REQUIRED,
}


class TaskUpdates:
    """Turns the stream of one run into the stream of its task.

    The answer is one artifact. What the model writes is appended to it, and what it writes next,
    after it has used tools, takes its place: in the end it is the answer, and nothing else.

    Args:
        run: The run as far as it is known when the stream begins.
    """

    def __init__(self, run: run_pb2.Run) -> None:
        self._run = run
        self._model_call_id = ""
        self._written = ""

    def of_update(self, update: run_service_pb2.RunUpdate) -> Iterator[TaskUpdate]:
        """Yields the updates of the task that one thing which happens in the run is."""
        match update.WhichOneof("update"):
            case "run_started":
                self._run.id, self._run.state = update.run_id, "running"
                self._run.agent_version = update.run_started.agent_version
                yield run_to_task(self._run)
            case "text_delta" if not update.text_delta.is_thinking:
                yield self._text(update.text_delta)
            case "done":
                done = run_of(update.done)
                done.conversation_id = self._run.conversation_id
                done.agent_version = self._run.agent_version
                yield from self._end(done)
            case _:
                yield from self._step(update)

    def of_event(self, event: run_event_pb2.RunEvent) -> Iterator[TaskUpdate]:
        """The same for an event of the run's log; its end is told by ``of_end``."""
        yield from self._step(event)

    def of_end(self, run: run_pb2.Run) -> Iterator[TaskUpdate]:
        """Yields the last updates of the task of a run that has ended."""
        yield from self._end(run)

    def _text(self, delta: run_service_pb2.TextDelta) -> TaskUpdate:
        is_more = delta.model_call_id == self._model_call_id
        self._model_call_id = delta.model_call_id
        self._written = self._written + delta.text if is_more else delta.text
        return self._artifact(delta.text, append=is_more)

    def _step(self, happening: Happening) -> Iterator[TaskUpdate]:
        said = happening_to_sentence(happening)
        if said is not None:
            state = _STATES.get(kind_of(happening) or "", TaskState.TASK_STATE_WORKING)
            message = agent_message(self._run, said, happening.sequence)
            yield self._status(TaskStatus(state=state, message=message))

    def _end(self, run: run_pb2.Run) -> Iterator[TaskUpdate]:
        answer = run.output.response
        if self._written and self._written == answer:
            yield self._artifact("", append=True, is_last=True)
        elif answer:
            yield self._artifact(answer, append=False, is_last=True)
        last = self._status(run_to_status(run))
        last.metadata.CopyFrom(run_to_metadata(run))
        yield last

    def _artifact(self, text: str, *, append: bool, is_last: bool = False) -> TaskUpdate:
        artifact = answer_artifact(text)
        return TaskArtifactUpdateEvent(
            task_id=self._run.id,
            context_id=context_id(self._run),
            artifact=artifact,
            append=append,
            last_chunk=is_last,
        )

    def _status(self, status: TaskStatus) -> TaskStatusUpdateEvent:
        return TaskStatusUpdateEvent(
            task_id=self._run.id,
            context_id=context_id(self._run),
            status=status,
        )

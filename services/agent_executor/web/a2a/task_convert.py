"""Runs as tasks: a task's id is the run's, and its context is the conversation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from a2a.types import Artifact, Message, Part, Role, Task, TaskState, TaskStatus
from google.protobuf.struct_pb2 import Struct

from agent_executor.api.executor.v1 import run_pb2
from agent_executor.web.run_following_grpc import FINAL_STATES

ANSWER: Final = "answer"
"""The id of the artifact that is the agent's answer."""

STATES: Final[Mapping[str, TaskState]] = {
    "pending": TaskState.TASK_STATE_SUBMITTED,
    "running": TaskState.TASK_STATE_WORKING,
    # For a person who may decide, or raise a budget: an authorization that comes from outside.
    "waiting": TaskState.TASK_STATE_AUTH_REQUIRED,
    "paused": TaskState.TASK_STATE_AUTH_REQUIRED,
    "completed": TaskState.TASK_STATE_COMPLETED,
    "failed": TaskState.TASK_STATE_FAILED,
    "budget_exceeded": TaskState.TASK_STATE_FAILED,
    "cancelled": TaskState.TASK_STATE_CANCELED,
}
"""The state of a task by the state of its run."""


def run_to_task(run: run_pb2.Run, note: str = "", *, with_artifacts: bool = True) -> Task:
    """Returns the task that a run is.

    Args:
        run: The run, or what is known of it.
        note: What it waits for; empty if nothing.
        with_artifacts: Whether the task holds the answer.
    """
    task = Task(
        id=run.id,
        context_id=context_id(run),
        status=run_to_status(run, note),
        metadata=run_to_metadata(run),
    )
    if run.input:
        asked = Message(
            message_id=f"{run.id}-input",
            context_id=task.context_id,
            task_id=run.id,
            role=Role.ROLE_USER,
            parts=[Part(text=run.input)],
        )
        task.history.append(asked)
    if with_artifacts and run.output.response:
        task.artifacts.append(answer_artifact(run.output.response))
    return task


def run_to_status(run: run_pb2.Run, note: str = "") -> TaskStatus:
    """Returns the status of a run's task, with a message of what is wrong or waited for."""
    status = TaskStatus(state=STATES.get(run.state, TaskState.TASK_STATE_UNSPECIFIED))
    said = f"{run.code}: {run.error}" if run.HasField("error") else note
    if said:
        status.message.CopyFrom(agent_message(run, said, run.last_sequence))
    if run.HasField("ended_at"):
        status.timestamp.CopyFrom(run.ended_at)
    elif run.HasField("created_at") and run.state not in FINAL_STATES:
        status.timestamp.CopyFrom(run.created_at)
    return status


def context_id(run: run_pb2.Run) -> str:
    """Returns the context of a run's task; a run that stands alone is its own."""
    return run.conversation_id or run.id


def run_to_metadata(run: run_pb2.Run) -> Struct:
    """Returns what the protocol has no field for: the run's own state and what it cost."""
    known: dict[str, str | float] = {
        "state": run.state,
        "tokens_used": run.tokens_used,
        "cost_usd": run.cost_usd,
    }
    if run.agent_version:
        known["agent_version"] = run.agent_version
    metadata = Struct()
    metadata.update(known)
    return metadata


def agent_message(run: run_pb2.Run, text: str, sequence: int) -> Message:
    """Returns something that the platform says about a run.

    Args:
        run: The run.
        text: What it says.
        sequence: The event of the run's log that it is about; tells messages apart.
    """
    return Message(
        message_id=f"{run.id}-{sequence}",
        context_id=context_id(run),
        task_id=run.id,
        role=Role.ROLE_AGENT,
        parts=[Part(text=text)],
    )


def answer_artifact(text: str) -> Artifact:
    """Returns the artifact that is the answer, or a piece of it."""
    return Artifact(artifact_id=ANSWER, name=ANSWER, parts=[Part(text=text)])


def run_states_of(state: TaskState) -> Collection[str]:
    """Returns the states of runs whose tasks have this state; every one if it is unspecified."""
    if state == TaskState.TASK_STATE_UNSPECIFIED:
        return frozenset(STATES)
    return frozenset(name for name, mapped in STATES.items() if mapped == state)

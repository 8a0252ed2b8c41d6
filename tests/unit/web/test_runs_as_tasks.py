"""Runs as tasks, and what happens in them as the updates of a task."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from a2a.types import (
    Message,
    Part,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatusUpdateEvent,
)
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.struct_pb2 import Value

from agent_executor import errors
from agent_executor.api.executor.v1 import run_event_pb2, run_pb2
from agent_executor.errors import AgentExecutorError
from agent_executor.web.a2a.context_ids import message_key, new_context_id
from agent_executor.web.a2a.error_convert import error_to_a2a
from agent_executor.web.a2a.message_convert import message_to_input
from agent_executor.web.a2a.task_convert import STATES, run_states_of, run_to_task
from agent_executor.web.a2a.update_convert import TaskUpdate, TaskUpdates
from tests.unit.web.runs import (
    RUN_ID,
    asks,
    decided,
    done,
    failed_execution,
    paused,
    started,
    text,
)

RUN_STATES = [
    "pending",
    "running",
    "waiting",
    "paused",
    "completed",
    "failed",
    "cancelled",
    "budget_exceeded",
]


def updates_of(*happenings: Any) -> list[TaskUpdate]:
    run = run_pb2.Run(input="What?", conversation_id="talk")
    updates = TaskUpdates(run)
    return [event for happening in happenings for event in updates.of_update(happening)]


def test_every_state_of_a_run_is_one_of_a_task() -> None:
    assert set(STATES) == set(RUN_STATES)
    assert run_states_of(TaskState.TASK_STATE_FAILED) == {"failed", "budget_exceeded"}
    assert run_states_of(TaskState.TASK_STATE_AUTH_REQUIRED) == {"waiting", "paused"}
    assert run_states_of(TaskState.TASK_STATE_UNSPECIFIED) == set(RUN_STATES)
    assert not run_states_of(TaskState.TASK_STATE_REJECTED)


def test_a_run_is_a_task() -> None:
    run = run_pb2.Run(
        id=RUN_ID,
        input="What?",
        state="failed",
        error="No.",
        code="MODEL_ERROR",
        agent_version=3,
        output=run_pb2.RunOutput(response="So far"),
        cost_usd=0.5,
    )
    task = run_to_task(run)
    assert (task.id, task.context_id) == (RUN_ID, RUN_ID), "it stands alone"
    assert task.status.state == TaskState.TASK_STATE_FAILED
    assert task.status.message.parts[0].text == "MODEL_ERROR: No."
    assert task.artifacts[0].parts[0].text == "So far"
    assert (task.metadata["agent_version"], task.metadata["cost_usd"]) == (3, 0.5)
    assert not run_to_task(run, with_artifacts=False).artifacts


def test_an_answer_that_was_streamed_is_not_told_twice() -> None:
    task, *rest = updates_of(started(), text("4"), text("Hm", is_thinking=True), text("2"), done())
    assert isinstance(task, Task)
    assert (task.id, task.context_id) == (RUN_ID, "talk")
    pieces = [event for event in rest if isinstance(event, TaskArtifactUpdateEvent)]
    assert [(event.artifact.parts[0].text, event.append, event.last_chunk) for event in pieces] == [
        ("4", False, False),
        ("2", True, False),
        ("", True, True),
    ]
    last = rest[-1]
    assert isinstance(last, TaskStatusUpdateEvent)
    assert last.status.state == TaskState.TASK_STATE_COMPLETED
    assert last.metadata["tokens_used"] == 7


def test_what_is_written_before_tools_gives_way_to_the_answer() -> None:
    events = updates_of(started(), text("Let me see.", "one"), text("4", "two"), done())
    pieces = [event for event in events if isinstance(event, TaskArtifactUpdateEvent)]
    assert [(event.artifact.parts[0].text, event.append) for event in pieces] == [
        ("Let me see.", False),
        ("4", False),
        ("42", False),
    ]
    assert pieces[-1].last_chunk


def test_a_run_without_an_answer_has_no_artifact() -> None:
    events = updates_of(started(), failed_execution("budget_exceeded", "BUDGET_EXCEEDED"))
    assert not [event for event in events if isinstance(event, TaskArtifactUpdateEvent)]
    last = events[-1]
    assert isinstance(last, TaskStatusUpdateEvent)
    assert last.status.message.parts[0].text == "BUDGET_EXCEEDED: It went wrong."


def test_a_task_that_waits_says_so_and_goes_on() -> None:
    states = [
        event.status.state
        for event in updates_of(started(), asks(), decided(), paused())
        if isinstance(event, TaskStatusUpdateEvent)
    ]
    assert states == [
        TaskState.TASK_STATE_AUTH_REQUIRED,
        TaskState.TASK_STATE_WORKING,
        TaskState.TASK_STATE_AUTH_REQUIRED,
    ]


def test_events_of_the_log_are_told_as_updates_are() -> None:
    run = run_pb2.Run(id=RUN_ID)
    called = run_event_pb2.ToolCallStarted(tool_name="calculator")
    event = run_event_pb2.RunEvent(run_id=RUN_ID, sequence=4, tool_call_started=called)
    [status] = TaskUpdates(run).of_event(event)
    assert isinstance(status, TaskStatusUpdateEvent)
    assert status.status.message.message_id == f"{RUN_ID}-4"


def test_messages_are_inputs() -> None:
    data = Value()
    data.struct_value.update({"a": [1, "β"]})
    message = Message(parts=[Part(text="Look:"), Part(data=data)])
    assert message_to_input(message) == 'Look:\n{"a": [1.0, "β"]}'
    with pytest.raises(ContentTypeNotSupportedError, match="no files"):
        message_to_input(Message(parts=[Part(raw=b"x")]))
    for parts in ([], [Part()], [Part(text="")]):
        with pytest.raises(InvalidParamsError):
            message_to_input(Message(parts=parts))


def token(**claims: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"Bearer header.{payload}.signature"


def test_a_message_has_the_same_context_for_the_same_caller_only() -> None:
    def context(sub: str = "bob", iat: str = "1", agent: str = "a", text: str = "Hi") -> str:
        return new_context_id(token(sub=sub, org="o", iat=iat), agent, "1", text)

    assert context() == context(iat="2"), "a newer token is the same caller"
    others = {context(), context("eve"), context(agent="b"), context(text="Ho")}
    assert len(others) == 4
    for broken in ("", "Bearer x", "Bearer a.!.c", "Bearer a.bnVsbA.c", "Bearer a.W10.c"):
        assert new_context_id(broken, "a", "1", "Hi")
    assert message_key("a", "1") == message_key("a", "1") != message_key("b", "1")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.RunNotFoundError("None."), TaskNotFoundError),
        (errors.AgentNotFoundError("None."), InvalidParamsError),
        (errors.InvalidArgumentError("No."), InvalidParamsError),
        (errors.PermissionDeniedError("No."), InvalidRequestError),
        (errors.AgentInactiveError("No."), UnsupportedOperationError),
        (errors.RateLimitExceededError("No.", retry_after_seconds=2.0), InvalidRequestError),
        (errors.UnavailableError("No."), InternalError),
        (AgentExecutorError("No."), InternalError),
    ],
)
def test_errors_keep_the_platforms_reason(
    error: AgentExecutorError, expected: type[A2AError]
) -> None:
    made = error_to_a2a(error)
    assert type(made) is expected, "the SDK knows no subclasses"
    assert made.data is not None
    assert made.data["code"] == error.reason

"""Activities as messages of the contract, with and without what people and models wrote."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from google.protobuf.message import Message

from agent_executor.api.executor.v1 import monitor_service_pb2
from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ApprovalResolved,
    CancelRequested,
    HistoryTrimmed,
    ModelCallBatched,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallSettled,
    ModelCallStarted,
    ModelSelected,
    Payload,
    RunContinued,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
)
from agent_executor.executor.models.model import ModelUsage, TextBlock, ToolUseBlock
from agent_executor.executor.monitor.activity import Activity, RunActivity, Sums
from agent_executor.executor.monitor.convert import (
    ActivityConverter,
    filter_of,
    since_ms_of,
)
from agent_executor.executor.monitor.run_news import WatchedRun

SECRET = "swordfish"
RUN = WatchedRun("run", "agent", 2, "model", "ada", 9, 30, 5)
PAYLOADS: tuple[Payload, ...] = (
    RunStarted("agent", 2, "model", SECRET),
    ModelSelected("model", "the rule"),
    RunResumed(2),
    RunPaused(1, "no money", "BUDGET_EXCEEDED", "budget"),
    RunContinued(1),
    CancelRequested("ada", SECRET),
    ModelCallStarted("call", 1),
    ModelCallBatched("call", "batch"),
    ModelCallCompleted(
        "call",
        (TextBlock(text=SECRET), ToolUseBlock(id="use", name="echo", input={"text": SECRET})),
        "end_turn",
        ModelUsage(input_tokens=10, output_tokens=20),
    ),
    ModelCallFailed("call", "overloaded", "MODEL_ERROR", will_retry=True),
    ModelCallSettled("call", "entry", 5),
    ToolCallStarted("tool call", "use", "echo", f'{{"text":"{SECRET}"}}'),
    ToolCallCompleted("tool call", "echo", True, f'"{SECRET}"', "", "", 1),
    ToolCallCompleted("tool call", "echo", False, "null", f"no {SECRET}", "TOOL_FAILED", 1),
    HistoryTrimmed(1, 2, SECRET),
    ApprovalRequested("tool call", "use", "echo", f'{{"text":"{SECRET}"}}', "policy", 1),
    ApprovalResolved("tool call", "approved", "ada", SECRET, f'{{"text":"{SECRET}"}}'),
    RunFinished("completed", SECRET),
)


def told(payload: Payload, *, without_content: bool) -> monitor_service_pb2.Activity:
    """Returns the message of an event."""
    activity = Activity(1_001, RunActivity(RUN, RunEvent(7, 1_000, payload), Sums(30, 5)))
    return ActivityConverter().to_proto(activity, without_content=without_content)


def test_every_type_of_event_is_here() -> None:
    assert {type(payload) for payload in PAYLOADS} == set(get_args(Payload))


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: type(payload).__name__)
def test_without_content_nothing_is_told_that_people_models_or_tools_wrote(
    payload: Payload,
) -> None:
    has_content = SECRET in str(msgspec.to_builtins(payload))
    with_it = told(payload, without_content=False)
    assert (SECRET in str(with_it)) == has_content
    without = told(payload, without_content=True)
    assert SECRET not in str(without)
    assert without.event.type == with_it.event.type
    assert without.event.WhichOneof("payload") == with_it.event.type
    assert without.tokens_used == 30


def test_an_activity_says_whose_run_it_is_and_what_that_has_used() -> None:
    message = told(PAYLOADS[-1], without_content=False)
    shown = {
        field.name: value for field, value in message.ListFields() if not isinstance(value, Message)
    }
    assert shown == {
        "agent_id": "agent",
        "agent_version": 2,
        "model": "model",
        "user_id": "ada",
        "tokens_used": 30,
        "cost_nano_usd": 5,
    }
    assert message.told_at.ToMilliseconds() == 1_001
    assert (message.event.run_id, message.event.sequence) == ("run", 7)


def test_a_sign_of_life_has_no_event() -> None:
    message = ActivityConverter().to_proto(Activity(5), without_content=False)
    assert not message.HasField("event")
    assert message.told_at.ToMilliseconds() == 5


def test_the_event_of_one_caller_is_not_changed_by_what_another_leaves_out() -> None:
    converter = ActivityConverter()
    activity = Activity(1, RunActivity(RUN, RunEvent(1, 1, PAYLOADS[0]), Sums()))
    with_it = converter.to_proto(activity, without_content=False)
    assert not converter.to_proto(activity, without_content=True).event.run_started.input
    assert with_it.event.run_started.input == SECRET
    again = converter.to_proto(activity, without_content=False)
    assert again.event.run_started.input == SECRET


def test_a_request_is_read() -> None:
    request = monitor_service_pb2.StreamActivityRequest(
        agent_id="agent", run_id="run", event_types=["run_started"]
    )
    assert since_ms_of(request) is None
    request.since.FromMilliseconds(5)
    assert since_ms_of(request) == 5
    wanted = filter_of(request)
    assert wanted.takes_run(RUN)
    assert wanted.takes_event(RunEvent(1, 1, PAYLOADS[0]))
    assert not wanted.takes_event(RunEvent(1, 1, PAYLOADS[1]))

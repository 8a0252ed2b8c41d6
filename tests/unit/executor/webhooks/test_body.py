"""The message of a run's end."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run import RunState, fold
from agent_executor.executor.log.run_event import (
    ModelCallCompleted,
    ModelCallStarted,
    Payload,
    RunEvent,
    RunFinished,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
)
from agent_executor.executor.log.run_log import summarized
from agent_executor.executor.models.model import ModelUsage, TextBlock, ToolUseBlock
from agent_executor.executor.webhooks.convert import BODY_BYTES_MAX, body_of

RUN = RunRecord(
    "run",
    "acme",
    "ada",
    ("*",),
    "agent",
    1,
    "model",
    "input é",
    False,
    "",
    1_000,
    "w/1",
    has_webhook=True,
)


def ended(
    state: str = "completed", *, text: str = "input é", result: str = "42", response: str = "done"
) -> tuple[RunRecord, RunState]:
    asked = ToolUseBlock("toolu", "calculator", {"expression": "6 * 7"})
    call = ToolCallStarted("run_1_0", "toolu", "calculator", "{}")
    payloads: list[Payload] = [
        RunStarted("agent", 1, "model", text),
        ModelCallStarted("call", 1),
        ModelCallCompleted("call", (asked,), "tool_use", ModelUsage(10, 5)),
        call,
        ToolCallCompleted("run_1_0", "calculator", True, json.dumps(result), "", "", 1_500),
        ModelCallStarted("call2", 1),
        ModelCallCompleted("call2", (TextBlock(response),), "end_turn", ModelUsage(10, 5)),
        RunFinished(state, response),
    ]
    folded = fold(RunEvent(n, 1_000 + n, payload) for n, payload in enumerate(payloads, 1))
    return summarized(msgspec.structs.replace(RUN, input=text), folded, 61_000), folded


def body(**fields: Any) -> dict[str, Any]:
    encoded = body_of(*ended(**fields))
    assert len(encoded) <= BODY_BYTES_MAX
    decoded: dict[str, Any] = json.loads(encoded)
    return decoded


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled", "budget_exceeded"])
def test_it_says_what_happened_when_and_to_which_run(state: str) -> None:
    told = body(state=state)
    assert set(told) == {"type", "timestamp", "data"}
    assert told["type"] == f"run.{state}"
    assert told["timestamp"] == "1970-01-01T00:01:01Z"
    run = told["data"]
    assert (run["id"], run["state"], run["input"]) == ("run", state, "input é")
    assert run["output"]["response"] == "done"
    assert run["tokens_used"] == 30
    assert run["output"]["tool_results"][0]["result"] == "42"
    assert [message["role"] for message in run["output"]["conversation_history"]] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert "webhook" not in run
    # What has no value is shown too, as REST does.
    assert run["is_test"] is False
    assert run["parent_run_id"] == ""


def test_a_large_conversation_is_left_out_and_that_is_said() -> None:
    told = body(result="x" * 140_000)
    assert told["left_out"] == ["output.conversation_history"]
    assert told["data"]["output"]["conversation_history"] == []
    assert len(told["data"]["output"]["tool_results"][0]["result"]) == 140_000


def test_what_is_larger_goes_on_being_left_out() -> None:
    told = body(text="i" * 300_000, result="x" * 300_000, response="r" * 300_000)
    assert told["left_out"] == [
        "output.conversation_history",
        "output.tool_results",
        "input",
        "output.response",
    ]
    assert told["data"]["state"] == "completed"


def test_text_that_grows_in_json_is_measured_as_it_is_sent() -> None:
    told = body(response="\x01" * 100_000)
    assert told["left_out"][-1] == "output.response"


def test_a_log_that_cannot_be_read_still_has_an_end() -> None:
    run, _ = ended("failed")
    told = json.loads(body_of(run, None))
    assert told["type"] == "run.failed"
    assert told["data"]["output"]["response"] == "done"
    assert told["left_out"] == ["output.conversation_history", "output.tool_results"]

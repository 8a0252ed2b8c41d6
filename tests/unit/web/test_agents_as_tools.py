"""Agents as tools, and runs as the answers of calls."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.types import TextContent

from agent_executor.api.executor.v1 import agent_pb2, run_event_pb2, run_pb2
from agent_executor.errors import InvalidArgumentError, RateLimitExceededError
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.web.mcp.answer_convert import error_to_result, run_to_result
from agent_executor.web.mcp.progress_convert import update_to_message
from agent_executor.web.mcp.tool_arguments import CallArguments, parse_arguments
from agent_executor.web.mcp.tool_convert import RUN_TOOLS, agent_to_tool
from agent_executor.web.run_following_grpc import FollowedRun
from tests.unit.web.runs import asks, decided, paused, started, text, update

AGENT = agent_pb2.Agent(id="01a22270-382e-7b2d-a3d0-57a66a75734b", name="Math")


def text_of(content: Any) -> str:
    [block] = content
    assert isinstance(block, TextContent)
    return block.text


@pytest.mark.parametrize(
    ("fields", "description"),
    [
        ({"description": "Does sums.", "role": "expert"}, "Does sums."),
        ({"role": "expert"}, "expert"),
        ({}, "Asks the agent Math."),
    ],
)
def test_a_tool_says_what_its_agent_is_for(fields: dict[str, Any], description: str) -> None:
    agent = agent_pb2.Agent(id=AGENT.id, name=AGENT.name, **fields)
    assert agent_to_tool(agent).description == description


def test_the_schemas_say_what_is_taken() -> None:
    arguments = ArgumentSchema(agent_to_tool(AGENT).input_schema)
    arguments.check({"input": "x", "conversation_id": "z"})
    assert {tool.name for tool in RUN_TOOLS} == {"get_run", "cancel_run"}
    assert parse_arguments(CallArguments, {"input": "x"}).conversation_id == ""
    for wrong in (None, {}, {"input": 1}, {"input": "x", "y": 1}, {"conversation_id": "z"}):
        with pytest.raises(InvalidArgumentError):
            arguments.check(wrong or {})
        with pytest.raises(InvalidArgumentError) as refused:
            parse_arguments(CallArguments, wrong)
        assert "pydantic" not in refused.value.message


@pytest.mark.parametrize(
    ("run", "waits_for", "is_error", "said"),
    [
        ({"state": "completed"}, "", False, "42"),
        ({"state": "cancelled"}, "", True, "42\n\nThe run is cancelled."),
        (
            {"state": "failed", "error": "No.", "code": "MODEL_ERROR"},
            "",
            True,
            "42\n\nMODEL_ERROR: No.",
        ),
        (
            {"state": "waiting"},
            "A person.",
            False,
            "The run r is waiting and goes on by itself. A person. Ask the tool get_run for its answer.",
        ),
    ],
)
def test_runs_are_answers(run: dict[str, Any], waits_for: str, is_error: bool, said: str) -> None:
    output = run_pb2.RunOutput(response="42")
    result = run_to_result(FollowedRun(run_pb2.Run(id="r", output=output, **run), waits_for))
    assert (result.is_error, text_of(result.content)) == (is_error, said)
    content = result.structured_content
    assert {"task_id", "state", "tokens_used", "cost_usd"} <= content.keys()
    assert content.get("code", "") == run.get("code", "")
    assert content.get("waits_for", "") == waits_for


def test_refusals_have_the_platforms_shape() -> None:
    result = error_to_result(RateLimitExceededError("Too often.", tool_name="calculator"))
    assert result.is_error
    assert text_of(result.content) == "RATE_LIMIT_EXCEEDED: Too often."
    content = result.structured_content
    assert (content["success"], content["tool_name"]) == (False, "calculator")


def test_progress_is_told_in_words() -> None:
    called = run_event_pb2.ToolCallStarted(tool_name="calculator")
    failed = run_pb2.ToolResult(tool_name="calculator", error="Division by zero.")
    told = [
        update_to_message(happening)
        for happening in (
            started(),
            text("Hm", is_thinking=True),
            text("4"),
            update(tool_call_started=called),
            update(tool_call_completed=run_event_pb2.ToolCallCompleted(tool_result=failed)),
            asks(),
            decided(),
            paused(),
            update(run_continued=run_event_pb2.RunContinued()),
            update(usage=run_event_pb2.ModelCallSettled()),
        )
    ]
    assert told == [
        "The run run-1 has begun.",
        None,
        "4",
        "Calls the tool calculator.",
        "The tool calculator has failed: Division by zero.",
        "A person is to decide about a call of the tool send_email: It is outside.",
        "The decision is: approved.",
        "The run waits for money: There is no money.",
        "The run goes on.",
        None,
    ]

"""A run over an SDK, a socket and either API is the run with the mock in the process."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from agent_executor.executor.log.run import RunState
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.mock_http.faults import Fault
from agent_executor.executor.models.model import ModelProvider
from agent_executor.executor.peers.tools import ToolOutcome, ToolRequest
from tests.mock_claude import mock_claude_server, openai_provider_of, provider_of
from tests.unit.executor.peers import answer
from tests.unit.executor.worlds import World

INPUTS = (
    "What is 15 + 27?",
    "What is 2 * 3? And what is 10 / 4? And what is 7 - 5?",
    "What is (1 + 2) * 3 - 4 / 5?",
    "Hello, who are you? ✨",
)

PROVIDERS = pytest.mark.parametrize(
    "provider_at", [provider_of, openai_provider_of], ids=["anthropic", "openai"]
)


def calculate(request: ToolRequest) -> ToolOutcome:
    arguments = json.loads(request.arguments_json)
    a, b = arguments["a"], arguments.get("b", 0)
    operations = {"add": a + b, "subtract": a - b, "multiply": a * b, "divide": a / (b or 1)}
    return answer(json.dumps(operations[arguments["operation"]]))


async def run(model: ModelProvider, text: str) -> tuple[RunState, World]:
    world = World(model, input_text=text, model_name="claude-sonnet-4-20250514")
    world.tools.run = calculate
    return await world.drive(), world


def told(state: RunState) -> bytes:
    """Returns all of a run but the ids of its tool calls' results, which have a time."""
    return msgspec.json.encode(state, enc_hook=tuple)


@PROVIDERS
@pytest.mark.parametrize("text", INPUTS)
async def test_the_run_is_the_same(
    monkeypatch: pytest.MonkeyPatch, text: str, provider_at: Any
) -> None:
    expected, expected_world = await run(MockClaude(), text)
    assert expected.state == "completed"
    async with (
        mock_claude_server() as server,
        provider_at(server.url, monkeypatch) as provider,
    ):
        state, world = await run(provider, text)
        assert server.api.calls.billed == len(world.ledger.settled)
        tokens = server.api.calls.input_tokens + server.api.calls.output_tokens
    # The answer, the history, the tool results, the tokens and the cost.
    assert told(state) == told(expected)
    assert state.tokens_used == tokens
    assert world.ledger.settled == expected_world.ledger.settled
    assert await world.event_types() == await expected_world.event_types()


@PROVIDERS
@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.OVERLOADED, Fault.SERVER_ERROR])
async def test_a_passing_error_changes_nothing_but_its_own_events(
    monkeypatch: pytest.MonkeyPatch, fault: Fault, provider_at: Any
) -> None:
    expected, _ = await run(MockClaude(), INPUTS[0])
    async with (
        mock_claude_server(retry_after_seconds=0.0) as server,
        provider_at(server.url, monkeypatch) as provider,
    ):
        server.faults.queue(fault, None, fault)
        state, world = await run(provider, INPUTS[0])
        assert server.api.calls.billed == 2
    assert state.finished == expected.finished
    assert (state.tokens_used, state.cost_nano_usd) == (
        expected.tokens_used,
        expected.cost_nano_usd,
    )
    # What was refused was never settled, and its hold is free again.
    assert len(world.ledger.settled) == 2
    assert len(world.ledger.voided) == 2


@PROVIDERS
async def test_an_answer_that_broke_off_is_settled_as_an_estimate(
    monkeypatch: pytest.MonkeyPatch, provider_at: Any
) -> None:
    expected, _ = await run(MockClaude(), INPUTS[3])
    async with (
        mock_claude_server() as server,
        provider_at(server.url, monkeypatch) as provider,
    ):
        server.faults.queue(Fault.CUT)
        state, world = await run(provider, INPUTS[3])
    assert state.finished == expected.finished
    assert state.tokens_used > expected.tokens_used
    assert state.cost_nano_usd > expected.cost_nano_usd
    first, second = world.ledger.settled.values()
    assert (first.estimated, second.estimated) == (True, False)
    assert world.ledger.voided == set()

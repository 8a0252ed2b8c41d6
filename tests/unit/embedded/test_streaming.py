"""Streams of the library: the same run, told as it goes on."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing
from typing import Any

import pytest

from agent_executor import AgentExecutor, AsyncAgentExecutor, LLMModel
from agent_executor.errors import InvalidArgumentError, RunNotFoundError

MODEL = LLMModel.CLAUDE_SONNET_4
CONFIG: dict[str, Any] = {"name": "Math", "tools": {"calculator": True}}
QUESTION = "What is 15 + 27?"


def text_of(updates: list[dict[str, Any]]) -> str:
    return "".join(update["text_delta"]["text"] for update in updates if "text_delta" in update)


def check(updates: list[dict[str, Any]]) -> None:
    assert all(update["type"] in update for update in updates)
    types = [update["type"] for update in updates]
    assert types[0] == "run_started"
    assert types[-1] == "done"
    done = updates[-1]["done"]
    assert (done["state"], done["response"]) == ("completed", "15 + 27 = 42")
    assert text_of(updates) == done["response"]
    (result,) = (
        update["tool_call_completed"]["tool_result"]
        for update in updates
        if update["type"] == "tool_call_completed"
    )
    assert [result] == done["tool_results"]
    costs = [update["usage"]["cost_nano_usd"] for update in updates if update["type"] == "usage"]
    assert sum(costs) == done["cost_nano_usd"] > 0


def test_a_run_is_streamed() -> None:
    with AgentExecutor(CONFIG, MODEL) as agent:
        check(list(agent.stream(QUESTION)))


async def test_a_run_is_streamed_to_another_event_loop() -> None:
    async with AsyncAgentExecutor(CONFIG, MODEL) as agent:
        check([update async for update in agent.stream(QUESTION)])


@pytest.mark.parametrize("on_disconnect", ["continue", "cancel"])
def test_who_ends_the_iteration_says_what_becomes_of_the_run(on_disconnect: str) -> None:
    with AgentExecutor(CONFIG, MODEL) as agent:
        with closing(agent.stream(QUESTION, on_disconnect=on_disconnect)) as updates:
            first = next(updates)
        assert first["type"] == "run_started"
        assert agent.execute(QUESTION)["state"] == "completed"


async def test_the_iteration_can_be_ended_early() -> None:
    async with AsyncAgentExecutor(CONFIG, MODEL) as agent:
        async with aclosing(agent.stream(QUESTION)) as updates:
            assert (await anext(updates))["type"] == "run_started"
        assert (await agent.execute(QUESTION))["state"] == "completed"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("hello \ud800", {}),
        ("hi", {"on_disconnect": "stop"}),
        ("hi", {"max_cost_usd": -1}),
    ],
)
def test_what_cannot_be_run_is_refused(text: str, options: dict[str, Any]) -> None:
    with AgentExecutor(CONFIG, MODEL) as agent, pytest.raises(InvalidArgumentError):
        list(agent.stream(text, **options))


def test_a_refusal_is_raised_before_the_first_update() -> None:
    with AgentExecutor(CONFIG, MODEL) as agent, pytest.raises(RunNotFoundError):
        next(agent.stream("hi", parent_run_id="none"))


async def test_a_caller_that_is_cancelled_leaves_nothing_behind() -> None:
    async with AsyncAgentExecutor(CONFIG, MODEL) as agent:
        for _ in range(20):
            reading = asyncio.create_task(anext(agent.stream(QUESTION, on_disconnect="cancel")))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert (await agent.execute(QUESTION))["state"] == "completed"

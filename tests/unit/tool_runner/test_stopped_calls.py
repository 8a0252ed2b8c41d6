"""What a caller hears that stops its tool call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_executor.errors import CancelledRunError, OutcomeUnknownError
from agent_executor.serving.cancellation import CALLER_STOPS
from agent_executor.tool_runner.calls.tool_call import ToolResult
from agent_executor.tool_runner.tool_base import Effect
from tests.unit.tool_runner.tools_of_tests import ADA, GateTool, Runner, call, until


async def begun(runner: Runner, tool: GateTool) -> asyncio.Task[ToolResult]:
    task = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    return task


@pytest.mark.parametrize("effect", ["read_only", "idempotent"])
async def test_a_harmless_tool_was_stopped(effect: Effect) -> None:
    tool = GateTool(effect)
    runner = Runner(tool)
    task = await begun(runner, tool)
    task.cancel(CALLER_STOPS)
    with pytest.raises(CancelledRunError):
        await task
    # The tool has ended, and it is written down, by the time the caller hears of it.
    assert tool.cancelled == 1
    assert await runner.decisions() == [("allowed", "", "error", "RUN_CANCELLED")]


async def test_what_an_unsafe_tool_did_is_unknown() -> None:
    tool = GateTool("unsafe")
    runner = Runner(tool)
    task = await begun(runner, tool)
    task.cancel(CALLER_STOPS)
    result = await task
    assert (result.success, result.code) == (False, "OUTCOME_UNKNOWN")
    assert tool.cancelled == 1
    assert await runner.calls.execute(call("gate"), ADA) == result, "the record says the same"


async def test_a_tool_that_ended_in_the_same_instant_has_its_result() -> None:
    class Stubborn(GateTool):
        """Ends whatever is said."""

        async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
            try:
                return await super()._execute_impl(arguments)
            except asyncio.CancelledError:
                return {"done": True}

    tool = Stubborn("unsafe")
    runner = Runner(tool)
    task = await begun(runner, tool)
    task.cancel(CALLER_STOPS)
    result = await task
    assert result.success
    assert result.result_json == '{"done":true}'


async def test_a_tool_that_others_wait_for_goes_on() -> None:
    tool = GateTool()
    runner = Runner(tool)
    first = await begun(runner, tool)
    second = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await until(lambda: next(iter(runner.calls._running.values())).waiting == 2)
    first.cancel(CALLER_STOPS)
    with pytest.raises(OutcomeUnknownError):
        await first
    tool.gate.set()
    assert (await second).success
    assert tool.cancelled == 0


async def test_a_caller_that_is_cancelled_while_it_waits_for_the_end_is_cancelled() -> None:
    class Slow(GateTool):
        """Takes its time to end."""

        async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
            try:
                return await super()._execute_impl(arguments)
            finally:
                await may_end.wait()

    may_end = asyncio.Event()
    tool = Slow()
    runner = Runner(tool)
    task = await begun(runner, tool)
    task.cancel(CALLER_STOPS)
    await until(lambda: tool.cancelled == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_end.set()
    await until(lambda: not runner.calls._running)

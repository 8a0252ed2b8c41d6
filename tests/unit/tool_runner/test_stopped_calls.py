"""What a caller hears that stops its tool call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_executor.errors import (
    CancelledRunError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ToolCallConflictError,
    UnavailableError,
)
from agent_executor.serving.cancellation import CALLER_STOPS, CONNECTION_LOST
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.calls.tool_call import ToolResult
from agent_executor.tool_runner.tool_base import Effect
from tests.unit.tool_runner.tools_of_tests import ADA, EVE, GateTool, Runner, call, until


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


class TestByItsId:
    """A call is stopped by whoever took its run over, since the caller is gone."""

    @pytest.mark.parametrize("effect", ["read_only", "idempotent"])
    async def test_a_harmless_tool_leaves_nothing(self, effect: Effect) -> None:
        tool = GateTool(effect)
        runner = Runner(tool)
        await self.abandoned(runner, tool)
        with pytest.raises(CancelledRunError):
            await runner.calls.stop(call("gate"), ADA)
        assert tool.cancelled == 1
        assert await runner.calls.stop(call("gate"), ADA) is None

    async def test_of_an_unsafe_tool_the_outcome_is_unknown_and_stays_so(self) -> None:
        tool = GateTool("unsafe")
        runner = Runner(tool)
        await self.abandoned(runner, tool)
        result = await runner.calls.stop(call("gate"), ADA)
        assert result is not None
        assert result.code == "OUTCOME_UNKNOWN"
        assert await runner.calls.stop(call("gate"), ADA) == result
        assert await runner.calls.execute(call("gate"), ADA) == result
        assert (tool.calls, tool.cancelled) == (1, 1)

    async def test_a_call_that_has_its_result_is_told_it(self) -> None:
        tool = GateTool("unsafe")
        runner = Runner(tool)
        tool.gate.set()
        result = await runner.calls.execute(call("gate"), ADA)
        assert await runner.calls.stop(call("gate"), ADA) == result

    async def test_nothing_is_run(self) -> None:
        tool = GateTool()
        runner = Runner(tool)
        assert await runner.calls.stop(call("gate"), ADA) is None
        assert tool.calls == 0

    async def test_another_caller_that_waits_may_ask_again(self) -> None:
        tool = GateTool()
        runner = Runner(tool)
        task = await begun(runner, tool)
        with pytest.raises(CancelledRunError):
            await runner.calls.stop(call("gate"), ADA)
        with pytest.raises(UnavailableError):
            await task

    async def test_it_is_stopped_for_its_own_organization_only(self) -> None:
        tool = GateTool()
        runner = Runner(tool)
        await self.abandoned(runner, tool)
        assert await runner.calls.stop(call("gate"), EVE) is None
        with pytest.raises(ToolCallConflictError):
            await runner.calls.stop(call("gate", '{"another": 1}'), ADA)
        nobody = SecurityContext("acme", "bob", frozenset())
        with pytest.raises(PermissionDeniedError):
            await runner.calls.stop(call("gate"), nobody)
        assert tool.cancelled == 0
        await runner.calls.close()

    async def abandoned(self, runner: Runner, tool: GateTool) -> None:
        """Lets a tool run whose caller's connection is lost."""
        task = await begun(runner, tool)
        task.cancel(CONNECTION_LOST)
        await asyncio.gather(task, return_exceptions=True)
        assert tool.cancelled == 0

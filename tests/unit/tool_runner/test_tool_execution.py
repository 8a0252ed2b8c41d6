from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_executor.errors import DeadlineExceededError, ToolExecutionError
from agent_executor.tool_runner.calls.attempt import Attempt
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.calls.dispatch import Dispatcher
from agent_executor.tool_runner.calls.result_cache import ResultCache
from agent_executor.tool_runner.calls.tool_execution import ToolExecution
from agent_executor.tool_runner.policy.call_policy import Admitted
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.tool_base import Effect
from tests.unit.tool_runner.tools_of_tests import ADA, EVE, FunctionTool, GateTool, call


class NotingDispatcher(Dispatcher):
    """A dispatcher that notes how long each run may take."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    async def run(self, admitted: Admitted, timeout_seconds: float) -> str:
        self.seconds.append(timeout_seconds)
        return await super().run(admitted, timeout_seconds)


class Execution:
    """Runs one tool, as calls of several callers."""

    def __init__(
        self, tool: FunctionTool | GateTool, timeout_seconds: float | None = None, **more: Any
    ) -> None:
        registry = ToolRegistry()
        registry.register(tool)
        self.tool = registry.list()[0]
        object.__setattr__(self.tool, "timeout_seconds", timeout_seconds)
        self.dispatcher = NotingDispatcher()
        self.execution = ToolExecution(self.dispatcher, ResultCache(), timeout_seconds=60.0)
        self.effect: Effect = more.get("effect", tool.effect)

    async def run(
        self,
        arguments: dict[str, Any],
        *,
        security: Any = ADA,
        timeout_seconds: float | None = None,
        domains: frozenset[str] = frozenset(),
    ) -> tuple[str, list[str]]:
        attempt = Attempt(call(timeout_seconds=timeout_seconds), security)
        context = CallContext(
            security.organization_id, self.tool.name, "call-1", allowed_domains=domains
        )
        admitted = Admitted(self.tool, arguments, self.effect, context)
        return await self.execution.run(attempt, admitted), attempt.facts


def counting(effect: Effect = "read_only", ttl_seconds: int = 10) -> FunctionTool:
    tool = FunctionTool(lambda _: tool.calls, effect=effect, cache_ttl_seconds=ttl_seconds)
    return tool


def cached_gate() -> GateTool:
    gate = GateTool()
    gate.cache_ttl_seconds = 10
    return gate


@pytest.mark.parametrize(
    ("of_tool", "of_caller", "seconds"),
    [(None, None, 60), (5, None, 5), (90, None, 60), (None, 3, 3), (5, 9, 5), (5, 2, 2)],
)
async def test_the_shortest_time_counts(
    of_tool: float | None, of_caller: float | None, seconds: float
) -> None:
    execution = Execution(counting(ttl_seconds=0), of_tool)
    await execution.run({}, timeout_seconds=of_caller)
    assert execution.dispatcher.seconds == [seconds]


async def test_an_equal_call_gets_the_cached_result_and_the_audit_log_is_told() -> None:
    execution = Execution(counting())
    assert await execution.run({"a": 1, "b": 2}) == ("1", [])
    assert await execution.run({"b": 2, "a": 1}) == ("1", ["cache:hit"])


async def test_another_organization_or_another_policy_runs_the_tool_again() -> None:
    execution = Execution(counting())
    await execution.run({})
    assert await execution.run({}, security=EVE) == ("2", [])
    assert await execution.run({}, domains=frozenset({"a.test"})) == ("3", [])


@pytest.mark.parametrize("effect", ["idempotent", "unsafe"])
async def test_a_call_that_does_more_than_read_is_never_answered_from_the_cache(
    effect: Effect,
) -> None:
    execution = Execution(counting(), effect=effect)
    assert [(await execution.run({}))[0] for _ in range(2)] == ["1", "2"]


async def test_a_failure_is_not_cached() -> None:
    def fail_at_first(_: object) -> int:
        if tool.calls == 1:
            raise ToolExecutionError("No.")
        return tool.calls

    tool = FunctionTool(fail_at_first, cache_ttl_seconds=10)
    execution = Execution(tool)
    with pytest.raises(ToolExecutionError, match="No"):
        await execution.run({})
    assert await execution.run({}) == ("2", [])


async def test_a_short_caller_does_not_shorten_the_run_that_another_waits_for() -> None:
    gate = cached_gate()
    execution = Execution(gate)
    short = asyncio.create_task(execution.run({}, timeout_seconds=0.05))
    await gate.reached.wait()
    patient = asyncio.create_task(execution.run({}))
    with pytest.raises(DeadlineExceededError, match=r"0\.05 s"):
        await short
    assert gate.cancelled == 0
    gate.gate.set()
    assert (await patient)[0] == '{"passed":1}'
    assert execution.dispatcher.seconds == [60]


async def test_the_run_stops_when_its_last_caller_runs_out_of_time() -> None:
    gate = cached_gate()
    with pytest.raises(DeadlineExceededError):
        await Execution(gate).run({}, timeout_seconds=0.01)
    await asyncio.sleep(0)
    assert (gate.calls, gate.cancelled) == (1, 1)


async def test_a_caller_that_is_cancelled_is_no_deadline() -> None:
    gate = cached_gate()
    task = asyncio.create_task(Execution(gate).run({}, timeout_seconds=30))
    await gate.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

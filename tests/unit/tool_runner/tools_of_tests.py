"""Tools that do what a test tells them to, and a tool-runner in memory to call them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import Tracer

from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.builtin import built_in_tools
from agent_executor.tool_runner.calls.dispatch import Dispatcher
from agent_executor.tool_runner.calls.record import CallRecords
from agent_executor.tool_runner.calls.result_cache import ResultCache
from agent_executor.tool_runner.calls.store_memory import MemoryCallStore
from agent_executor.tool_runner.calls.telemetry import CallTelemetry
from agent_executor.tool_runner.calls.tool_call import ToolCall
from agent_executor.tool_runner.calls.tool_calls import ToolCalls
from agent_executor.tool_runner.calls.tool_execution import DEFAULT_TIMEOUT_SECONDS, ToolExecution
from agent_executor.tool_runner.custom.store_memory import MemoryCustomToolStore
from agent_executor.tool_runner.custom.tools import Tools
from agent_executor.tool_runner.policy.call_policy import CallPolicy
from agent_executor.tool_runner.policy.sandbox import ToolSandbox
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.tool_base import Effect, ToolBase

ADA = SecurityContext("acme", "ada", frozenset({"tool:*", "policy:admin"}))
EVE = SecurityContext("other", "eve", frozenset({"tool:*", "policy:admin"}))


class FunctionTool(ToolBase):
    """A tool that is a function and runs inline; it counts its calls."""

    runs_inline = True

    def __init__(
        self,
        function: Callable[[dict[str, Any]], Any] = lambda arguments: arguments,
        name: str = "function",
        effect: Effect = "read_only",
        **more: Any,
    ) -> None:
        super().__init__(name, "Does what the test says.", effect=effect, **more)
        self.function = function
        self.calls = 0

    def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        self.calls += 1
        return self.function(arguments)


class ThreadTool(FunctionTool):
    """The same in a thread."""

    runs_inline = False


class GateTool(ToolBase):
    """A tool that waits until it is let go."""

    def __init__(self, effect: Effect = "read_only", name: str = "gate") -> None:
        super().__init__(name, "Waits at a gate.", effect=effect)
        self.gate = asyncio.Event()
        self.reached = asyncio.Event()
        self.calls = 0
        self.cancelled = 0

    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        self.calls += 1
        self.reached.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"passed": self.calls}


class ThreadGateTool(ToolBase):
    """A tool that blocks a thread until it is let go."""

    def __init__(self) -> None:
        super().__init__("thread_gate", "Blocks at a gate.")
        self.gate = threading.Event()
        self.running = 0
        self.running_max = 0

    def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        self.gate.wait(30)
        self.running -= 1
        return threading.current_thread().name


class Runner:
    """A tool-runner in memory."""

    def __init__(
        self,
        *tools: ToolBase,
        sandbox: ToolSandbox | None = None,
        store: CallRecords | None = None,
        tracer: Tracer | None = None,
        metrics: Metrics | None = None,
        arguments_bytes_max: int = 1_000,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        **limits: Any,
    ) -> None:
        self.registry = ToolRegistry(built_in_tools())
        for tool in tools:
            self.registry.register(tool)
        self.store: Any = store or MemoryCallStore()
        self.now = 1_700_000_000.0
        self.uptime = 0.0
        self.calls = ToolCalls(
            policy=CallPolicy(
                Tools(self.registry, MemoryCustomToolStore()),
                sandbox or ToolSandbox(),
                arguments_bytes_max=arguments_bytes_max,
            ),
            records=self.store,
            execution=ToolExecution(
                Dispatcher(result_bytes_max=1_000, blocking_calls_max=2),
                ResultCache(),
                timeout_seconds=timeout_seconds,
            ),
            telemetry=CallTelemetry(self.registry, tracer, metrics),
            clock=lambda: self.now,
            monotonic=lambda: self.uptime,
            **limits,
        )

    async def audit(self, organization_id: str = "acme") -> list[Any]:
        """Returns the audit log, oldest first."""
        records: list[Any] = await self.store.list_audit_records(organization_id, 1_000)
        return records[::-1]

    async def decisions(self, organization_id: str = "acme") -> list[tuple[str, str, str, str]]:
        """Returns what the audit log says was decided and came of it, oldest first."""
        return [
            (record.decision, record.rule, record.outcome, record.code)
            for record in await self.audit(organization_id)
        ]


def call(
    tool_name: str = "function",
    arguments_json: str = "{}",
    tool_call_id: str = "call-1",
    **more: Any,
) -> ToolCall:
    """Returns a call."""
    return ToolCall(
        tool_call_id=tool_call_id,
        tool_name=tool_name,
        arguments_json=arguments_json,
        run_id="run-1",
        agent_id="agent-1",
        **more,
    )


async def until(condition: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():  # noqa: ASYNC110 -- what is waited for sets no event
            await asyncio.sleep(0.001)

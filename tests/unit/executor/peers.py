"""A tool-runner and a ledger in memory that do what a test tells them to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agent_executor.errors import AgentExecutorError, BudgetExceededError, UnavailableError
from agent_executor.executor.ledger import Hold, Settlement
from agent_executor.executor.models.model import ToolSpecification
from agent_executor.executor.tools import ToolOutcome, ToolRequest
from agent_executor.serving.security import SecurityContext

COST_NANO_USD_PER_TOKEN = 3


def answer(result_json: str = "42") -> ToolOutcome:
    """Returns the outcome of a tool that worked."""
    return ToolOutcome(success=True, result_json=result_json, error="", code="", timestamp_ms=1_000)


@dataclass
class RecordingToolRunner:
    """A ``ToolRunner`` whose tools are a function; it records what it was asked.

    Attributes:
        newest: The newest version of each custom tool, by name.
        retired: Versions that are gone.
        asked_versions: The versions that each description was asked for.
    """

    tool_names: tuple[str, ...] = ("calculator",)
    run: Callable[[ToolRequest], ToolOutcome] = lambda request: answer()
    newest: dict[str, str] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    asked_versions: list[dict[str, str]] = field(default_factory=list)
    requests: list[ToolRequest] = field(default_factory=list)
    gate: asyncio.Event | None = None
    asked: asyncio.Condition = field(default_factory=asyncio.Condition)
    running: int = 0
    running_max: int = 0

    async def describe(
        self, tool_names: Sequence[str], security: SecurityContext, versions: Mapping[str, str]
    ) -> tuple[ToolSpecification, ...]:
        """See ``ToolRunner``."""
        del security
        self.asked_versions.append(dict(versions))
        meant = {name: versions.get(name) or self.newest.get(name, "") for name in tool_names}
        return tuple(
            ToolSpecification(name, f"The {name}.", {"type": "object"}, version)
            for name, version in meant.items()
            if name in self.tool_names and version not in self.retired
        )

    async def execute(
        self,
        request: ToolRequest,
        security: SecurityContext,
        *,
        timeout_seconds: float,
        traceparent: str = "",
    ) -> ToolOutcome:
        """See ``ToolRunner``."""
        del security, timeout_seconds, traceparent
        async with self.asked:
            self.requests.append(request)
            self.asked.notify_all()
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
            return self.run(request)
        finally:
            self.running -= 1

    async def wait_until_asked(self, times: int = 1) -> None:
        """Returns once ``execute`` was called so often."""
        async with self.asked:
            await self.asked.wait_for(lambda: len(self.requests) >= times)


@dataclass
class MemoryLedger:
    """A ``Ledger`` with one limit in nano-dollars; it counts every entry id once."""

    limit_nano_usd: int = 10**12
    unavailable_times: int = 0
    error: AgentExecutorError | None = None
    holds: dict[str, Hold] = field(default_factory=dict)
    settled: dict[str, Settlement] = field(default_factory=dict)
    voided: set[str] = field(default_factory=set)

    async def reserve(self, hold: Hold, security: SecurityContext) -> None:
        """See ``Ledger``."""
        del security
        self._fail_if_told()
        worst = COST_NANO_USD_PER_TOKEN * (hold.max_input_tokens + hold.max_output_tokens)
        if worst > self.limit_nano_usd:
            raise BudgetExceededError("the budget does not cover the call")
        self.holds[hold.model_call_id] = hold

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """See ``Ledger``."""
        del security
        self._fail_if_told()
        known = self.settled.setdefault(settlement.model_call_id, settlement)
        assert known == settlement, "an entry id was used for two usages"
        usage = settlement.usage
        return COST_NANO_USD_PER_TOKEN * (usage.input_tokens + usage.output_tokens)

    async def void(self, model_call_id: str, security: SecurityContext) -> None:
        """See ``Ledger``."""
        del security
        self.voided.add(model_call_id)

    async def is_reserved(self, model_call_id: str, security: SecurityContext) -> bool:
        """See ``Ledger``."""
        del security
        return model_call_id in self.holds

    def _fail_if_told(self) -> None:
        if self.error is not None:
            raise self.error
        if self.unavailable_times:
            self.unavailable_times -= 1
            raise UnavailableError("the ledger is away")

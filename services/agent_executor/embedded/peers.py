"""The executor's peers by direct calls, in place of streams."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agent_executor.errors import ReservationNotFoundError
from agent_executor.executor.ledger import Hold, Settlement
from agent_executor.executor.models.model import ToolSpecification
from agent_executor.executor.tools import ToolOutcome, ToolRequest
from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.usage.reservations import Reservations, ReserveRequest, SettleRequest
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.telemetry import context_from_traceparent
from agent_executor.tool_runner.calls.tool_call import ToolCall, unix_ms_of
from agent_executor.tool_runner.calls.tool_calls import ToolCalls
from agent_executor.tool_runner.custom.catalog import ToolCatalog

# What the executor itself needs, beside what the caller may do; services get it by their grants.
_READ_TOOLS: Final = frozenset({"tool:read"})
_WRITE_LEDGER: Final = frozenset({"ledger:write"})


class InProcessToolRunner:
    """The executor's ``ToolRunner`` by direct calls."""

    def __init__(
        self, calls: ToolCalls, catalog: ToolCatalog, rate_limits: Mapping[str, int]
    ) -> None:
        self._calls = calls
        self._catalog = catalog
        self._rate_limits = rate_limits

    async def describe(
        self, tool_names: Sequence[str], security: SecurityContext, versions: Mapping[str, str]
    ) -> tuple[ToolSpecification, ...]:
        """See ``ToolRunner``."""
        tools = await self._catalog.describe_tools(
            tool_names, with_permissions(security, _READ_TOOLS), versions
        )
        return tuple(
            ToolSpecification(
                tool.name,
                tool.description,
                msgspec.json.decode(tool.input_schema_json),
                version=tool.version,
            )
            for tool in tools
            if tool.enabled
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
        call = ToolCall(
            tool_call_id=request.tool_call_id,
            tool_name=request.tool_name,
            arguments_json=request.arguments_json,
            run_id=request.run_id,
            agent_id=request.agent_id,
            rate_limits=self._rate_limits,
            timeout_seconds=timeout_seconds,
            is_test=request.is_test,
            tool_version=request.tool_version,
        )
        result = await self._calls.execute(
            call, security, parent=context_from_traceparent(traceparent)
        )
        return ToolOutcome(
            success=result.success,
            result_json=result.result_json,
            error=result.error,
            code=result.code,
            timestamp_ms=unix_ms_of(result.timestamp),
        )


class InProcessLedger:
    """The executor's ``Ledger`` by direct calls."""

    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations

    async def reserve(self, hold: Hold, security: SecurityContext) -> None:
        """See ``Ledger``."""
        answer = await self._reservations.reserve(
            ReserveRequest(
                reservation_id=hold.model_call_id,
                agent_id=hold.agent_id,
                run_id=hold.run_id,
                model=hold.model,
                max_input_tokens=hold.max_input_tokens,
                max_output_tokens=hold.max_output_tokens,
                ttl_seconds=hold.ttl_seconds,
            ),
            with_permissions(security, _WRITE_LEDGER),
        )
        if isinstance(answer, Refusal):
            raise answer.to_error(now_ms())

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """See ``Ledger``."""
        entry = await self._reservations.settle(
            SettleRequest(
                entry_id=settlement.model_call_id,
                reservation_id=settlement.model_call_id,
                agent_id=settlement.agent_id,
                run_id=settlement.run_id,
                model=settlement.model,
                usage=TokenUsage(**msgspec.structs.asdict(settlement.usage)),
                estimated=settlement.estimated,
                is_test=settlement.is_test,
            ),
            with_permissions(security, _WRITE_LEDGER),
        )
        return entry.cost_nano_usd

    async def void(self, model_call_id: str, security: SecurityContext) -> None:
        """See ``Ledger``."""
        await self._reservations.void(model_call_id, with_permissions(security, _WRITE_LEDGER))

    async def is_reserved(self, model_call_id: str, security: SecurityContext) -> bool:
        """See ``Ledger``."""
        try:
            await self._reservations.get(model_call_id, with_permissions(security, _WRITE_LEDGER))
        except ReservationNotFoundError:
            return False
        return True


def now_ms() -> int:
    """Returns the time in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def with_permissions(security: SecurityContext, permissions: frozenset[str]) -> SecurityContext:
    """Returns a caller that may do more, for what is done on its behalf."""
    return SecurityContext(
        security.organization_id, security.user_id, security.permissions | permissions
    )

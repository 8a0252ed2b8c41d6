"""The executor's peers by direct calls, in place of streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

import msgspec

from agent_executor.errors import (
    CancelledRunError,
    FailedPreconditionError,
    ReservationNotFoundError,
)
from agent_executor.executor.model_calls.purpose import CallPurpose
from agent_executor.executor.models.model import ModelUsage, ToolSpecification
from agent_executor.executor.peers.ledger import AmountHold, Correction, FoundHold, Hold, Settlement
from agent_executor.executor.peers.tools import ToolOutcome, ToolRequest
from agent_executor.ledger.accounting.entry import UNKNOWN_PURPOSE, Purpose
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.usage.correcting import CorrectRequest
from agent_executor.ledger.usage.holding import RenewRequest
from agent_executor.ledger.usage.reserving import AmountRequest, ReserveRequest
from agent_executor.ledger.usage.settling import SettleRequest, ToolUse
from agent_executor.ledger.usage.usage import Usage
from agent_executor.serving.cancellation import (
    CALLER_STOPS,
    WAS_BEGUN_KEY,
    StopSignal,
    is_stop,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.calls.tool_call import ToolCall, ToolResult, unix_ms_of
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
                effect=tool.effect,
                requires_approval=tool.requires_approval,
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
        stop: StopSignal | None = None,
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
        result = await _stoppable(self._calls.execute(call, security), stop)
        return _outcome_of(result)

    async def stop(self, request: ToolRequest, security: SecurityContext) -> ToolOutcome | None:
        """See ``ToolRunner``."""
        call = ToolCall(
            tool_call_id=request.tool_call_id,
            tool_name=request.tool_name,
            arguments_json=request.arguments_json,
        )
        result = await self._calls.stop(call, security)
        return None if result is None else _outcome_of(result)


class InProcessLedger:
    """The executor's ``Ledger`` by direct calls."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    async def reserve(self, hold: Hold, security: SecurityContext) -> int:
        """See ``Ledger``."""
        request = ReserveRequest(
            reservation_id=hold.model_call_id,
            agent_id=hold.agent_id,
            run_id=hold.run_id,
            model=hold.model,
            max_input_tokens=hold.max_input_tokens,
            max_output_tokens=hold.max_output_tokens,
            writes_cache=hold.writes_cache,
            ttl_seconds=hold.ttl_seconds,
            parent_reservation_id=hold.amount_id,
            min_output_tokens=hold.min_output_tokens,
            processing=hold.processing,
        )
        reservation = await self._usage.reserve(request, _writer(security))
        _require_open(reservation)
        return reservation.max_output_tokens

    async def reserve_amount(self, hold: AmountHold, security: SecurityContext) -> None:
        """See ``Ledger``."""
        request = AmountRequest(
            reservation_id=hold.amount_id,
            agent_id=hold.agent_id,
            run_id=hold.run_id,
            amount_nano_usd=NanoUsd(hold.amount_nano_usd),
            ttl_seconds=hold.ttl_seconds,
            parent_reservation_id=hold.parent_amount_id,
        )
        _require_open(await self._usage.reserve_amount(request, _writer(security)))

    async def renew(self, reservation_id: str, ttl_seconds: int, security: SecurityContext) -> None:
        """See ``Ledger``."""
        await self._usage.renew(RenewRequest(reservation_id, ttl_seconds), _writer(security))

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """See ``Ledger``."""
        purpose = settlement.purpose
        request = SettleRequest(
            entry_id=settlement.model_call_id,
            reservation_id=settlement.model_call_id if settlement.is_held else "",
            agent_id=settlement.agent_id,
            run_id=settlement.run_id,
            model=settlement.model,
            usage=_token_usage(settlement.usage),
            estimated=settlement.estimated,
            is_test=settlement.is_test,
            attempt=settlement.attempt,
            processing=settlement.processing,
            purpose=_purpose(purpose) if purpose is not None else UNKNOWN_PURPOSE,
            tool_uses=tuple(
                ToolUse(use.tool_call_id, use.tool_name, use.arguments_digest)
                for use in settlement.tool_uses
            ),
        )
        return (await self._usage.settle(request, _writer(security))).cost_nano_usd

    async def correct(self, correction: Correction, security: SecurityContext) -> int:
        """See ``Ledger``."""
        request = CorrectRequest(
            entry_id=correction.entry_id,
            corrects_entry_id=correction.model_call_id,
            usage=_token_usage(correction.usage),
            description=correction.description,
        )
        return (await self._usage.correct(request, _writer(security))).cost_nano_usd

    async def void(self, reservation_id: str, security: SecurityContext) -> None:
        """See ``Ledger``."""
        await self._usage.void(reservation_id, _writer(security))

    async def find_hold(self, reservation_id: str, security: SecurityContext) -> FoundHold | None:
        """See ``Ledger``."""
        try:
            found = await self._usage.get(reservation_id, _writer(security))
        except ReservationNotFoundError:
            return None
        return FoundHold(found.held_nano_usd, found.spent_nano_usd)


async def _stoppable(executing: Awaitable[ToolResult], stop: StopSignal | None) -> ToolResult:
    """Returns the result of a call, which ends when the signal is given.

    Raises:
        CancelledRunError: It was stopped before it began.
    """
    task = asyncio.current_task()
    if stop is None or task is None:
        return await executing

    def end() -> None:
        task.cancel(CALLER_STOPS)

    try:
        with stop.calling(end):
            return await executing
    except asyncio.CancelledError as cancelled:
        if not is_stop(cancelled):
            raise
        task.uncancel()
        raise CancelledRunError(
            "The tool was stopped before it began.", metadata={WAS_BEGUN_KEY: "false"}
        ) from None


def _outcome_of(result: ToolResult) -> ToolOutcome:
    return ToolOutcome(
        success=result.success,
        result_json=result.result_json,
        error=result.error,
        code=result.code,
        timestamp_ms=unix_ms_of(result.timestamp),
    )


def _writer(security: SecurityContext) -> SecurityContext:
    return with_permissions(security, _WRITE_LEDGER)


def _token_usage(usage: ModelUsage) -> TokenUsage:
    return TokenUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_input_tokens=usage.cache_read_input_tokens,
        cache_creation_input_tokens_5m=usage.cache_creation_input_tokens_5m,
        cache_creation_input_tokens_1h=usage.cache_creation_input_tokens_1h,
    )


def _purpose(purpose: CallPurpose) -> Purpose:
    return Purpose(
        content_digest=purpose.prefix_digest,
        prefix_tokens=purpose.prefix_tokens,
        history_tokens=purpose.history_tokens,
        is_background=purpose.is_background,
    )


def _require_open(reservation: Reservation) -> None:
    """Checks that a reservation, which may be that of an earlier call, still holds money."""
    if reservation.state != "open":
        raise FailedPreconditionError(
            f"The reservation is {reservation.state} and holds nothing any more.",
            metadata={"reservation_id": reservation.id},
        )


def now_ms() -> int:
    """Returns the time in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def with_permissions(security: SecurityContext, permissions: frozenset[str]) -> SecurityContext:
    """Returns a caller that may do more, for what is done on its behalf."""
    return SecurityContext(
        security.organization_id, security.user_id, security.permissions | permissions
    )

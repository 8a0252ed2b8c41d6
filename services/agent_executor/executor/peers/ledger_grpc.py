"""The ledger over its multiplexed stream."""

from __future__ import annotations

import time
from typing import Any, Final

from cachetools import TTLCache
from google.protobuf.message import Message

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.ledger.v1 import usage_pb2, usage_service_pb2
from agent_executor.errors import FailedPreconditionError, ReservationNotFoundError
from agent_executor.executor.model_calls.purpose import CallPurpose
from agent_executor.executor.models.model import ModelUsage
from agent_executor.executor.peers.ledger import AmountHold, Correction, FoundHold, Hold, Settlement
from agent_executor.serving.grants import ServiceKey
from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.replicas import Replicas
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.telemetry import current_trace

AUDIENCE: Final = "ledger"
PERMISSION: Final = "ledger:write"
CALL_TIMEOUT_SECONDS: Final = 10.0
# A grant names who spends and no single call, so one serves all calls of a user for a while.
GRANT_LIFETIME_SECONDS: Final = 60.0
GRANT_REUSE_SECONDS: Final = 30.0
GRANTS_MAX: Final = 4096


class GrpcLedger:
    """A ``Ledger`` in another process."""

    def __init__(self, stream: MultiplexedStream | Replicas, service_key: ServiceKey) -> None:
        self._stream = stream
        self._service_key = service_key
        self._grants: TTLCache[tuple[str, str], grant_pb2.SignedGrant]
        self._grants = TTLCache(GRANTS_MAX, GRANT_REUSE_SECONDS)

    async def reserve(self, hold: Hold, security: SecurityContext) -> int:
        """See ``Ledger``."""
        reservation = await self._call(
            "reserve",
            usage_service_pb2.ReserveUsageRequest(
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
            ),
            security,
        )
        _require_open(reservation)
        return int(reservation.max_output_tokens)

    async def reserve_amount(self, hold: AmountHold, security: SecurityContext) -> None:
        """See ``Ledger``."""
        reservation = await self._call(
            "reserve_amount",
            usage_service_pb2.ReserveAmountRequest(
                reservation_id=hold.amount_id,
                agent_id=hold.agent_id,
                run_id=hold.run_id,
                amount_nano_usd=hold.amount_nano_usd,
                ttl_seconds=hold.ttl_seconds,
                parent_reservation_id=hold.parent_amount_id,
            ),
            security,
        )
        _require_open(reservation)

    async def renew(self, reservation_id: str, ttl_seconds: int, security: SecurityContext) -> None:
        """See ``Ledger``."""
        await self._call(
            "renew",
            usage_service_pb2.RenewReservationRequest(
                reservation_id=reservation_id, ttl_seconds=ttl_seconds
            ),
            security,
        )

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """See ``Ledger``."""
        purpose = settlement.purpose
        entry = await self._call(
            "settle",
            usage_service_pb2.SettleUsageRequest(
                entry_id=settlement.model_call_id,
                reservation_id=settlement.model_call_id if settlement.is_held else "",
                agent_id=settlement.agent_id,
                run_id=settlement.run_id,
                model=settlement.model,
                usage=_usage_to_proto(settlement.usage),
                estimated=settlement.estimated,
                is_test=settlement.is_test,
                attempt=settlement.attempt,
                processing=settlement.processing,
                purpose=_purpose_to_proto(purpose) if purpose is not None else None,
                tool_uses=[
                    usage_pb2.ToolUse(
                        tool_call_id=use.tool_call_id,
                        tool_name=use.tool_name,
                        arguments_digest=use.arguments_digest,
                    )
                    for use in settlement.tool_uses
                ],
            ),
            security,
        )
        return int(entry.cost_nano_usd + entry.tool_cost_nano_usd)

    async def correct(self, correction: Correction, security: SecurityContext) -> int:
        """See ``Ledger``."""
        entry = await self._call(
            "correct",
            usage_service_pb2.CorrectUsageRequest(
                entry_id=correction.entry_id,
                corrects_entry_id=correction.model_call_id,
                usage=_usage_to_proto(correction.usage),
                description=correction.description,
            ),
            security,
        )
        return int(entry.cost_nano_usd)

    async def void(self, reservation_id: str, security: SecurityContext) -> None:
        """See ``Ledger``."""
        await self._call(
            "void",
            usage_service_pb2.VoidReservationRequest(reservation_id=reservation_id),
            security,
        )

    async def find_hold(self, reservation_id: str, security: SecurityContext) -> FoundHold | None:
        """See ``Ledger``."""
        request = usage_service_pb2.GetReservationRequest(reservation_id=reservation_id)
        try:
            found = await self._call("get", request, security)
        except ReservationNotFoundError:
            return None
        return FoundHold(found.held_nano_usd, found.spent_nano_usd)

    async def _call(self, method: str, request: Message, security: SecurityContext) -> Any:
        return await self._stream.call(
            method,
            request,
            timeout_seconds=CALL_TIMEOUT_SECONDS,
            trace=current_trace(),
            grant=self._grant(security),
        )

    def _grant(self, security: SecurityContext) -> grant_pb2.SignedGrant:
        key = (security.organization_id, security.user_id)
        grant = self._grants.get(key)
        if grant is None:
            grant = self._grants[key] = self._service_key.sign_grant(
                grant_pb2.Grant(
                    audience=AUDIENCE,
                    security_context=grant_pb2.SecurityContext(
                        organization_id=security.organization_id,
                        user_id=security.user_id,
                        permissions=[PERMISSION],
                    ),
                    expires_at_unix_ms=int((time.time() + GRANT_LIFETIME_SECONDS) * 1000),
                )
            )
        return grant


def _usage_to_proto(usage: ModelUsage) -> usage_pb2.TokenUsage:
    return usage_pb2.TokenUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_input_tokens=usage.cache_read_input_tokens,
        cache_creation_input_tokens_5m=usage.cache_creation_input_tokens_5m,
        cache_creation_input_tokens_1h=usage.cache_creation_input_tokens_1h,
    )


def _purpose_to_proto(purpose: CallPurpose) -> usage_pb2.CallPurpose:
    return usage_pb2.CallPurpose(
        prefix_digest=purpose.prefix_digest,
        prefix_tokens=purpose.prefix_tokens,
        history_tokens=purpose.history_tokens,
        is_background=purpose.is_background,
    )


def _require_open(reservation: usage_pb2.Reservation) -> None:
    """Checks that a reservation, which may be that of an earlier call, still holds money."""
    if reservation.state != "open":
        raise FailedPreconditionError(
            f"The reservation is {reservation.state} and holds nothing any more.",
            metadata={"reservation_id": reservation.id},
        )

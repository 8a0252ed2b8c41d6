"""The ledger over its multiplexed stream."""

from __future__ import annotations

import time
from typing import Final

from cachetools import TTLCache

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.ledger.v1 import usage_pb2, usage_service_pb2
from agent_executor.errors import ReservationNotFoundError
from agent_executor.executor.ledger import Hold, Settlement
from agent_executor.serving.grants import ServiceKey
from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.security import SecurityContext

AUDIENCE: Final = "ledger"
PERMISSION: Final = "ledger:write"
CALL_TIMEOUT_SECONDS: Final = 10.0
# A grant names who spends and no single call, so one serves all calls of a user for a while.
GRANT_LIFETIME_SECONDS: Final = 60.0
GRANT_REUSE_SECONDS: Final = 30.0
GRANTS_MAX: Final = 4096


class GrpcLedger:
    """A ``Ledger`` in another process."""

    def __init__(self, stream: MultiplexedStream, service_key: ServiceKey) -> None:
        self._stream = stream
        self._service_key = service_key
        self._grants: TTLCache[tuple[str, str], grant_pb2.SignedGrant]
        self._grants = TTLCache(GRANTS_MAX, GRANT_REUSE_SECONDS)

    async def reserve(self, hold: Hold, security: SecurityContext) -> None:
        """See ``Ledger``."""
        await self._stream.call(
            "reserve",
            usage_service_pb2.ReserveUsageRequest(
                reservation_id=hold.model_call_id,
                agent_id=hold.agent_id,
                run_id=hold.run_id,
                model=hold.model,
                max_input_tokens=hold.max_input_tokens,
                max_output_tokens=hold.max_output_tokens,
                ttl_seconds=hold.ttl_seconds,
            ),
            timeout_seconds=CALL_TIMEOUT_SECONDS,
            grant=self._grant(security),
        )

    async def settle(self, settlement: Settlement, security: SecurityContext) -> int:
        """See ``Ledger``."""
        usage = settlement.usage
        entry = await self._stream.call(
            "settle",
            usage_service_pb2.SettleUsageRequest(
                entry_id=settlement.model_call_id,
                reservation_id=settlement.model_call_id,
                agent_id=settlement.agent_id,
                run_id=settlement.run_id,
                model=settlement.model,
                usage=usage_pb2.TokenUsage(
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    cache_read_input_tokens=usage.cache_read_input_tokens,
                    cache_creation_input_tokens_5m=usage.cache_creation_input_tokens_5m,
                    cache_creation_input_tokens_1h=usage.cache_creation_input_tokens_1h,
                ),
                estimated=settlement.estimated,
                is_test=settlement.is_test,
            ),
            timeout_seconds=CALL_TIMEOUT_SECONDS,
            grant=self._grant(security),
        )
        return int(entry.cost_nano_usd)

    async def void(self, model_call_id: str, security: SecurityContext) -> None:
        """See ``Ledger``."""
        await self._stream.call(
            "void",
            usage_service_pb2.VoidReservationRequest(reservation_id=model_call_id),
            timeout_seconds=CALL_TIMEOUT_SECONDS,
            grant=self._grant(security),
        )

    async def is_reserved(self, model_call_id: str, security: SecurityContext) -> bool:
        """See ``Ledger``."""
        try:
            await self._stream.call(
                "get",
                usage_service_pb2.GetReservationRequest(reservation_id=model_call_id),
                timeout_seconds=CALL_TIMEOUT_SECONDS,
                grant=self._grant(security),
            )
        except ReservationNotFoundError:
            return False
        return True

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

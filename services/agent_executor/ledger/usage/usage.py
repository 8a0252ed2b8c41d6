"""What is asked of the ledger for each model call, one by one or many together."""

from __future__ import annotations

from collections.abc import Callable

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.usage.checks import WRITE_PERMISSION
from agent_executor.ledger.usage.correcting import CorrectRequest, CorrectUsage
from agent_executor.ledger.usage.holding import (
    RenewRequest,
    RenewReservation,
    VoidReservation,
    found,
)
from agent_executor.ledger.usage.operation import Operations
from agent_executor.ledger.usage.reserving import (
    DEFAULT_TTL_SECONDS,
    AmountRequest,
    ReserveAmount,
    ReserveRequest,
    ReserveUsage,
)
from agent_executor.ledger.usage.settling import Settled, SettleRequest, SettleUsage
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext


class Usage:
    """The operations around a model call. Each method raises what its operation does.

    Args:
        store: Keeps reservations and entries.
        rate_cards: Knows the prices.
        clock: Seconds since 1970-01-01 UTC.
        metrics: Counts what is held, refused and recorded.
        default_ttl_seconds: How long a hold lasts that does not say, in seconds.

    Attributes:
        operations: Carries several out together.
    """

    def __init__(
        self,
        store: AccountingStore,
        rate_cards: RateCards,
        clock: Callable[[], float],
        metrics: Metrics,
        *,
        default_ttl_seconds: int = DEFAULT_TTL_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self.operations = Operations(store, clock, metrics)
        self.reserving = ReserveUsage(rate_cards, clock, default_ttl_seconds)
        self.reserving_amount = ReserveAmount(clock, default_ttl_seconds)
        self.renewing = RenewReservation(clock)
        self.voiding = VoidReservation()
        self.settling = SettleUsage(store, rate_cards, clock)
        self.correcting = CorrectUsage(store, clock)

    async def reserve(self, request: ReserveRequest, security: SecurityContext) -> Reservation:
        """Holds the worst case of a model call; see ``ReserveUsage``."""
        return await self.operations.run_one(self.reserving, request, security)

    async def reserve_amount(
        self, request: AmountRequest, security: SecurityContext
    ) -> Reservation:
        """Holds an amount from which others draw; see ``ReserveAmount``."""
        return await self.operations.run_one(self.reserving_amount, request, security)

    async def renew(self, request: RenewRequest, security: SecurityContext) -> Reservation:
        """Lets a hold end later; see ``RenewReservation``."""
        return await self.operations.run_one(self.renewing, request, security)

    async def void(self, reservation_id: str, security: SecurityContext) -> Reservation:
        """Frees a hold; see ``VoidReservation``."""
        return await self.operations.run_one(self.voiding, reservation_id, security)

    async def settle(self, request: SettleRequest, security: SecurityContext) -> Settled:
        """Records what a model call used; see ``SettleUsage``."""
        return await self.operations.run_one(self.settling, request, security)

    async def correct(self, request: CorrectRequest, security: SecurityContext) -> UsageEntry:
        """Corrects what was recorded; see ``CorrectUsage``."""
        return await self.operations.run_one(self.correcting, request, security)

    async def get(self, reservation_id: str, security: SecurityContext) -> Reservation:
        """Returns a reservation as it stands.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            ReservationNotFoundError: The organization has no such reservation.
        """
        security.require(WRITE_PERMISSION)
        reservation = await self._store.get_reservation(
            security.organization_id, reservation_id, int(self._clock() * 1000)
        )
        return found(reservation, reservation_id)

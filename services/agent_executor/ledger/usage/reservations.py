"""Holding money before a model call, and recording what the call used after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from agent_executor.errors import (
    EntryConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    ReservationNotFoundError,
)
from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.accounting.entry import Settlement, UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import ReservationStore
from agent_executor.ledger.accounting.token_usage import TokenUsage, check_token_count
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.usage.metrics import count_entry, report_overruns
from agent_executor.serving.metrics import RESERVATIONS, Metrics
from agent_executor.serving.security import SecurityContext

PERMISSION: Final = "ledger:write"
DEFAULT_TTL_SECONDS: Final = 900
MAX_TTL_SECONDS: Final = 86_400
MAX_ID_BYTES: Final = 256


class ReserveRequest(msgspec.Struct, frozen=True):
    """A model call that is about to be made, on behalf of whoever the security context names.

    Attributes:
        reservation_id: The idempotency key.
        max_input_tokens: Upper bound of the input, cached input included.
        max_output_tokens: Upper bound of the output, at least 1.
        writes_cache: Whether input may be written to the prompt cache, which costs more.
        ttl_seconds: How long the hold lasts by itself, at most 86,400; 0: the service's default.
    """

    reservation_id: str
    agent_id: str
    run_id: str
    model: str
    max_input_tokens: int
    max_output_tokens: int
    writes_cache: bool = False
    ttl_seconds: int = 0


class SettleRequest(msgspec.Struct, frozen=True):
    """A model call that was made.

    Attributes:
        entry_id: The idempotency key.
        reservation_id: The hold to free; empty if there was none.
        estimated: The usage is an estimate, since the provider's own count was lost.
        attempt: How often the call has been made, from 1.
    """

    entry_id: str
    agent_id: str
    run_id: str
    model: str
    usage: TokenUsage
    reservation_id: str = ""
    estimated: bool = False
    is_test: bool = False
    attempt: int = 1


class Reservations:
    """Holds the worst case of a model call, then settles what it used.

    Args:
        store: Keeps reservations and entries.
        rate_cards: Knows the prices.
        clock: Seconds since 1970-01-01 UTC.
        metrics: Counts what is held, refused and recorded.
        default_ttl_seconds: How long a hold lasts that does not say.
    """

    def __init__(
        self,
        store: ReservationStore,
        rate_cards: RateCards,
        clock: Callable[[], float],
        metrics: Metrics,
        *,
        default_ttl_seconds: int = DEFAULT_TTL_SECONDS,
    ) -> None:
        self._store = store
        self._rate_cards = rate_cards
        self._clock = clock
        self._metrics = metrics
        self._default_ttl_seconds = default_ttl_seconds

    async def reserve(
        self, request: ReserveRequest, security: SecurityContext
    ) -> Reservation | Refusal:
        """Holds the worst case of a model call against every budget that applies, or none.

        A repeat gets the reservation as it then stands: whoever repeats late looks at its state.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            InvalidArgumentError: A number of tokens, a time or an id cannot be.
            UnknownModelError: The model has no price.
            EntryConflictError: A reservation of this id was made for something else.
        """
        security.require(PERMISSION)
        _check_id("reservation_id", request.reservation_id)
        check_token_count("max_input_tokens", request.max_input_tokens)
        check_token_count("max_output_tokens", request.max_output_tokens, minimum=1)
        if not 0 <= request.ttl_seconds <= MAX_TTL_SECONDS:
            raise InvalidArgumentError(f"ttl_seconds must be between 0 and {MAX_TTL_SECONDS}.")
        card = await self._rate_cards.find(request.model, self._now_ms())
        # Read again, since a card may take its time: the order of these times is that of the writes.
        now_ms = self._now_ms()
        asked = Reservation(
            id=request.reservation_id,
            organization_id=security.organization_id,
            user_id=security.user_id,
            agent_id=request.agent_id,
            run_id=request.run_id,
            model=request.model,
            max_input_tokens=request.max_input_tokens,
            max_output_tokens=request.max_output_tokens,
            writes_cache=request.writes_cache,
            rate_card_id=card.id,
            held_nano_usd=card.worst_case(
                request.max_input_tokens,
                request.max_output_tokens,
                writes_cache=request.writes_cache,
            ),
            created_at_ms=now_ms,
            expires_at_ms=now_ms + 1000 * (request.ttl_seconds or self._default_ttl_seconds),
        )
        answer = await self._store.reserve(asked)
        if isinstance(answer, Refusal):
            self._metrics.increment(RESERVATIONS, "refused")
            return answer
        if not answer.asks_the_same(asked):
            raise EntryConflictError(
                "A reservation of this id was made for another call.",
                metadata={"reservation_id": request.reservation_id},
            )
        self._metrics.increment(RESERVATIONS, "admitted")
        return answer

    async def settle(self, request: SettleRequest, security: SecurityContext) -> UsageEntry:
        """Records what a model call used and frees its hold; a repeat gets the first entry again.

        A reservation that has expired, was voided or never was is no hindrance, and the entry says
        so: what was used counts.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            InvalidArgumentError: An id or the attempt cannot be.
            UnknownModelError: The model has no price.
            EntryConflictError: An entry of this id records something else.
        """
        security.require(PERMISSION)
        _check_id("entry_id", request.entry_id)
        check_token_count("attempt", request.attempt, minimum=1)
        card = await self._rate_cards.find(request.model, self._now_ms())
        settlement = Settlement(
            entry_id=request.entry_id,
            organization_id=security.organization_id,
            user_id=security.user_id,
            agent_id=request.agent_id,
            run_id=request.run_id,
            model=request.model,
            usage=request.usage,
            reservation_id=request.reservation_id,
            estimated=request.estimated,
            is_test=request.is_test,
            attempt=request.attempt,
        )
        settled = await self._store.settle(settlement, card, self._now_ms())
        if settled.is_new:
            count_entry(self._metrics, settled.entry)
            report_overruns(self._metrics, settled.overruns)
        elif not settled.entry.records(settlement):
            raise EntryConflictError(
                "An entry of this id records another call.", metadata={"entry_id": request.entry_id}
            )
        return settled.entry

    async def void(self, reservation_id: str, security: SecurityContext) -> Reservation:
        """Frees a hold whose call was never made. To void twice, or after its end, is no error.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            ReservationNotFoundError: The organization has no such reservation.
            FailedPreconditionError: It was settled, so that the call was made.
        """
        security.require(PERMISSION)
        reservation = _found(
            await self._store.void(security.organization_id, reservation_id, self._now_ms()),
            reservation_id,
        )
        if reservation.state == "settled":
            raise FailedPreconditionError(
                "The reservation was settled, so it cannot be voided.",
                metadata={"reservation_id": reservation_id},
            )
        return reservation

    async def get(self, reservation_id: str, security: SecurityContext) -> Reservation:
        """Returns a reservation as it stands.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            ReservationNotFoundError: The organization has no such reservation.
        """
        security.require(PERMISSION)
        return _found(
            await self._store.get_reservation(
                security.organization_id, reservation_id, self._now_ms()
            ),
            reservation_id,
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _check_id(name: str, value: str) -> None:
    if not 1 <= len(value.encode()) <= MAX_ID_BYTES:
        message = f"{name} must have 1 to {MAX_ID_BYTES} bytes."
        raise InvalidArgumentError(message, field_violations=((name, message),))


def _found(reservation: Reservation | None, reservation_id: str) -> Reservation:
    if reservation is None:
        raise ReservationNotFoundError(
            "There is no such reservation.", metadata={"reservation_id": reservation_id}
        )
    return reservation

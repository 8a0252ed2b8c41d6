"""Holding money: the worst case of a model call, or an amount from which others draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from agent_executor.errors import (
    EntryConflictError,
    LimitExceededError,
    ReservationNotFoundError,
)
from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.accounting.commands import Outcome, Reserve, TooDeep
from agent_executor.ledger.accounting.hold_tree import MAX_AMOUNTS_ABOVE
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import check_token_count
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD, NanoUsd
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.usage.checks import (
    MAX_ID_BYTES,
    MAX_MODEL_BYTES,
    MAX_NAME_BYTES,
    MAX_TTL_SECONDS,
    PROCESSINGS,
    SPEEDS,
    WRITE_PERMISSION,
    check_integer,
    check_text,
    invalid,
)
from agent_executor.ledger.usage.metrics import Happened
from agent_executor.ledger.usage.operation import Operation
from agent_executor.serving.security import SecurityContext

DEFAULT_TTL_SECONDS: Final = 900


class ReserveRequest(msgspec.Struct, frozen=True):
    """A model call that is about to be made, on behalf of whoever the security context names.

    Attributes:
        reservation_id: The idempotency key.
        max_input_tokens: Upper bound of the input, cached input included.
        max_output_tokens: Upper bound of the output, at least 1.
        writes_cache: Whether input may be written to the prompt cache, which costs more.
        ttl_seconds: How long the hold lasts by itself, at most 86,400; 0: the service's default.
        parent_reservation_id: The amount to draw from; empty: the budgets.
        min_output_tokens: The least output the call can do with, if all does not fit; 0: all.
        processing: ``batch`` or empty.
        speed: ``fast`` or empty.
    """

    reservation_id: str
    agent_id: str
    run_id: str
    model: str
    max_input_tokens: int
    max_output_tokens: int
    writes_cache: bool = False
    ttl_seconds: int = 0
    parent_reservation_id: str = ""
    min_output_tokens: int = 0
    processing: str = ""
    speed: str = ""


class AmountRequest(msgspec.Struct, frozen=True):
    """An amount that a run, and those that it starts, may spend.

    Attributes:
        reservation_id: The idempotency key.
        amount_nano_usd: At least 1, at most 9,000,000 dollars.
        ttl_seconds: As in ``ReserveRequest``.
        parent_reservation_id: As in ``ReserveRequest``.
    """

    reservation_id: str
    agent_id: str
    run_id: str
    amount_nano_usd: NanoUsd
    ttl_seconds: int = 0
    parent_reservation_id: str = ""


ReservingT = TypeVar("ReservingT", ReserveRequest, AmountRequest)


class _Reserving(Operation[ReservingT, Reserve, Reservation]):
    """What both kinds of reservation share."""

    def __init__(self, clock: Callable[[], float], default_ttl_seconds: int) -> None:
        self._clock = clock
        self._default_ttl_seconds = default_ttl_seconds

    def conclude(self, command: Reserve, outcome: Outcome, happened: Happened) -> Reservation:
        """Returns the reservation; a repeat gets it as it stands: who repeats looks at its state.

        Raises:
            BudgetExceededError: A budget, or the parent, does not cover the worst case.
            ReservationNotFoundError: The parent never was.
            EntryConflictError: A reservation of this id was made for something else.
            LimitExceededError: There are too many amounts above it.
        """
        asked = command.reservation
        if isinstance(outcome, Reservation):
            if not outcome.asks_the_same(asked):
                raise EntryConflictError(
                    "A reservation of this id was made for something else.",
                    metadata={"reservation_id": asked.id},
                )
            is_reduced = outcome.max_output_tokens < outcome.asked_output_tokens
            happened.reservations.append("reduced" if is_reduced else "admitted")
            return outcome
        if isinstance(outcome, Refusal):
            happened.reservations.append("refused")
            raise outcome.to_error(asked.created_at_ms)
        if isinstance(outcome, TooDeep):
            raise LimitExceededError(
                f"A reservation draws from {MAX_AMOUNTS_ABOVE} amounts at most, one above the other."
            )
        raise ReservationNotFoundError(
            "There is no such parent reservation.", metadata={"reservation_id": asked.parent_id}
        )

    def _check(self, request: ReservingT, security: SecurityContext) -> None:
        security.require(WRITE_PERMISSION)
        check_text("reservation_id", request.reservation_id, MAX_ID_BYTES, min_bytes=1)
        check_text("agent_id", request.agent_id, MAX_NAME_BYTES)
        check_text("run_id", request.run_id, MAX_NAME_BYTES)
        check_text("parent_reservation_id", request.parent_reservation_id, MAX_ID_BYTES)
        check_integer("ttl_seconds", request.ttl_seconds, 0, MAX_TTL_SECONDS)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _ttl_ms(self, ttl_seconds: int) -> int:
        return 1000 * (ttl_seconds or self._default_ttl_seconds)


class ReserveUsage(_Reserving[ReserveRequest]):
    """Holds the worst case of a model call, on every budget that applies or on none.

    Args:
        rate_cards: Knows the prices.
        clock: Seconds since 1970-01-01 UTC.
        default_ttl_seconds: How long a hold lasts that does not say.
    """

    def __init__(
        self,
        rate_cards: RateCards,
        clock: Callable[[], float],
        default_ttl_seconds: int = DEFAULT_TTL_SECONDS,
    ) -> None:
        super().__init__(clock, default_ttl_seconds)
        self._rate_cards = rate_cards

    async def prepare(self, request: ReserveRequest, security: SecurityContext) -> Reserve:
        """Prices the worst case.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            InvalidArgumentError: A number of tokens, a time, an id or the worst case cannot be.
            UnknownModelError: The model has no price.
        """
        self._check(request, security)
        _check_call(request)
        card = await self._rate_cards.find(
            security.organization_id,
            request.model,
            self._now_ms(),
            processing=request.processing,
            speed=request.speed,
        )
        worst_case = card.worst_case(
            request.max_input_tokens,
            request.max_output_tokens,
            writes_cache=request.writes_cache,
        )
        # Read again, since to find a card may take its time.
        now_ms = self._now_ms()
        ttl_ms = self._ttl_ms(request.ttl_seconds)
        reservation = Reservation(
            id=request.reservation_id,
            organization_id=security.organization_id,
            user_id=security.user_id,
            agent_id=request.agent_id,
            run_id=request.run_id,
            model=request.model,
            processing=request.processing,
            speed=request.speed,
            max_input_tokens=request.max_input_tokens,
            max_output_tokens=request.max_output_tokens,
            asked_output_tokens=request.max_output_tokens,
            min_output_tokens=request.min_output_tokens,
            writes_cache=request.writes_cache,
            rate_card_id=card.id,
            parent_id=request.parent_reservation_id,
            held_nano_usd=worst_case,
            remaining_nano_usd=worst_case,
            created_at_ms=now_ms,
            ttl_ms=ttl_ms,
            expires_at_ms=now_ms + ttl_ms,
        )
        return Reserve(reservation, card)


class ReserveAmount(_Reserving[AmountRequest]):
    """Holds an amount for a run, from which its calls and the runs that it starts draw.

    Args:
        clock: Seconds since 1970-01-01 UTC.
        default_ttl_seconds: How long a hold lasts that does not say.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        default_ttl_seconds: int = DEFAULT_TTL_SECONDS,
    ) -> None:
        super().__init__(clock, default_ttl_seconds)

    async def prepare(self, request: AmountRequest, security: SecurityContext) -> Reserve:
        """Checks what is asked.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``.
            InvalidArgumentError: The amount, a time or an id cannot be.
        """
        self._check(request, security)
        amount = request.amount_nano_usd
        check_integer("amount_nano_usd", amount, 1, MAX_LIMIT_NANO_USD)
        now_ms, ttl_ms = self._now_ms(), self._ttl_ms(request.ttl_seconds)
        reservation = Reservation(
            id=request.reservation_id,
            organization_id=security.organization_id,
            user_id=security.user_id,
            agent_id=request.agent_id,
            run_id=request.run_id,
            parent_id=request.parent_reservation_id,
            held_nano_usd=amount,
            remaining_nano_usd=amount,
            created_at_ms=now_ms,
            ttl_ms=ttl_ms,
            expires_at_ms=now_ms + ttl_ms,
        )
        return Reserve(reservation)


def _check_call(request: ReserveRequest) -> None:
    check_text("model", request.model, MAX_MODEL_BYTES, min_bytes=1)
    check_token_count("max_input_tokens", request.max_input_tokens)
    check_token_count("max_output_tokens", request.max_output_tokens, minimum=1)
    check_token_count("min_output_tokens", request.min_output_tokens)
    if request.processing not in PROCESSINGS:
        raise invalid("processing", 'is "batch" or empty.')
    if request.speed not in SPEEDS:
        raise invalid("speed", 'is "fast" or empty.')

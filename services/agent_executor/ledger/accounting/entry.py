"""One line of the ledger, and what is needed to write it. Neither ever changes."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.rate_card import RateCard

MODEL_CALL: Final = "model_call"

ReservationOutcome: TypeAlias = Literal["none", "unknown", "open", "settled", "voided", "expired"]
"""How an entry found its reservation: it had ``none``, an ``unknown`` one, or one in a state."""


class Settlement(msgspec.Struct, frozen=True):
    """What a model call used, before it is priced.

    Attributes:
        entry_id: The entry's id; the idempotency key in its organization.
        reservation_id: The hold to free; empty if there was none.
        model: The model as asked for.
        estimated: The usage is an estimate, since the provider's own count was lost.
        is_test: The run is a test. It costs money all the same.
        attempt: How often the call has been made, from 1.
    """

    entry_id: str
    organization_id: str
    user_id: str
    agent_id: str
    run_id: str
    model: str
    usage: TokenUsage
    reservation_id: str = ""
    estimated: bool = False
    is_test: bool = False
    attempt: int = 1


class UsageEntry(msgspec.Struct, frozen=True):
    """One line of the ledger.

    Attributes:
        id: The idempotency key: an id counts once in its organization.
        cost_nano_usd: The exact cost, rounded once.
        rate_card_id: The card that priced it.
        reservation_id: The reservation it was settled under; empty if there was none.
        reservation_outcome: How it found that reservation.
        created_at_ms: When it was recorded, in milliseconds since 1970-01-01 UTC.
        kind: ``model_call``.
    """

    id: str
    organization_id: str
    user_id: str
    agent_id: str
    run_id: str
    model: str
    usage: TokenUsage
    cost_nano_usd: NanoUsd
    rate_card_id: str
    estimated: bool
    is_test: bool
    attempt: int
    reservation_id: str
    reservation_outcome: ReservationOutcome
    created_at_ms: int
    kind: str = MODEL_CALL

    def records(self, settlement: Settlement) -> bool:
        """Tells whether the entry is the record of this very settlement, and not of another one."""
        return settlement == Settlement(
            entry_id=self.id,
            organization_id=self.organization_id,
            user_id=self.user_id,
            agent_id=self.agent_id,
            run_id=self.run_id,
            model=self.model,
            usage=self.usage,
            reservation_id=self.reservation_id,
            estimated=self.estimated,
            is_test=self.is_test,
            attempt=self.attempt,
        )


def reservation_outcome(
    settlement: Settlement, reservation: Reservation | None
) -> ReservationOutcome:
    """Returns how a settlement finds its reservation, as of the moment of settling."""
    if reservation is not None:
        return reservation.state
    return "unknown" if settlement.reservation_id else "none"


def price(
    settlement: Settlement, card: RateCard, outcome: ReservationOutcome, now_ms: int
) -> UsageEntry:
    """Returns the entry that records a settlement."""
    return UsageEntry(
        id=settlement.entry_id,
        organization_id=settlement.organization_id,
        user_id=settlement.user_id,
        agent_id=settlement.agent_id,
        run_id=settlement.run_id,
        model=settlement.model,
        usage=settlement.usage,
        cost_nano_usd=card.cost(settlement.usage),
        rate_card_id=card.id,
        estimated=settlement.estimated,
        is_test=settlement.is_test,
        attempt=settlement.attempt,
        reservation_id=settlement.reservation_id,
        reservation_outcome=outcome,
        created_at_ms=now_ms,
    )

"""Money that is held: for one model call, or an amount from which others draw."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from agent_executor.ledger.money import NanoUsd

ReservationState: TypeAlias = Literal["open", "settled", "voided", "expired"]


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """Money held until it is settled, voided, or the hold expires.

    Attributes:
        id: Chosen by the caller; the idempotency key in its organization.
        model: The model to be called; empty for an amount, from which other reservations draw.
        processing: ``batch`` or empty.
        speed: ``fast`` or empty.
        max_input_tokens: Most input that the hold covers.
        max_output_tokens: Most output that the hold covers; less than was asked for if that is all
            that fitted.
        asked_output_tokens: Most output that was asked for.
        min_output_tokens: The least output the call can do with; 0: what was asked for, or nothing.
        writes_cache: Whether it covers input that is written to the prompt cache.
        rate_card_id: The card at which it is held, and at which the call will be priced; empty for
            an amount.
        parent_id: The amount that it draws from; empty if it draws from the budgets.
        held_nano_usd: What was held at first.
        remaining_nano_usd: What is held now, with what others have drawn from it and still hold. Of
            an ended amount it is what is still drawn.
        drawn_nano_usd: Of an amount: the sum of ``remaining_nano_usd`` of those that draw from it
            directly.
        spent_nano_usd: Of an amount: what those that draw from it, also indirectly, were settled
            with. Later corrections do not change it.
        created_at_ms: When it was made, in milliseconds since 1970-01-01 UTC.
        ttl_ms: How long it was to last when it was asked for.
        expires_at_ms: When the hold ends by itself.
        state: Only ``open`` can be drawn from, renewed, settled or voided.
    """

    id: str
    organization_id: str
    user_id: str
    agent_id: str
    run_id: str
    model: str = ""
    processing: str = ""
    speed: str = ""
    max_input_tokens: int = 0
    max_output_tokens: int = 0
    asked_output_tokens: int = 0
    min_output_tokens: int = 0
    writes_cache: bool = False
    rate_card_id: str = ""
    parent_id: str = ""
    held_nano_usd: NanoUsd
    remaining_nano_usd: NanoUsd
    drawn_nano_usd: NanoUsd = NanoUsd(0)
    spent_nano_usd: NanoUsd = NanoUsd(0)
    created_at_ms: int
    ttl_ms: int
    expires_at_ms: int
    state: ReservationState = "open"

    @property
    def is_amount(self) -> bool:
        """Whether it is an amount from which others draw, and not for one model call."""
        return not self.model

    @property
    def left_nano_usd(self) -> int:
        """Of an open amount: what can still be drawn from it; 0 if it has ended."""
        return self.remaining_nano_usd - self.drawn_nano_usd

    def as_of(self, now_ms: int) -> Reservation:
        """Returns it as it stands at a time, if no reservation that draws from it has expired."""
        if self.state == "open" and self.expires_at_ms <= now_ms:
            return msgspec.structs.replace(
                self, state="expired", remaining_nano_usd=self.drawn_nano_usd
            )
        return self

    def asks_the_same(self, other: Reservation) -> bool:
        """Tells whether both were asked for with the same content, whatever became of them."""
        return self._asked() == other._asked()

    def _asked(self) -> tuple[object, ...]:
        return (
            self.id,
            self.organization_id,
            self.user_id,
            self.agent_id,
            self.run_id,
            self.model,
            self.processing,
            self.speed,
            self.max_input_tokens,
            self.asked_output_tokens,
            self.min_output_tokens,
            self.writes_cache,
            self.parent_id,
            self.ttl_ms,
            self.held_nano_usd if self.is_amount else 0,
        )

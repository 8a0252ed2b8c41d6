"""Money that is held for one model call."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from agent_executor.ledger.money import NanoUsd

ReservationState: TypeAlias = Literal["open", "settled", "voided", "expired"]


class Reservation(msgspec.Struct, frozen=True):
    """Money held for a model call until the call is settled, voided, or the hold expires.

    Attributes:
        id: Chosen by the caller; the idempotency key in its organization.
        max_input_tokens: Most input that the hold covers.
        max_output_tokens: Most output that the hold covers.
        writes_cache: Whether it covers input that is written to the prompt cache.
        rate_card_id: The card at which it is held, and at which the call will be priced.
        held_nano_usd: The worst case that is held.
        created_at_ms: When it was made, in milliseconds since 1970-01-01 UTC.
        expires_at_ms: When the hold ends by itself.
        state: Only ``open`` holds money.
    """

    id: str
    organization_id: str
    user_id: str
    agent_id: str
    run_id: str
    model: str
    max_input_tokens: int
    max_output_tokens: int
    writes_cache: bool
    rate_card_id: str
    held_nano_usd: NanoUsd
    created_at_ms: int
    expires_at_ms: int
    state: ReservationState = "open"

    def as_of(self, now_ms: int) -> Reservation:
        """Returns it as it stands at a time: an open hold past its end has expired."""
        if self.state == "open" and self.expires_at_ms <= now_ms:
            return self.in_state("expired")
        return self

    def in_state(self, state: ReservationState) -> Reservation:
        """Returns it in another state."""
        return msgspec.structs.replace(self, state=state)

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
            self.max_input_tokens,
            self.max_output_tokens,
            self.writes_cache,
            self.expires_at_ms - self.created_at_ms,
        )

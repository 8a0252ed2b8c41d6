"""Rate cards that have been read before: they never change, and there are few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from agent_executor.ledger.prices.rate_card import RateCard

MAX_CARDS: Final = 4_096

card_of_body: Final = msgspec.json.Decoder(RateCard).decode
"""Returns the card that the column ``rate_cards.body`` holds."""


class CardMemory:
    """The cards that a store has read, some thousands at most.

    Attributes:
        known: By id.
    """

    def __init__(self) -> None:
        self.known: dict[str, RateCard] = {}

    def add(self, cards: Mapping[str, RateCard]) -> None:
        """Remembers cards that are stored for certain; forgets all others if there are too many."""
        # Replaced and not emptied, for a writer may be reading it on its own thread.
        if not cards:
            return
        kept = {} if len(self.known) + len(cards) > MAX_CARDS else self.known
        self.known = {**kept, **cards}

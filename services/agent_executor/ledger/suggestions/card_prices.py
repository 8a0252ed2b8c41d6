"""Prices for suggestions, from the cards of the ledger and the price list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Protocol, TypeAlias

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.suggestions.prices import CardOptions

NextCheaper: TypeAlias = Callable[[RateCard, date, int], RateCard | None]
"""Returns the next cheaper model of the same provider whose context window is at least so large.

It may be slow and is called on a thread.
"""


class _Cards(Protocol):
    """Keeps the cards that calls were priced by; a part of ``AccountingStore``."""

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """See ``AccountingStore``."""
        ...


class _Prices(Protocol):
    """Finds what a call is priced by; a part of ``RateCards``."""

    async def find(
        self,
        organization_id: str,
        model: str,
        at_ms: int,
        *,
        processing: str = "",
        speed: str = "",
    ) -> RateCard:
        """See ``RateCards``."""
        ...


class CardPrices:
    """``SuggestionPrices`` over what the ledger has.

    Args:
        cards: Keeps the cards that calls were priced by.
        prices: Finds the batch price, the organization's own before the price list's.
        next_cheaper: Finds another model in the price list.
    """

    def __init__(self, cards: _Cards, prices: _Prices, next_cheaper: NextCheaper) -> None:
        self._cards = cards
        self._prices = prices
        self._next_cheaper = next_cheaper

    async def options(
        self, organization_id: str, rate_card_id: str, max_input_tokens: int, at_ms: int
    ) -> CardOptions | None:
        """See ``SuggestionPrices``."""
        card = await self._cards.get_rate_card(rate_card_id) if rate_card_id else None
        if card is None:
            return None
        day = datetime.fromtimestamp(at_ms // 1000, UTC).date()
        cheaper = await asyncio.to_thread(self._next_cheaper, card, day, max_input_tokens)
        return CardOptions(card, cheaper, await self._batch(organization_id, card, at_ms))

    async def _batch(self, organization_id: str, card: RateCard, at_ms: int) -> RateCard | None:
        if card.processing:
            return None
        try:
            return await self._prices.find(
                organization_id, card.model, at_ms, processing="batch", speed=card.speed
            )
        except UnknownModelError:
            return None

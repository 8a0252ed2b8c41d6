"""Prices for suggestions, from the cards of the ledger and the price list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final, Protocol

import msgspec

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices import genai_price_list
from agent_executor.ledger.prices.alternatives import cacheable_prefix_tokens, cheaper_models
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.suggestions.prices import (
    DEFAULT_MIN_CACHEABLE_TOKENS,
    CardOptions,
    with_more_tokens,
)

# By what models are compared: three times as much input as output.
_COMPARED_BY: Final = TokenUsage(3_000, 1_000)
_OWN_CARDS_PROVIDER: Final = "organization"


class Listed(msgspec.Struct, frozen=True):
    """What the price list says of a card's model.

    Attributes:
        cheaper_model: The next model of the same provider that is cheaper by so much that it costs
            less with ``MORE_TOKENS_PERCENT`` more tokens too; empty if there is none.
        min_cacheable_tokens: The shortest prompt that its cache takes; None: not known.
    """

    cheaper_model: str
    min_cacheable_tokens: int | None


def look_up(card: RateCard, day: date, max_input_tokens: int) -> Listed:
    """Asks the price list, which may take most of a second; call it in a thread.

    Of several models at that price it takes the one with the highest version.

    Args:
        card: By which calls were priced.
        day: When the other model's price is to hold.
        max_input_tokens: The input that it must be able to take.
    """
    own = card.provider == _OWN_CARDS_PROVIDER
    model = card.model if own else f"{card.provider}/{card.model}"
    try:
        listed = genai_price_list.resolve(model, day, card.context).cost(_COMPARED_BY)
        cheaper = cheaper_models(
            model, day, _COMPARED_BY, context=card.context, max_input_tokens=max_input_tokens
        )
    except UnknownModelError:
        return Listed("", cacheable_prefix_tokens(card))
    costs = {one.card.model: one.card.cost(_COMPARED_BY) for one in cheaper}
    enough = {name: cost for name, cost in costs.items() if with_more_tokens(cost) < listed}
    dearest = max(enough.values(), default=0)
    names = [name for name, cost in enough.items() if cost == dearest]
    return Listed(max(names, default=""), cacheable_prefix_tokens(card))


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
        prices: Finds prices, the organization's own before the price list's.
        look_up: Asks the price list; called on a thread.
    """

    def __init__(
        self,
        cards: _Cards,
        prices: _Prices,
        look_up: Callable[[RateCard, date, int], Listed] = look_up,
    ) -> None:
        self._cards = cards
        self._prices = prices
        self._look_up = look_up

    async def options(
        self, organization_id: str, rate_card_id: str, max_input_tokens: int, at_ms: int
    ) -> CardOptions | None:
        """See ``SuggestionPrices``."""
        card = await self._cards.get_rate_card(rate_card_id) if rate_card_id else None
        if card is None:
            return None
        day = datetime.fromtimestamp(at_ms // 1000, UTC).date()
        listed = await asyncio.to_thread(self._look_up, card, day, max_input_tokens)
        cheaper = batch = None
        if listed.cheaper_model:
            cheaper = await self._find(
                organization_id, listed.cheaper_model, at_ms, card.processing, card.speed
            )
        if not card.processing:
            batch = await self._find(organization_id, card.model, at_ms, "batch", card.speed)
        return CardOptions(
            card,
            cheaper=cheaper,
            batch=batch,
            min_cacheable_tokens=listed.min_cacheable_tokens or DEFAULT_MIN_CACHEABLE_TOKENS,
        )

    async def _find(
        self, organization_id: str, model: str, at_ms: int, processing: str, speed: str
    ) -> RateCard | None:
        try:
            card = await self._prices.find(
                organization_id, model, at_ms, processing=processing, speed=speed
            )
        except UnknownModelError:
            return None
        # A price of zero is no price where models without one are recorded at zero.
        return card if card.base.output else None

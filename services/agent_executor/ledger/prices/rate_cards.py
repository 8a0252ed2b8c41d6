"""Which rate card prices a call, found once per model and day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final, TypeAlias

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.store import RateCardStore
from agent_executor.ledger.prices import genai_price_list
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard

ResolveRateCard: TypeAlias = Callable[[str, date, PriceContext], RateCard]
"""Finds a price. It may be slow, is called on a thread, and raises UnknownModelError."""

MAX_MODEL_BYTES: Final = 200
MAX_CACHED_CARDS: Final = 1_000

_DAY_MS: Final = 86_400_000


class RateCards:
    """Finds the card of a model on a day, and keeps it for the next call.

    A card is stored before it is used for the first time, so that whatever names it can be derived
    again from the database alone.
    """

    def __init__(
        self,
        store: RateCardStore,
        *,
        resolve: ResolveRateCard = genai_price_list.resolve,
        source: str | None = None,
    ) -> None:
        """Begins with an empty cache.

        Args:
            store: Keeps the cards that were used.
            resolve: The price list.
            source: What is noted as the origin of the cards. Default: the price list's version.
        """
        self._store = store
        self._resolve = resolve
        self._source = genai_price_list.source() if source is None else source
        self._cards: dict[tuple[str, int, PriceContext], RateCard] = {}
        self._resolving = asyncio.Lock()

    async def find(self, model: str, now_ms: int, context: PriceContext = ()) -> RateCard:
        """Returns the card by which a call of a model is priced at a time.

        Raises:
            UnknownModelError: The model has no price. Nothing is ever charged at a price of zero
                for want of a better one.
        """
        key = (model, now_ms // _DAY_MS, context)
        card = self._cards.get(key)
        if card is None:
            async with self._resolving:
                card = self._cards.get(key) or await self._add(key)
        return card

    async def _add(self, key: tuple[str, int, PriceContext]) -> RateCard:
        model, day, context = key
        if len(model.encode()) > MAX_MODEL_BYTES:
            msg = f"A model's name has at most {MAX_MODEL_BYTES} bytes."
            raise UnknownModelError(msg)
        day_ms = day * _DAY_MS
        on = datetime.fromtimestamp(day_ms // 1000, UTC).date()
        card = await asyncio.to_thread(self._resolve, model, on, context)
        await self._store.put_rate_card(card, self._source)
        # Whoever makes up names would fill the cache; to forget it all now and then is cheap.
        if len(self._cards) >= MAX_CACHED_CARDS:
            self._cards.clear()
        self._cards[key] = card
        return card

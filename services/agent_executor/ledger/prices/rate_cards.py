"""Which card prices a call: the organization's own before the one of the price list."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final, Literal, TypeAlias

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken
from agent_executor.ledger.prices import genai_price_list
from agent_executor.ledger.prices.card_checks import MODEL_BYTES_MAX
from agent_executor.ledger.prices.organization_card import (
    OrganizationCard,
    PriceKey,
    ToolFee,
    in_force,
)
from agent_executor.ledger.prices.organization_prices import CardsByKey, OrganizationPrices
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard, Rates, price_context
from agent_executor.ledger.prices.store import RateCardStore
from agent_executor.serving.metric_names import UNPRICED_MODELS
from agent_executor.serving.metrics import Metrics

ResolveRateCard: TypeAlias = Callable[[str, date, PriceContext], RateCard]
"""Finds a price. It may be slow, is called on a thread, and raises UnknownModelError."""

UnknownModelPolicy: TypeAlias = Literal["refuse", "record_at_zero"]
"""What becomes of a call of a model without a price."""

UNPRICED_PROVIDER: Final = "unpriced"
MAX_CACHED_CARDS: Final = 1_000
NO_FEE: Final = ("", NanoUsd(0))

_DAY_MS: Final = 86_400_000
_FREE: Final = Rates(*(PicoUsdPerToken(0),) * len(Rates.__struct_fields__))
_LOGGER: Final = logging.getLogger(__name__)


class RateCards:
    """Finds the price of a call, and keeps it for the next one.

    A card is stored before it is used for the first time, so that whatever names it can be derived
    again from the database alone; one of an organization is when it is made. The price list is
    asked once for a model, day and context.

    Args:
        store: Keeps the cards that were used.
        own: The prices that organizations have set.
        metrics: Told of a model without a price that is recorded at zero.
        unknown_model: What becomes of a model without a price.
        resolve: The price list.
        source: What is noted as the origin of the cards. Default: the price list's version.
    """

    def __init__(
        self,
        store: RateCardStore,
        own: OrganizationPrices,
        metrics: Metrics,
        *,
        unknown_model: UnknownModelPolicy = "refuse",
        resolve: ResolveRateCard = genai_price_list.resolve,
        source: str | None = None,
    ) -> None:
        self._store = store
        self._own = own
        self._metrics = metrics
        self._unknown_model = unknown_model
        self._resolve = resolve
        self._source = genai_price_list.source() if source is None else source
        self._listed: dict[tuple[str, int, PriceContext], RateCard] = {}
        self._alarmed: set[str] = set()
        self._resolving = asyncio.Lock()

    def cached(
        self,
        organization_id: str,
        model: str,
        at_ms: int,
        *,
        processing: str = "",
        speed: str = "",
    ) -> RateCard | None:
        """Returns what ``find`` does if it need not wait for that; None if it must."""
        cards = self._own.known(organization_id)
        if cards is None:
            return None
        context = price_context(processing, speed)
        own = _own_price(cards, ("model", model, context), at_ms)
        if own is None:
            return self._listed.get((model, at_ms // _DAY_MS, context))
        return own.rate_card

    async def find(
        self,
        organization_id: str,
        model: str,
        at_ms: int,
        *,
        processing: str = "",
        speed: str = "",
    ) -> RateCard:
        """Returns the card by which a call is priced.

        Args:
            organization_id: Whose call.
            model: As the caller names it. A card of the organization is for this very spelling.
            at_ms: When the call is made, in milliseconds since 1970-01-01 UTC.
            processing: ``batch`` or empty.
            speed: ``fast`` or empty.

        Raises:
            UnknownModelError: The model has no price then for this processing and speed, and such
                models are refused. Otherwise the card's provider is ``unpriced`` and its rates 0.
            UnavailableError: The storage failed.
        """
        card = self.cached(organization_id, model, at_ms, processing=processing, speed=speed)
        if card is not None:
            return card
        cards = await self._own.get(organization_id)
        context = price_context(processing, speed)
        own = _own_price(cards, ("model", model, context), at_ms)
        if own is not None and own.rate_card is not None:
            return own.rate_card
        key = (model, at_ms // _DAY_MS, context)
        async with self._resolving:
            return self._listed.get(key) or await self._add_listed(key)

    def cached_tool_fee(
        self, organization_id: str, tool_name: str, at_ms: int
    ) -> tuple[str, NanoUsd] | None:
        """Returns what ``tool_fee`` does if it need not wait for that; None if it must."""
        cards = self._own.known(organization_id)
        return None if cards is None else _tool_fee(cards, tool_name, at_ms)

    async def tool_fee(
        self, organization_id: str, tool_name: str, at_ms: int
    ) -> tuple[str, NanoUsd]:
        """Returns the id of the card by which a tool call is priced, and the fee.

        Returns:
            ``("", 0)`` if the organization has set no fee for that time.

        Raises:
            UnavailableError: The storage failed.
        """
        return _tool_fee(await self._own.get(organization_id), tool_name, at_ms)

    async def _add_listed(self, key: tuple[str, int, PriceContext]) -> RateCard:
        model, day, context = key
        # What is not printable may not be text at all, and databases differ in what they take.
        if not model.isprintable() or len(model.encode()) > MODEL_BYTES_MAX:
            msg = f"A model's name is printable and has at most {MODEL_BYTES_MAX} bytes."
            raise UnknownModelError(msg)
        on = datetime.fromtimestamp(day * _DAY_MS // 1000, UTC).date()
        source = self._source
        try:
            card = await asyncio.to_thread(self._resolve, model, on, context)
        except UnknownModelError as error:
            if self._unknown_model == "refuse":
                raise
            self._raise_alarm(model, error)
            card = RateCard.of(provider=UNPRICED_PROVIDER, model=model, base=_FREE, context=context)
            source = UNPRICED_PROVIDER
        await self._store.put_rate_card(card, source)
        # Whoever makes up names would fill the cache; to forget it all now and then is cheap.
        if len(self._listed) >= MAX_CACHED_CARDS:
            self._listed.clear()
        self._listed[key] = card
        return card

    def _raise_alarm(self, model: str, error: UnknownModelError) -> None:
        if model in self._alarmed:
            return
        if len(self._alarmed) >= MAX_CACHED_CARDS:
            self._alarmed.clear()
        self._alarmed.add(model)
        self._metrics.increment(UNPRICED_MODELS)
        _LOGGER.error("%s It is recorded at a price of zero.", error.message)


def _own_price(cards: CardsByKey, key: PriceKey, at_ms: int) -> OrganizationCard | None:
    own = cards.get(key)
    return None if own is None else in_force(own, at_ms)


def _tool_fee(cards: CardsByKey, tool_name: str, at_ms: int) -> tuple[str, NanoUsd]:
    own = _own_price(cards, ("tool", tool_name, ()), at_ms)
    if own is None or not isinstance(own.price, ToolFee):
        return NO_FEE
    return own.id, own.price.fee_nano_usd

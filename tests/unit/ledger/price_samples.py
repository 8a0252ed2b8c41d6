"""A price list with round prices, cards of an organization, and what finds them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import genai_prices

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken
from agent_executor.ledger.prices.card_administration import CardAdministration
from agent_executor.ledger.prices.organization_card import ModelPrice, OrganizationCard, ToolFee
from agent_executor.ledger.prices.organization_prices import OrganizationPrices
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard, Rates
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.prices.store_memory import MemoryOrganizationCardStore
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext

MODEL = "model-1"
TOOL = "search"
ADA = SecurityContext("acme", "ada", frozenset({"ledger:*"}))
EVE = SecurityContext("other", "eve", frozenset({"ledger:*"}))
READER = SecurityContext("acme", "bob", frozenset({"ledger:read"}))
NOBODY = SecurityContext("acme", "bob", frozenset())

# 2026-02-23 10:00 UTC.
NOW_MS = 1_771_840_800_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def rates(nano_usd_per_token: int) -> Rates:
    """Returns rates at which an input token costs so much; each class has its own multiple."""
    pico = 1_000 * nano_usd_per_token
    return Rates(*(PicoUsdPerToken(pico * factor) for factor in (1, 5, 1, 2, 3)))


def card(model: str = MODEL, nano_usd_per_token: int = 1) -> RateCard:
    """Returns a card on which an input token costs so much and an output token five times that."""
    return RateCard.of(provider="test", model=model, base=rates(nano_usd_per_token))


CARD = card()


def own_card(price: ModelPrice | ToolFee | None = None, **changes: Any) -> OrganizationCard:
    """Returns a card that an organization made at noon, without end unless it is said."""
    fields: dict[str, Any] = {
        "organization_id": "acme",
        "price": ModelPrice(MODEL, rates(7)) if price is None else price,
        "valid_from_ms": NOW_MS,
        "created_at_ms": NOW_MS,
        "created_by": "ada",
    }
    return OrganizationCard.of(**fields | changes)


def fee_card(nano_usd: int, **changes: Any) -> OrganizationCard:
    """Returns a card of a tool."""
    return own_card(ToolFee(TOOL, NanoUsd(nano_usd)), **changes)


class PriceList:
    """Prices that a test sets; it records what it was asked."""

    def __init__(self) -> None:
        self.cards = {MODEL: CARD}
        self.asked: list[tuple[str, date, PriceContext]] = []

    def resolve(self, model: str, day: date, context: PriceContext) -> RateCard:
        """Stands for ``genai_price_list.resolve``."""
        self.asked.append((model, day, context))
        if model not in self.cards:
            raise UnknownModelError(f"The model {model!r} has no price.")
        return self.cards[model]


class MemoryRateCardStore:
    """The part of ``AccountingStore`` that keeps cards."""

    def __init__(self) -> None:
        self.cards: dict[str, RateCard] = {}
        self.sources: dict[str, str] = {}

    async def put_rate_card(self, card: RateCard, source: str) -> None:
        """See ``AccountingStore``."""
        self.cards.setdefault(card.id, card)
        self.sources.setdefault(card.id, source)

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """See ``AccountingStore``."""
        return self.cards.get(rate_card_id)


class Clock:
    """A clock that a test sets; as seconds since 1970, and as seconds that never jump."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> float:
        return self.now_ms / 1000


class Pricing:
    """One process that prices calls, over stores that it may share with others."""

    def __init__(
        self,
        store: MemoryOrganizationCardStore | None = None,
        used_cards: MemoryRateCardStore | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        self.store = MemoryOrganizationCardStore() if store is None else store
        self.used_cards = MemoryRateCardStore() if used_cards is None else used_cards
        self.clock = Clock() if clock is None else clock
        self.prices = PriceList()
        self.metrics = Metrics()
        self.own = OrganizationPrices(self.store, monotonic=self.clock)
        defaults: dict[str, Any] = {"resolve": self.prices.resolve, "source": "test 1"}
        self.rate_cards = RateCards(self.used_cards, self.own, self.metrics, **defaults | options)
        self.administration = CardAdministration(
            self.store, self.used_cards, self.own, self.rate_cards, self.clock
        )

    async def find(self, model: str = MODEL, at_ms: int = NOW_MS, **options: str) -> RateCard:
        """Finds a card of the organization ``acme``."""
        return await self.rate_cards.find("acme", model, at_ms, **options)


def usd_by_genai_prices(
    provider: str, model: str, usage: TokenUsage, day: date, context: PriceContext = ()
) -> Decimal:
    """Returns what the price list itself computes, in US dollars."""
    written = usage.cache_creation_input_tokens_5m + usage.cache_creation_input_tokens_1h
    return genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens + usage.cache_read_input_tokens + written,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_input_tokens,
            cache_write_tokens=written,
            cache_write_1h_tokens=usage.cache_creation_input_tokens_1h,
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC),
        price_context=dict(context),
    ).total_price


def rounded(usd: Decimal) -> int:
    """Returns nano-dollars, rounded once."""
    return int((usd * 10**9).to_integral_value(ROUND_HALF_EVEN))

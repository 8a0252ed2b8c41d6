"""The ledger's use cases on a store in memory, with a price list of round prices."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.budget import Budget
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger
from agent_executor.ledger.accounting.store_memory import MemoryAccountingStore
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken
from agent_executor.ledger.prices.organization_card import OrganizationCard, ToolFee
from agent_executor.ledger.prices.organization_prices import OrganizationPrices
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard, Rates
from agent_executor.ledger.prices.rate_cards import RateCards
from agent_executor.ledger.prices.store_memory import MemoryOrganizationCardStore
from agent_executor.ledger.reports.store_memory import MemoryReportStore
from agent_executor.ledger.usage.recording import RecordUsage
from agent_executor.ledger.usage.rerating import RerateUsage
from agent_executor.ledger.usage.reserving import AmountRequest, ReserveRequest
from agent_executor.ledger.usage.rows import UsageRow
from agent_executor.ledger.usage.settling import SettleRequest
from agent_executor.ledger.usage.usage import Usage
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext

MODEL = "model-1"
DEARER_MODEL = "model-2"
TOOL = "search"
TOOL_FEE_NANO_USD = 30
ADA = SecurityContext("acme", "ada", frozenset({"ledger:*"}))
BOB = SecurityContext("acme", "bob", frozenset({"ledger:write"}))
EVE = SecurityContext("other", "ada", frozenset({"ledger:*"}))
READER = SecurityContext("acme", "ada", frozenset({"ledger:read", "ledger:admin"}))

# 2026-02-23 10:00 UTC.
NOW_MS = 1_771_840_800_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def card(model: str, nano_usd_per_token: int, context: PriceContext = ()) -> RateCard:
    """Returns a card on which an input token costs so much and an output token five times that."""
    rates = (PicoUsdPerToken(1_000 * nano_usd_per_token * factor) for factor in (1, 5, 1, 2, 3))
    return RateCard.of(provider="test", model=model, base=Rates(*rates), context=context)


class PriceList:
    """Prices that a test sets; batch costs half."""

    def __init__(self) -> None:
        self.nano_usd_per_token = {MODEL: 2, DEARER_MODEL: 20}

    def resolve(self, model: str, day: date, context: PriceContext) -> RateCard:
        """Stands for ``genai_price_list.resolve``."""
        del day
        if model not in self.nano_usd_per_token:
            raise UnknownModelError(f"The model {model!r} has no price.")
        rate = self.nano_usd_per_token[model]
        return card(model, rate // 2 if context else rate, context)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> float:
        return self.now_ms / 1000


class UsageLedger:
    """The use cases, and what a test looks at."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.prices = PriceList()
        self.books = MemoryLedger()
        self.store = MemoryAccountingStore(self.books)
        self.cards = MemoryOrganizationCardStore()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.reprice()

    def reprice(self) -> None:
        """Forgets the prices that were found, as a new day does."""
        rate_cards = RateCards(
            self.store,
            OrganizationPrices(self.cards, monotonic=self.clock),
            self.metrics,
            resolve=self.prices.resolve,
            source="test",
        )
        reports = MemoryReportStore(self.books)
        self.usage = Usage(self.store, rate_cards, self.clock, self.metrics)
        self.recording = RecordUsage(self.store, rate_cards, self.clock, self.metrics)
        self.rerating = RerateUsage(self.store, reports, rate_cards, self.clock, self.metrics)

    async def charge_for_tool(self) -> None:
        """Gives the tool its fee."""
        fee = OrganizationCard.of(
            organization_id="acme",
            price=ToolFee(TOOL, NanoUsd(TOOL_FEE_NANO_USD)),
            valid_from_ms=0,
            created_at_ms=NOW_MS,
            created_by="ada",
        )
        await self.cards.add(fee, cards_max=10)
        self.reprice()

    async def limit(self, nano_usd: int, budget_id: str = "all", **changes: Any) -> None:
        """Puts a budget of the whole organization."""
        budget = Budget(budget_id, "acme", NanoUsd(nano_usd))
        await self.store.put_budget(msgspec.structs.replace(budget, **changes), self.clock.now_ms)

    async def left(self, budget_id: str = "all") -> int:
        """Returns what a budget has left."""
        status = await self.store.get_budget("acme", budget_id, self.clock.now_ms)
        assert status is not None
        return status.left_nano_usd

    def cost(self) -> int:
        """Returns the sum of the organization's entries."""
        return sum(entry.cost_nano_usd for entry in self.books.organizations["acme"].entries)

    def count(self, name: str, **labels: str) -> float | None:
        """Returns a counter."""
        return self.registry.get_sample_value(f"agent_executor_{name}_total", labels)


def reserving(reservation_id: str = "call-1", **changes: Any) -> ReserveRequest:
    """Returns a request whose worst case is 100 x 2 + 20 x 10 = 400 nano-dollars."""
    request = ReserveRequest(reservation_id, "agent", "run", MODEL, 100, 20)
    return msgspec.structs.replace(request, **changes)


def holding(reservation_id: str = "run", **changes: Any) -> AmountRequest:
    """Returns a request for 1,000 nano-dollars."""
    request = AmountRequest(reservation_id, "agent", "run", NanoUsd(1_000))
    return msgspec.structs.replace(request, **changes)


def settling(entry_id: str = "call-1", **changes: Any) -> SettleRequest:
    """Returns the settlement of ``reserving``, which costs 50 x 2 + 10 x 10 = 200."""
    request = SettleRequest(
        entry_id, "agent", "run", MODEL, TokenUsage(50, 10), reservation_id=entry_id
    )
    return msgspec.structs.replace(request, **changes)


def row(entry_id: str = "row-1", **changes: Any) -> UsageRow:
    """Returns a model call that costs 50 x 2 + 10 x 10 = 200."""
    usage = TokenUsage(50, 10)
    return msgspec.structs.replace(UsageRow(entry_id, model=MODEL, usage=usage), **changes)

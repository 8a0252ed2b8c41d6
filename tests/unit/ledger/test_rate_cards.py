from __future__ import annotations

import asyncio
import threading
from datetime import date

import pytest

from agent_executor.errors import UnavailableError, UnknownModelError
from agent_executor.ledger.accounting.store_memory import MemoryLedgerStore
from agent_executor.ledger.prices import rate_cards
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard
from agent_executor.ledger.prices.rate_cards import MAX_MODEL_BYTES, RateCards
from tests.unit.ledger.samples import CARD, DAY_MS, MODEL, NOW_MS, PriceList, card


async def test_a_card_is_resolved_once_for_a_model_and_day() -> None:
    prices = PriceList()
    cards = RateCards(MemoryLedgerStore(), resolve=prices.resolve)
    for now_ms in (NOW_MS, NOW_MS + 1, NOW_MS + DAY_MS):
        assert await cards.find(MODEL, now_ms) == CARD
    assert prices.asked == [(MODEL, date(2026, 2, 23), ()), (MODEL, date(2026, 2, 24), ())]


async def test_concurrent_calls_resolve_once() -> None:
    prices = PriceList()
    cards = RateCards(MemoryLedgerStore(), resolve=prices.resolve)
    found = await asyncio.gather(*(cards.find(MODEL, NOW_MS) for _ in range(20)))
    assert found == [CARD] * 20
    assert len(prices.asked) == 1


async def test_each_context_has_a_card_of_its_own() -> None:
    prices = PriceList()
    cards = RateCards(MemoryLedgerStore(), resolve=prices.resolve)
    context = (("speed", "fast"),)
    await cards.find(MODEL, NOW_MS)
    await cards.find(MODEL, NOW_MS, context)
    assert [asked[2] for asked in prices.asked] == [(), context]


async def test_the_event_loop_goes_on_while_a_price_is_looked_up() -> None:
    looked_up = threading.Event()

    def resolve(model: str, day: date, context: PriceContext) -> RateCard:
        del model, day, context
        assert looked_up.wait(timeout=10)
        return CARD

    cards = RateCards(MemoryLedgerStore(), resolve=resolve)
    finding = asyncio.create_task(cards.find(MODEL, NOW_MS))
    await asyncio.sleep(0)
    looked_up.set()
    assert await finding == CARD


async def test_a_card_is_stored_before_it_is_used() -> None:
    store = MemoryLedgerStore()
    cards = RateCards(store, resolve=PriceList().resolve)
    found = await cards.find(MODEL, NOW_MS)
    assert await store.get_rate_card(found.id) == found


async def test_a_card_that_cannot_be_stored_is_not_used() -> None:
    class AwayStore(MemoryLedgerStore):
        async def put_rate_card(self, card: RateCard, source: str) -> None:
            raise UnavailableError("The database cannot be written to at the moment.")

    cards = RateCards(AwayStore(), resolve=PriceList().resolve)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await cards.find(MODEL, NOW_MS)


async def test_an_unknown_model_is_refused_each_time() -> None:
    prices = PriceList()
    cards = RateCards(MemoryLedgerStore(), resolve=prices.resolve)
    for _ in range(2):
        with pytest.raises(UnknownModelError):
            await cards.find("unknown", NOW_MS)
    # A price list that is brought up to date meanwhile is seen.
    prices.cards["unknown"] = card("unknown")
    assert await cards.find("unknown", NOW_MS) == card("unknown")


async def test_a_long_name_is_refused_unseen() -> None:
    prices = PriceList()
    cards = RateCards(MemoryLedgerStore(), resolve=prices.resolve)
    with pytest.raises(UnknownModelError):
        await cards.find("é" * (MAX_MODEL_BYTES // 2 + 1), NOW_MS)
    assert prices.asked == []


async def test_made_up_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_cards, "MAX_CACHED_CARDS", 3)
    cards = RateCards(MemoryLedgerStore(), resolve=lambda model, day, context: CARD)
    for number in range(10):
        await cards.find(f"claude-{number}", NOW_MS)
        assert len(cards._cards) <= 3


async def test_the_price_list_is_the_default() -> None:
    cards = RateCards(MemoryLedgerStore())
    found = await cards.find("claude-sonnet-4-20250514", NOW_MS)
    assert found.id.startswith("anthropic/claude-sonnet-4-0@")

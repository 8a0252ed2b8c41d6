from __future__ import annotations

import asyncio
import logging
import threading
from datetime import date

import pytest

from agent_executor.errors import UnavailableError, UnknownModelError
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices import genai_price_list, rate_cards
from agent_executor.ledger.prices.card_checks import MODEL_BYTES_MAX, NewCard
from agent_executor.ledger.prices.organization_card import ModelPrice
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard, price_context
from agent_executor.serving.metric_names import UNPRICED_MODELS
from tests.unit.ledger.price_samples import (
    ADA,
    CARD,
    DAY_MS,
    HOUR_MS,
    MODEL,
    NOW_MS,
    TOOL,
    MemoryRateCardStore,
    Pricing,
    card,
    fee_card,
    own_card,
    rates,
)


async def test_a_card_is_resolved_once_for_a_model_and_day() -> None:
    pricing = Pricing()
    for now_ms in (NOW_MS, NOW_MS + 1, NOW_MS + DAY_MS):
        assert await pricing.find(at_ms=now_ms) == CARD
    assert pricing.prices.asked == [(MODEL, date(2026, 2, 23), ()), (MODEL, date(2026, 2, 24), ())]


async def test_concurrent_calls_resolve_once() -> None:
    pricing = Pricing()
    found = await asyncio.gather(*(pricing.find() for _ in range(20)))
    assert found == [CARD] * 20
    assert len(pricing.prices.asked) == 1


async def test_each_context_has_a_card_of_its_own() -> None:
    pricing = Pricing()
    await pricing.find()
    await pricing.find(speed="fast")
    await pricing.find(processing="batch", speed="fast")
    assert [asked[2] for asked in pricing.prices.asked] == [
        (),
        (("speed", "fast"),),
        (("processing", "batch"), ("speed", "fast")),
    ]


async def test_the_event_loop_goes_on_while_a_price_is_looked_up() -> None:
    looked_up = threading.Event()

    def resolve(model: str, day: date, context: PriceContext) -> RateCard:
        del model, day, context
        assert looked_up.wait(timeout=60)
        return CARD

    pricing = Pricing(resolve=resolve)
    finding = asyncio.create_task(pricing.find())
    await asyncio.sleep(0)
    looked_up.set()
    assert await finding == CARD


async def test_a_card_is_stored_before_it_is_used() -> None:
    pricing = Pricing()
    found = await pricing.find()
    assert await pricing.used_cards.get_rate_card(found.id) == found
    assert pricing.used_cards.sources == {found.id: "test 1"}


async def test_a_card_that_cannot_be_stored_is_not_used() -> None:
    class AwayStore(MemoryRateCardStore):
        async def put_rate_card(self, card: RateCard, source: str) -> None:
            raise UnavailableError("The database cannot be written to at the moment.")

    pricing = Pricing(used_cards=AwayStore())
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await pricing.find()
    assert pricing.rate_cards.cached("acme", MODEL, NOW_MS) is None


async def test_an_unknown_model_is_refused_each_time() -> None:
    pricing = Pricing()
    for _ in range(2):
        with pytest.raises(UnknownModelError):
            await pricing.find("unknown")
    # A price list that is brought up to date meanwhile is seen.
    pricing.prices.cards["unknown"] = card("unknown")
    assert await pricing.find("unknown") == card("unknown")


async def test_an_unknown_model_is_recorded_at_zero_with_one_alarm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pricing = Pricing(unknown_model="record_at_zero")
    with caplog.at_level(logging.ERROR):
        for at_ms in (NOW_MS, NOW_MS + 1, NOW_MS + DAY_MS):
            await pricing.find("unknown", at_ms)
        found = await pricing.find("unknown")
    assert (found.provider, found.model) == ("unpriced", "unknown")
    assert found.cost(TokenUsage(10**6, 10**6, 10**6, 10**6, 10**6)) == 0
    assert found.worst_case(10**6, 10**6, writes_cache=True) == 0
    assert await pricing.used_cards.get_rate_card(found.id) == found
    assert [record.message for record in caplog.records] == [
        "The model 'unknown' has no price. It is recorded at a price of zero."
    ]
    counted = pricing.metrics.registry.get_sample_value(f"{UNPRICED_MODELS.name}_total")
    assert counted == 1
    # A known one costs what it costs.
    assert await pricing.find() == CARD


async def test_an_unpriced_batch_is_not_taken_for_the_standard_one() -> None:
    def resolve(model: str, day: date, context: PriceContext) -> RateCard:
        del day
        if context:
            raise UnknownModelError("It has no price for that.")
        return card(model)

    pricing = Pricing(unknown_model="record_at_zero", resolve=resolve)
    batch = await pricing.find(processing="batch")
    assert (batch.provider, batch.processing, batch.speed) == ("unpriced", "batch", "")
    with pytest.raises(UnknownModelError):
        await Pricing(resolve=resolve).find(processing="batch")


@pytest.mark.parametrize("model", ["é" * (MODEL_BYTES_MAX // 2 + 1), "a\x00b", "\ud800", "a\nb"])
@pytest.mark.parametrize("policy", ["refuse", "record_at_zero"])
async def test_what_is_no_name_is_refused_unseen(model: str, policy: str) -> None:
    pricing = Pricing(unknown_model=policy)
    with pytest.raises(UnknownModelError):
        await pricing.find(model)
    assert pricing.prices.asked == []
    assert pricing.used_cards.cards == {}


async def test_made_up_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_cards, "MAX_CACHED_CARDS", 3)
    pricing = Pricing(unknown_model="record_at_zero")
    for number in range(10):
        await pricing.find(f"claude-{number}")
        assert len(pricing.rate_cards._listed) <= 3
        assert len(pricing.rate_cards._alarmed) <= 3


async def test_the_price_list_is_the_default() -> None:
    pricing = Pricing(resolve=genai_price_list.resolve, source=None)
    found = await pricing.find("claude-sonnet-4-20250514")
    assert found.id.startswith("anthropic/claude-sonnet-4-0@")
    assert pricing.used_cards.sources[found.id].startswith("genai-prices ")


async def test_an_organizations_own_card_goes_before_the_price_list() -> None:
    pricing = Pricing()
    made = await pricing.administration.create(NewCard(model=MODEL, rates=rates(7)), ADA)
    found = await pricing.find()
    assert found == made.rate_card
    assert (found.id, found.base) == (made.id, rates(7))
    assert pricing.prices.asked == []
    # It was stored when it was made, with where it is from.
    assert await pricing.used_cards.get_rate_card(found.id) == found
    assert pricing.used_cards.sources[found.id] == "organization"
    # Before it holds, for another mode, and for others it does not.
    assert await pricing.find(at_ms=NOW_MS - 1) == CARD
    assert await pricing.find(speed="fast") == CARD
    assert await pricing.rate_cards.find("other", MODEL, NOW_MS) == CARD


async def test_a_local_model_needs_no_price_list() -> None:
    pricing = Pricing()
    with pytest.raises(UnknownModelError):
        await pricing.find("local/llama")
    await pricing.administration.create(NewCard(model="local/llama", rates=rates(0)), ADA)
    assert (await pricing.find("local/llama")).base == rates(0)
    with pytest.raises(UnknownModelError):
        await pricing.find("local/llama", processing="batch")


async def test_a_card_for_batch_is_for_batch_alone() -> None:
    pricing = Pricing()
    price = ModelPrice(MODEL, rates(3), context=price_context("batch", ""))
    await pricing.store.add(own_card(price), cards_max=10)
    assert (await pricing.find(processing="batch")).base == rates(3)
    assert await pricing.find() == CARD
    assert await pricing.find(processing="batch", speed="fast") == CARD


async def test_a_card_holds_to_the_millisecond() -> None:
    pricing = Pricing()
    await pricing.store.add(own_card(valid_until_ms=NOW_MS + HOUR_MS), cards_max=10)
    for offset, expected in ((-1, CARD.base), (0, rates(7)), (HOUR_MS - 1, rates(7))):
        assert (await pricing.find(at_ms=NOW_MS + offset)).base == expected
    assert await pricing.find(at_ms=NOW_MS + HOUR_MS) == CARD


async def test_a_withdrawn_card_prices_nothing_and_what_it_superseded_does_again() -> None:
    pricing = Pricing()
    first = await pricing.administration.create(NewCard(model=MODEL, rates=rates(2)), ADA)
    second = await pricing.administration.create(NewCard(model=MODEL, rates=rates(3)), ADA)
    assert (await pricing.find()).id == second.id
    await pricing.administration.withdraw(second.id, ADA)
    assert (await pricing.find()).id == first.id
    await pricing.administration.withdraw(first.id, ADA)
    assert await pricing.find() == CARD


async def test_a_tool_costs_its_fee_and_one_without_a_card_nothing() -> None:
    pricing = Pricing()
    assert await pricing.rate_cards.tool_fee("acme", TOOL, NOW_MS) == ("", 0)
    made = await pricing.administration.create(
        NewCard(tool_name=TOOL, fee_nano_usd=NanoUsd(2_500_000)), ADA
    )
    assert await pricing.rate_cards.tool_fee("acme", TOOL, NOW_MS) == (made.id, 2_500_000)
    assert await pricing.rate_cards.tool_fee("acme", TOOL, NOW_MS - 1) == ("", 0)
    assert await pricing.rate_cards.tool_fee("acme", "other", NOW_MS) == ("", 0)
    assert await pricing.rate_cards.tool_fee("other", TOOL, NOW_MS) == ("", 0)
    # A model of the tool's name is another thing.
    with pytest.raises(UnknownModelError):
        await pricing.find(TOOL)


async def test_a_known_price_is_found_without_waiting() -> None:
    pricing = Pricing()
    await pricing.store.add(fee_card(5), cards_max=10)
    assert pricing.rate_cards.cached("acme", MODEL, NOW_MS) is None
    assert pricing.rate_cards.cached_tool_fee("acme", TOOL, NOW_MS) is None
    await pricing.find()
    assert pricing.rate_cards.cached("acme", MODEL, NOW_MS) == CARD
    assert pricing.rate_cards.cached("acme", MODEL, NOW_MS, speed="fast") is None
    fee = pricing.rate_cards.cached_tool_fee("acme", TOOL, NOW_MS)
    assert fee == await pricing.rate_cards.tool_fee("acme", TOOL, NOW_MS)
    # What another process may have changed meanwhile is read again.
    pricing.clock.now_ms += 1_000
    assert pricing.rate_cards.cached("acme", MODEL, NOW_MS) is None
    assert pricing.rate_cards.cached_tool_fee("acme", TOOL, NOW_MS) is None


async def test_finding_a_known_price_does_not_give_way_to_other_tasks() -> None:
    pricing = Pricing()
    await pricing.find()
    finding = pricing.find()
    with pytest.raises(StopIteration) as ended:
        finding.send(None)
    assert ended.value.value == CARD

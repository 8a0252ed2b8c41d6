"""A card's alternatives are those that an organization would really be charged by."""

from __future__ import annotations

from datetime import date

import pytest

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.prices.genai_price_list import resolve
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard, price_context
from agent_executor.ledger.suggestions.card_prices import CardPrices, Listed, look_up
from agent_executor.ledger.suggestions.prices import DEFAULT_MIN_CACHEABLE_TOKENS
from tests.unit.ledger.suggestions.recorded_usage import (
    LARGE,
    LARGE_BATCH,
    NOW_MS,
    SMALL,
    card,
    rates,
)

TODAY = date(2026, 11, 27)
FREE = card("claude-free", rates(0))


class Cards:
    """The cards that were used."""

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """See ``AccountingStore``."""
        return {one.id: one for one in (LARGE, LARGE_BATCH, FREE)}.get(rate_card_id)


class Prices:
    """Prices by model and context."""

    def __init__(self, *cards: RateCard) -> None:
        self._cards = {(one.model, one.context): one for one in cards}
        self.asked: list[tuple[str, str, PriceContext]] = []

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
        context = price_context(processing, speed)
        self.asked.append((organization_id, model, context))
        if (model, context) not in self._cards:
            raise UnknownModelError("The model has no price.")
        return self._cards[model, context]


async def test_alternatives_are_priced_for_the_organization() -> None:
    prices = Prices(SMALL, LARGE_BATCH)
    asked: list[tuple[RateCard, date, int]] = []

    def listed(of: RateCard, day: date, max_input_tokens: int) -> Listed:
        asked.append((of, day, max_input_tokens))
        return Listed("claude-small", 1_024)

    options = await CardPrices(Cards(), prices, listed).options("acme", LARGE.id, 3_900, NOW_MS)
    assert options is not None
    assert (options.card, options.cheaper, options.batch) == (LARGE, SMALL, LARGE_BATCH)
    assert options.min_cacheable_tokens == 1_024
    assert asked == [(LARGE, date(2026, 2, 23), 3_900)]
    assert {organization for organization, _, _ in prices.asked} == {"acme"}


async def test_a_batch_price_has_no_further_one_and_its_alternatives_are_of_its_kind() -> None:
    prices = Prices(SMALL, LARGE_BATCH)
    card_prices = CardPrices(Cards(), prices, lambda *_: Listed("claude-small", None))
    options = await card_prices.options("acme", LARGE_BATCH.id, 1, NOW_MS)
    assert options is not None
    assert (options.cheaper, options.batch) == (None, None)
    assert options.min_cacheable_tokens == DEFAULT_MIN_CACHEABLE_TOKENS
    assert prices.asked == [("acme", "claude-small", LARGE_BATCH.context)]


@pytest.mark.parametrize("card_id", ["", "unknown"])
async def test_an_unknown_card_has_no_alternatives(card_id: str) -> None:
    card_prices = CardPrices(Cards(), Prices(), lambda *_: Listed("", None))
    assert await card_prices.options("acme", card_id, 1, NOW_MS) is None


async def test_a_model_without_a_price_is_no_free_one() -> None:
    prices = Prices(FREE)
    card_prices = CardPrices(Cards(), prices, lambda *_: Listed("claude-free", None))
    options = await card_prices.options("acme", LARGE.id, 1, NOW_MS)
    assert options is not None
    assert options.cheaper is None


@pytest.mark.parametrize(
    ("model", "cheaper"),
    [
        ("claude-opus-5", "claude-sonnet-4-6"),
        ("claude-sonnet-5-5", "claude-haiku-4-5"),
        ("claude-haiku-5-5", ""),
    ],
)
def test_the_price_list_names_the_next_model_that_is_cheaper_by_enough(
    model: str, cheaper: str
) -> None:
    assert look_up(resolve(model, TODAY), TODAY, 1_000).cheaper_model == cheaper


def test_a_model_that_takes_less_input_is_not_named() -> None:
    sonnet = resolve("claude-sonnet-5-5", TODAY)
    assert look_up(sonnet, TODAY, 200_001).cheaper_model == "claude-haiku-5-5"


def test_an_own_card_is_compared_by_its_model_s_name() -> None:
    own = RateCard.of(provider="organization", model="claude-opus-5", base=rates(1))
    assert look_up(own, TODAY, 1_000).cheaper_model == "claude-sonnet-4-6"
    unheard_of = RateCard.of(provider="organization", model="our-llama", base=rates(1))
    assert look_up(unheard_of, TODAY, 1_000) == Listed("", None)

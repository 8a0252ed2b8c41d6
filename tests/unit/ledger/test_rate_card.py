from __future__ import annotations

import pytest

from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import PicoUsdPerToken
from agent_executor.ledger.prices.rate_card import RateCard, Rates, Tier
from tests.unit.ledger.price_samples import rates


def tiered(*nano_usd: int) -> RateCard:
    """Returns a card whose tiers begin above 100, 200 ... input tokens."""
    base, *tiers = nano_usd
    return RateCard.of(
        provider="test",
        model="model",
        base=rates(base),
        tiers=tuple(Tier(100 * n, rates(price)) for n, price in enumerate(tiers, start=1)),
    )


def test_each_class_has_its_own_rate() -> None:
    card = RateCard.of(
        provider="test",
        model="model",
        base=Rates(*(PicoUsdPerToken(1_000 * 10**n) for n in range(5))),
    )
    assert card.cost(TokenUsage(1, 2, 3, 4, 5)) == 54_321


def test_a_cost_is_rounded_once_and_not_per_class() -> None:
    card = RateCard.of(
        provider="test",
        model="model",
        base=Rates(*(PicoUsdPerToken(pico) for pico in (300, 300, 0, 0, 0))),
    )
    # 300 + 300 pico-dollars are one nano-dollar; rounded apart they would be none.
    assert card.cost(TokenUsage(1, 1)) == 1


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (TokenUsage(100, 1), 100 + 5),
        (TokenUsage(101, 1), 1_010 + 50),
        # Cached input counts towards the tier, as it does for genai-prices.
        (TokenUsage(1, 1, 100), 1_010 + 50),
        (TokenUsage(1, 1, 99), 100 + 5),
        (TokenUsage(201, 0), 20_100),
    ],
)
def test_a_tier_is_a_cliff_for_all_tokens_of_the_call(usage: TokenUsage, cost: int) -> None:
    assert tiered(1, 10, 100).cost(usage) == cost


@pytest.mark.parametrize(
    ("max_input_tokens", "worst"), [(0, 5), (100, 105), (101, 1_060), (200, 2_050), (201, 20_600)]
)
def test_the_worst_case_is_in_the_tier_that_the_bound_falls_in(
    max_input_tokens: int, worst: int
) -> None:
    assert tiered(1, 10, 100).worst_case(max_input_tokens, 1, writes_cache=False) == worst


def test_the_worst_case_covers_a_cheaper_tier_above() -> None:
    # 110 tokens may turn out to be 100, which cost ten times as much each.
    assert tiered(10, 1).worst_case(110, 1, writes_cache=False) == 1_050


def test_the_worst_case_is_that_all_input_is_written_to_the_cache_if_it_may_be() -> None:
    assert tiered(1).worst_case(100, 0, writes_cache=False) == 100
    assert tiered(1).worst_case(100, 0, writes_cache=True) == 300


def test_the_worst_case_covers_reads_that_cost_more_than_plain_input() -> None:
    card = RateCard.of(
        provider="test",
        model="model",
        base=Rates(*(PicoUsdPerToken(1_000 * nano) for nano in (1, 1, 7, 9, 9))),
    )
    assert card.worst_case(10, 0, writes_cache=False) == 70


def test_an_id_is_made_of_the_content() -> None:
    assert tiered(1, 2).id == tiered(1, 2).id
    different = {
        tiered(1).id,
        tiered(2).id,
        tiered(1, 2).id,
        RateCard.of(provider="test", model="other", base=rates(1)).id,
        RateCard.of(provider="other", model="model", base=rates(1)).id,
        RateCard.of(provider="test", model="model", base=rates(1), context=(("speed", "fast"),)).id,
    }
    assert len(different) == 6
    assert tiered(1).id.startswith("test/model@")

from __future__ import annotations

from datetime import date

import pytest

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices.alternatives import (
    cacheable_prefix_tokens,
    cheaper_models,
    models_of,
)
from agent_executor.ledger.prices.genai_price_list import resolve
from agent_executor.ledger.prices.rate_card import RateCard, price_context
from tests.unit.ledger.price_samples import rates

TODAY = date(2026, 11, 23)
USAGE = TokenUsage(10_000, 1_000)
BATCH = price_context("batch", "")


def names(*args: object, **options: object) -> list[str]:
    """Returns the names of cheaper models."""
    found = cheaper_models(*args, **options)  # type: ignore[arg-type]  # as the caller gives them
    return [one.card.model for one in found]


def test_a_providers_models_are_listed_with_their_cards() -> None:
    models = {one.card.model: one for one in models_of("anthropic", TODAY)}
    assert list(models) == sorted(models)
    assert models["claude-opus-5"].card == resolve("claude-opus-5", TODAY)
    assert models["claude-opus-5"].context_window_tokens == 1_000_000
    assert models["claude-v1"].context_window_tokens is None
    assert models_of("nobody", TODAY) == ()


def test_prices_are_those_of_the_day_and_the_mode() -> None:
    (old,) = (
        one for one in models_of("anthropic", date(2026, 3, 12)) if "opus-4-6" in one.card.model
    )
    assert old.card == resolve("claude-opus-4-6", date(2026, 3, 12))
    batch = models_of("anthropic", TODAY, BATCH)
    assert {one.card.processing for one in batch} == {"batch"}
    assert "claude-opus-4-0" not in {one.card.model for one in batch}


def test_cheaper_models_come_dearest_first_and_all_cost_less() -> None:
    found = cheaper_models("claude-opus-5-5", TODAY, USAGE)
    costs = [one.card.cost(USAGE) for one in found]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] < resolve("claude-opus-5-5", TODAY).cost(USAGE)
    assert {one.card.provider for one in found} == {"anthropic"}
    assert names("claude-haiku-5-5", TODAY, USAGE) == []


def test_a_model_that_is_no_longer_sold_is_not_offered() -> None:
    found = names("claude-opus-5", TODAY, USAGE)
    assert "claude-sonnet-5-5" in found
    assert not {"claude-sonnet-4-0", "claude-3-haiku", "claude-2"} & set(found)


def test_a_model_that_only_some_can_buy_is_not_offered() -> None:
    found = names("claude-fable-5", TODAY, USAGE)
    assert "claude-fable-5-2" in found
    assert "claude-mythos-5-2" not in found


def test_a_model_whose_context_is_too_small_is_not_offered() -> None:
    assert "claude-haiku-4-5" in names("claude-opus-5", TODAY, USAGE)
    large = names("claude-opus-5", TODAY, USAGE, max_input_tokens=200_001)
    assert "claude-haiku-4-5" not in large
    assert "claude-haiku-5-5" in large


def test_what_is_cheaper_depends_on_the_usage() -> None:
    # The cheapest has a cliff at 100,000 tokens; a read costs others less than a tenth.
    short, cached = TokenUsage(1_000, 1_000), TokenUsage(1, 1, 1_000_000)
    assert "claude-fable-5-1" not in names("claude-opus-4-5", TODAY, short)
    assert "claude-fable-5-1" in names("claude-opus-4-5", TODAY, cached)


def test_another_mode_is_compared_with_the_same_mode() -> None:
    for one in cheaper_models("claude-opus-5", TODAY, USAGE, context=BATCH):
        assert one.card.processing == "batch"


def test_a_model_without_a_price_has_no_cheaper_ones() -> None:
    with pytest.raises(UnknownModelError):
        cheaper_models("unknown", TODAY, USAGE)


def test_the_least_that_a_cache_takes_is_known_or_said_not_to_be() -> None:
    assert cacheable_prefix_tokens(resolve("claude-haiku-4-5", TODAY)) == 4_096
    assert cacheable_prefix_tokens(resolve("claude-sonnet-4-20250514", TODAY)) == 1_024
    assert cacheable_prefix_tokens(resolve("gpt-5", TODAY)) is None
    own = RateCard.of(provider="organization", model="claude-haiku-4-5", base=rates(1))
    assert cacheable_prefix_tokens(own) is None

"""Mistakes of other cost trackers, each with a test that fails if it is made here."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import genai_prices
import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting.token_usage import MAX_TOKENS, TokenUsage
from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken, from_usd, to_usd
from agent_executor.ledger.prices.genai_price_list import resolve
from agent_executor.ledger.prices.rate_card import RateCard, Rates
from tests.unit.ledger.price_samples import usd_by_genai_prices

TODAY = date(2026, 11, 23)
# $3 for input, $15 for output, $0.30 for reads, $3.75 and $6 for writes, for a million tokens.
SONNET = resolve("claude-sonnet-4-20250514", TODAY)
USD = 1_000_000_000


def with_rates(*pico_usd_per_token: int) -> RateCard:
    """Returns a card with these rates."""
    return RateCard.of(
        provider="test", model="m", base=Rates(*map(PicoUsdPerToken, pico_usd_per_token))
    )


def test_a_1_hour_write_at_the_5_minute_rate() -> None:
    # 37.5 % too low.
    assert SONNET.cost(TokenUsage(cache_creation_input_tokens_1h=1_000_000)) == 6 * USD
    assert SONNET.cost(TokenUsage(cache_creation_input_tokens_5m=1_000_000)) == 3_750_000_000


def test_a_5_minute_write_at_the_1_hour_rate_when_both_are_in_one_call() -> None:
    both = TokenUsage(
        cache_creation_input_tokens_5m=600_000, cache_creation_input_tokens_1h=400_000
    )
    assert SONNET.cost(both) == 600_000 * 3_750 + 400_000 * 6_000


def test_a_1_hour_write_counted_in_the_total_of_writes_and_again_by_itself() -> None:
    usage = TokenUsage(cache_creation_input_tokens_5m=3, cache_creation_input_tokens_1h=5)
    assert usage.total_input_tokens == 8
    assert usage.tokens_used == 8


def test_cached_tokens_counted_as_input_and_again_as_cached() -> None:
    # Anthropic: 1,000 uncached beside 10,000 read. Inclusive arithmetic on top would give $0.036.
    usage = TokenUsage(input_tokens=1_000, cache_read_input_tokens=10_000)
    assert SONNET.cost(usage) == 1_000 * 3_000 + 10_000 * 300


def test_cached_tokens_subtracted_from_input_that_never_held_them() -> None:
    usage = TokenUsage(input_tokens=10_000, cache_read_input_tokens=1_000)
    assert SONNET.cost(usage) == 10_000 * 3_000 + 1_000 * 300


def test_a_negative_remainder_clamped_to_zero() -> None:
    # More is read than is new: exclusive counts less their cached part would be negative, and
    # clamped the 7 new tokens would cost nothing.
    usage = TokenUsage(input_tokens=7, cache_read_input_tokens=1_000_000)
    assert SONNET.cost(usage) == 7 * 3_000 + 1_000_000 * 300
    with pytest.raises(InvalidArgumentError):
        TokenUsage(input_tokens=-993)


def test_exclusive_input_given_to_genai_prices_is_an_error_there_and_not_a_price() -> None:
    exclusive = genai_prices.Usage(input_tokens=7, cache_read_tokens=1_000_000)
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    with pytest.raises(ValueError, match="cache"):
        genai_prices.calc_price(
            exclusive,
            "claude-sonnet-4-0",
            provider_id="anthropic",
            genai_request_timestamp=moment,
        )
    usage = TokenUsage(input_tokens=7, cache_read_input_tokens=1_000_000)
    usd = usd_by_genai_prices("anthropic", "claude-sonnet-4-0", usage, TODAY)
    assert SONNET.cost(usage) == usd * USD


def test_a_long_prompt_left_in_the_lower_tier_because_it_was_cached() -> None:
    card = resolve("claude-haiku-5-5", TODAY)
    cached = TokenUsage(input_tokens=1, cache_read_input_tokens=100_000)
    # A read is 0.01 and 0.05 dollars for a million tokens, and input 0.1 and 0.5.
    assert card.cost(cached) == 500 + 100_000 * 50


def test_a_tier_applied_to_the_tokens_above_it_alone() -> None:
    card = resolve("claude-haiku-5-5", TODAY)
    assert card.cost(TokenUsage(100_000, 10)) == 100_000 * 100 + 10 * 500
    assert card.cost(TokenUsage(100_001, 10)) == 100_001 * 500 + 10 * 2_500


def test_a_long_context_tier_missing_from_the_worst_case() -> None:
    card = resolve("claude-sonnet-4-5", TODAY)
    worst = card.worst_case(300_000, 10, writes_cache=False)
    assert worst == 300_000 * 6_000 + 10 * 22_500


def test_a_cache_write_missing_from_the_worst_case() -> None:
    usage = TokenUsage(cache_creation_input_tokens_1h=1_000)
    assert SONNET.worst_case(1_000, 0, writes_cache=True) == SONNET.cost(usage)


def test_a_price_rounded_to_zero() -> None:
    # One cached token of the cheapest model: a millionth of a cent.
    card = resolve("claude-haiku-5-5", TODAY)
    assert card.cost(TokenUsage(cache_read_input_tokens=1)) == 10
    assert to_usd(card.cost(TokenUsage(cache_read_input_tokens=1))) == 1e-8


def test_a_rate_rounded_to_the_nano_dollar_before_it_is_multiplied() -> None:
    # 0.4 nano-dollars per token: as 0 a million tokens would be free, as 1 they would be 2.5 times.
    card = with_rates(400, 400, 400, 400, 400)
    assert card.cost(TokenUsage(1_000_000)) == 400_000


def test_each_class_rounded_by_itself() -> None:
    card = with_rates(400, 400, 400, 400, 400)
    assert card.cost(TokenUsage(1, 1, 1, 1, 1)) == 2


def test_halves_always_rounded_up() -> None:
    card = with_rates(500, 0, 0, 0, 0)
    assert [card.cost(TokenUsage(tokens)) for tokens in (1, 3, 5, 7)] == [0, 2, 2, 4]


def test_a_cost_with_sixteen_decimals() -> None:
    # 0.0016150000000000001 by floats.
    cost = with_rates(2_500_000, 10_000_000, 0, 0, 0).cost(TokenUsage(598, 12))
    assert cost == 1_615_000
    assert json.dumps(to_usd(cost)) == "0.001615"


def test_a_sum_of_floats() -> None:
    cost = SONNET.cost(TokenUsage(33, 1))
    assert to_usd(cost) == 0.000114
    in_floats = sum(to_usd(cost) for _ in range(1_000))
    in_nano_dollars = NanoUsd(sum(cost for _ in range(1_000)))
    assert in_nano_dollars == 114_000_000
    assert in_floats != to_usd(in_nano_dollars) == 0.114


def test_a_view_that_disagrees_with_the_ledger_because_it_rounds_again() -> None:
    card = with_rates(400, 0, 0, 0, 0)
    costs = [card.cost(TokenUsage(1)) for _ in range(10)]
    # Each entry is rounded once, and a sum is that of the entries: 0, and not 4.
    assert sum(costs) == 0
    assert from_usd(to_usd(NanoUsd(sum(costs)))) == 0


def test_a_fraction_of_a_micro_dollar_refused_by_an_integer_column() -> None:
    # 0.02 micro-dollars: no fraction is left, after the call was paid, for a column to refuse.
    cost = with_rates(20_000, 0, 0, 0, 0).cost(TokenUsage(1))
    assert cost == 20
    assert type(cost) is int


def test_a_zero_that_was_reported_replaced_by_an_estimate() -> None:
    assert SONNET.cost(TokenUsage()) == 0


def test_a_usage_keyword_that_is_not_known_costs_nothing() -> None:
    # genai-prices only warns, and answers $0.
    with pytest.warns(UserWarning, match="cached_tokens"):
        usage = genai_prices.Usage(cached_tokens=1_000_000)
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    priced = genai_prices.calc_price(
        usage, "claude-sonnet-4-0", provider_id="anthropic", genai_request_timestamp=moment
    )
    assert priced.total_price == Decimal(0)
    with pytest.raises(TypeError):
        TokenUsage(cached_tokens=1_000_000)  # type: ignore[call-arg]  # the mistake itself


@pytest.mark.parametrize("count", [True, 1.0, -1, MAX_TOKENS + 1, "7"])
def test_a_count_that_is_none_becomes_a_cost(count: object) -> None:
    with pytest.raises(InvalidArgumentError):
        TokenUsage(output_tokens=count)  # type: ignore[arg-type]  # the mistake itself


def test_a_cost_that_no_database_can_add_up() -> None:
    million_dollars = 10**12
    card = with_rates(*(million_dollars,) * 5)
    assert card.cost(TokenUsage(9_000_000)) == 9_000_000 * USD
    with pytest.raises(InvalidArgumentError, match="9,000,000"):
        card.cost(TokenUsage(9_000_000, 1))
    with pytest.raises(InvalidArgumentError, match="9,000,000"):
        card.worst_case(MAX_TOKENS, MAX_TOKENS, writes_cache=True)
    # With prices that exist, there is no such call.
    dearest = resolve("claude-opus-4-0", TODAY)
    assert dearest.worst_case(MAX_TOKENS, MAX_TOKENS, writes_cache=True) < 9_000_000 * USD

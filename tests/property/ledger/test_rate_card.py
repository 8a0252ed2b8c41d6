from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.ledger.accounting.token_usage import MAX_TOKENS, TokenUsage
from agent_executor.ledger.money import PicoUsdPerToken
from agent_executor.ledger.prices.rate_card import RateCard, Rates, Tier

rates = st.builds(
    Rates, *[st.integers(0, 100_000_000).map(PicoUsdPerToken) for _ in Rates.__struct_fields__]
)
tiers = st.lists(
    st.tuples(st.integers(0, 3_000), rates), max_size=3, unique_by=lambda tier: tier[0]
).map(lambda tiers: tuple(Tier(*tier) for tier in sorted(tiers, key=lambda tier: tier[0])))
cards = st.builds(
    lambda base, tiers: RateCard.of(provider="p", model="m", base=base, tiers=tiers), rates, tiers
)
counts = st.integers(0, 1_500) | st.integers(0, MAX_TOKENS)
usages = st.builds(TokenUsage, counts, counts, counts, counts, counts)


@given(cards, usages)
def test_a_cost_is_the_sum_of_its_classes_rounded_once(card: RateCard, usage: TokenUsage) -> None:
    at = card.rates_for(usage.total_input_tokens)
    terms = (
        Decimal(getattr(usage, count)) * Decimal(getattr(at, rate))
        for count, rate in (
            ("input_tokens", "input"),
            ("output_tokens", "output"),
            ("cache_read_input_tokens", "cache_read"),
            ("cache_creation_input_tokens_5m", "cache_write_5m"),
            ("cache_creation_input_tokens_1h", "cache_write_1h"),
        )
    )
    pico = sum(terms, start=Decimal(0))
    assert card.cost(usage) == int((pico / 1_000).to_integral_value(ROUND_HALF_EVEN))


@given(cards, usages, st.integers(0, 2_000), st.integers(0, 2_000))
def test_the_worst_case_covers_every_call_within_its_bounds(
    card: RateCard, usage: TokenUsage, more_input: int, more_output: int
) -> None:
    writes_cache = bool(usage.cache_creation_input_tokens_5m + usage.cache_creation_input_tokens_1h)
    worst = card.worst_case(
        usage.total_input_tokens + more_input,
        usage.output_tokens + more_output,
        writes_cache=writes_cache,
    )
    assert card.cost(usage) <= worst


@given(cards, st.integers(0, 4_000), st.integers(0, 4_000))
def test_the_worst_case_is_reached_by_some_call(
    card: RateCard, max_input: int, max_output: int
) -> None:
    worst = card.worst_case(max_input, max_output, writes_cache=True)
    inputs = {max_input, *(t.above_input_tokens for t in card.tiers)} & set(range(max_input + 1))
    calls = (
        TokenUsage(**{"output_tokens": max_output, **dict.fromkeys([kind], count)})
        for count in inputs
        for kind in TokenUsage.__struct_fields__
        if kind != "output_tokens"
    )
    # A hold is rounded up and a cost to the nearest, so they are one nano-dollar apart at most.
    assert worst - max(card.cost(call) for call in calls) in (0, 1)


@given(cards)
def test_an_id_is_its_content(card: RateCard) -> None:
    again = RateCard.of(provider=card.provider, model=card.model, base=card.base, tiers=card.tiers)
    assert again == card


@given(cards, counts, st.integers(0, 5_000), st.integers(0, 10**9), st.booleans())
def test_the_output_that_fits_is_the_most_that_does(
    card: RateCard, max_input: int, max_output: int, amount: int, writes_cache: bool
) -> None:
    def worst(output: int) -> int:
        return card.worst_case(max_input, output, writes_cache=writes_cache)

    # Amounts around what can be afforded, since most others fit all or nothing.
    for tried in (amount, worst(max_output) - 1, worst(max_output // 2), worst(0), worst(0) - 1):
        fitting = card.output_that_fits(max_input, max_output, tried, writes_cache=writes_cache)
        if fitting is None:
            assert worst(0) > tried
        else:
            assert 0 <= fitting <= max_output
            assert worst(fitting) <= tried
            assert fitting == max_output or worst(fitting + 1) > tried

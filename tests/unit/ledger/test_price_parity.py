"""Every cost equals genai-prices' own Decimal arithmetic, rounded once to the nano-dollar.

The other side of each comparison is ``genai_prices.calc_price`` with all input counted as input,
which is what that package means by it; nothing of ours but the usage goes into it.
"""

from __future__ import annotations

from datetime import date

import pytest

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import round_to_nano_usd
from agent_executor.ledger.prices.genai_price_list import card_of, load, resolve
from agent_executor.ledger.prices.rate_card import PriceContext
from tests.unit.ledger.price_samples import rounded, usd_by_genai_prices

STANDARD: PriceContext = ()
BATCH: PriceContext = (("processing", "batch"),)
FAST: PriceContext = (("speed", "fast"),)
TODAY = date(2026, 11, 23)

# Input, output, read from the cache, written for 5 minutes, written for 1 hour.
Counts = tuple[int, int, int, int, int]

# For models that are not in the table: each class alone and all together, on either side of the
# cliffs that the list has.
USAGES = (
    TokenUsage(),
    TokenUsage(1, 1),
    TokenUsage(123, 456),
    TokenUsage(1_000, 500, 20_000, 3_000, 0),
    TokenUsage(7, 11, 13, 17, 19),
    TokenUsage(0, 1, 0, 0, 999),
    TokenUsage(100_000, 3),
    TokenUsage(100_001, 3),
    TokenUsage(1, 3, 99_999, 1, 0),
    TokenUsage(200_000, 1),
    TokenUsage(150_000, 1, 50_000, 1, 0),
    TokenUsage(999_999, 64_000, 1, 2, 3),
)

# Provider, model as it is asked for, usage, date, context.
CASES: tuple[tuple[str, str, Counts, date, PriceContext], ...] = (
    # Models of the documentation, in their usual spellings.
    ("anthropic", "claude-sonnet-4-20250514", (1_000, 500, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-sonnet-4-20250514", (1, 1, 1, 1, 1), TODAY, STANDARD),
    ("anthropic", "claude-opus-4-20250514", (123_456, 7_890, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-3-5-haiku-20241022", (7, 11, 13, 17, 19), TODAY, STANDARD),
    ("anthropic", "claude-haiku-4-5-20251001", (999, 1, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-3-opus-latest", (3, 4_096, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-fable-5", (50_000, 9_999, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-mythos-5-2", (1_234, 5_678, 90, 0, 0), TODAY, STANDARD),
    # Nothing at all, and single tokens.
    ("anthropic", "claude-haiku-5-5", (0, 0, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-haiku-5-5", (1, 0, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-haiku-5-5", (0, 0, 1, 0, 0), TODAY, STANDARD),
    # Cache reads at a tenth, a twentieth and a fortieth of the input price.
    ("anthropic", "claude-opus-5", (10, 20, 100_003, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-opus-5-5", (10, 20, 100_003, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-fable-5-1", (10, 20, 100_003, 0, 0), TODAY, STANDARD),
    # Cache writes for 5 minutes, for 1 hour, and both in one call.
    ("anthropic", "claude-sonnet-4-0", (0, 0, 0, 1_000, 0), TODAY, STANDARD),
    ("anthropic", "claude-sonnet-4-0", (0, 0, 0, 0, 1_000), TODAY, STANDARD),
    ("anthropic", "claude-sonnet-4-0", (0, 0, 0, 600, 400), TODAY, STANDARD),
    ("anthropic", "claude-sonnet-5-5", (17, 301, 20_011, 3_001, 4_003), TODAY, STANDARD),
    # Both sides of a cliff, reached by plain input, by cached input, and by both.
    ("anthropic", "claude-sonnet-4-5", (200_000, 100, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-sonnet-4-5", (200_001, 100, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-sonnet-4-5", (1, 100, 199_999, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-sonnet-4-5", (1, 100, 200_000, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-sonnet-4-5", (1, 100, 100_000, 50_000, 50_000), TODAY, STANDARD),
    ("anthropic", "claude-haiku-5-5", (100_000, 64_000, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-haiku-5-5", (100_001, 64_000, 0, 0, 0), TODAY, STANDARD),
    ("anthropic", "claude-haiku-5-5", (0, 64_000, 0, 0, 100_001), TODAY, STANDARD),
    # The day before a price changed, and the day it did; long before there was one.
    ("anthropic", "claude-opus-4-6", (300_000, 1_500, 0, 0, 0), date(2026, 3, 12), STANDARD),
    ("anthropic", "claude-opus-4-6", (300_000, 1_500, 0, 0, 0), date(2026, 3, 13), STANDARD),
    ("anthropic", "claude-sonnet-4-6", (200_001, 9, 8, 7, 6), date(2026, 3, 12), STANDARD),
    ("anthropic", "claude-sonnet-4-6", (200_001, 9, 8, 7, 6), date(2026, 3, 13), STANDARD),
    ("anthropic", "claude-opus-5", (1_000, 1_000, 0, 0, 0), date(1999, 12, 31), STANDARD),
    # Batch, from the day on which the list has it, and past a cliff.
    ("anthropic", "claude-opus-5", (1_001, 503, 0, 0, 0), date(2026, 10, 14), BATCH),
    ("anthropic", "claude-opus-5", (1_001, 503, 77, 78, 79), TODAY, BATCH),
    ("anthropic", "claude-haiku-5-5", (100_001, 64_001, 0, 0, 0), TODAY, BATCH),
    ("anthropic", "claude-haiku-4-5", (31, 37, 41, 43, 47), TODAY, BATCH),
    ("anthropic", "claude-fable-5-2", (31, 37, 41, 43, 47), TODAY, BATCH),
    # Fast.
    ("anthropic", "claude-opus-4-8", (1_001, 503, 0, 0, 0), TODAY, FAST),
    ("anthropic", "claude-opus-5-5", (31, 37, 41, 43, 47), TODAY, FAST),
    ("anthropic", "claude-fable-5-2", (900_000, 37, 41, 43, 47), TODAY, FAST),
    # Other providers, whose prices have finer grains, their own tiers and no cache writes.
    ("openai", "gpt-5", (1_000, 2_000, 30_000, 0, 0), TODAY, STANDARD),
    ("openai", "gpt-4o-mini", (1, 1, 1, 0, 0), TODAY, STANDARD),
    ("openai", "gpt-5", (1_000, 2_000, 30_000, 0, 0), TODAY, BATCH),
    ("openai", "o3", (33, 44, 55, 0, 0), TODAY, STANDARD),
    ("google", "gemini-2.5-pro", (200_000, 7, 0, 0, 0), TODAY, STANDARD),
    ("google", "gemini-2.5-pro", (200_001, 7, 0, 0, 0), TODAY, STANDARD),
    ("google", "gemini-2.5-flash", (12_345, 678, 90, 0, 0), TODAY, STANDARD),
    ("mistral", "mistral-large-latest", (12_345, 678, 0, 0, 0), TODAY, STANDARD),
    ("x-ai", "grok-4", (12_345, 678, 0, 0, 0), TODAY, STANDARD),
)


def test_there_are_enough_cases() -> None:
    assert len(set(CASES)) == len(CASES) >= 40
    assert {case[4] for case in CASES} == {STANDARD, BATCH, FAST}


@pytest.mark.parametrize(("provider", "model", "counts", "day", "context"), CASES)
def test_a_cost_equals_that_of_genai_prices(
    provider: str, model: str, counts: Counts, day: date, context: PriceContext
) -> None:
    usage = TokenUsage(*counts)
    expected = rounded(usd_by_genai_prices(provider, model, usage, day, context))
    assert resolve(model, day, context).cost(usage) == expected
    assert resolve(f"{provider}/{model}", day, context).cost(usage) == expected
    assert (expected > 0) == any(counts)


def test_before_it_is_rounded_it_is_the_same_to_the_pico_dollar() -> None:
    for provider, model, counts, day, context in CASES:
        usage = TokenUsage(*counts)
        card = resolve(model, day, context)
        pico = card.rates_for(usage.total_input_tokens).cost(usage)
        assert pico == usd_by_genai_prices(provider, model, usage, day, context) * 10**12
        assert card.cost(usage) == round_to_nano_usd(pico)


@pytest.mark.parametrize("provider_id", ["anthropic", "openai", "google", "aws", "mistral", "groq"])
@pytest.mark.parametrize("context", [STANDARD, BATCH, FAST], ids=["standard", "batch", "fast"])
def test_each_model_that_has_a_card_costs_the_same(provider_id: str, context: PriceContext) -> None:
    (provider,) = (one for one in load() if one.id == provider_id)

    compared = 0
    for model in provider.models:
        # A name of one's own model may be found as another one's first.
        if provider.find_model(model.id) is not model:
            continue
        try:
            card = card_of(provider, model, TODAY, context)
        except UnknownModelError:
            continue
        for usage in USAGES:
            usd = usd_by_genai_prices(provider_id, model.id, usage, TODAY, context)
            assert card.cost(usage) == rounded(usd), model.id
            compared += 1
    assert compared or context != STANDARD

"""``model: auto`` chooses by its declared rules, and the same run always gets the same model."""

from __future__ import annotations

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.executor.models.catalog import find_model
from agent_executor.executor.models.model_choice import (
    DEFAULT_SIZES,
    MEDIUM_LIMITS,
    SMALL_LIMITS,
    ChoiceFacts,
    ModelSizes,
    choose_model,
)

SIZES = ModelSizes("haiku", "sonnet", "opus")
COUNTS = st.integers(0, 10**6)
FACTS = st.builds(ChoiceFacts, COUNTS, COUNTS, COUNTS, st.integers(0, 300))


@pytest.mark.parametrize(
    ("facts", "model", "reason"),
    [
        (ChoiceFacts(0, 0, 0, 0), "haiku", "Small: at most 4000 bytes of input"),
        (SMALL_LIMITS, "haiku", "and 3 tools."),
        (
            SMALL_LIMITS._replace(input_bytes=4_001),
            "sonnet",
            "Medium: 4001 bytes of input are more than 4000, which a small one is not meant for.",
        ),
        (SMALL_LIMITS._replace(instructions_bytes=4_001), "sonnet", "bytes of instructions"),
        (SMALL_LIMITS._replace(history_bytes=20_001), "sonnet", "bytes of history"),
        (SMALL_LIMITS._replace(tool_count=4), "sonnet", "Medium: 4 tools are more than 3"),
        (MEDIUM_LIMITS, "sonnet", "Medium: 32000 bytes of input"),
        (MEDIUM_LIMITS._replace(input_bytes=32_001), "opus", "Large: 32001 bytes of input"),
        (MEDIUM_LIMITS._replace(instructions_bytes=16_001), "opus", "Large: 16001 bytes of instr"),
        (MEDIUM_LIMITS._replace(history_bytes=200_001), "opus", "Large: 200001 bytes of history"),
        (MEDIUM_LIMITS._replace(tool_count=21), "opus", "Large: 21 tools are more than 20"),
    ],
)
def test_the_rules(facts: ChoiceFacts, model: str, reason: str) -> None:
    choice = choose_model(SIZES, facts)
    assert choice.model == model
    assert reason in choice.reason


@given(FACTS, FACTS)
def test_more_to_do_never_gets_a_smaller_model(one: ChoiceFacts, other: ChoiceFacts) -> None:
    larger = ChoiceFacts(*map(max, one, other))
    chosen, chosen_for_more = choose_model(SIZES, one), choose_model(SIZES, larger)
    assert SIZES.index(chosen.model) <= SIZES.index(chosen_for_more.model)
    assert choose_model(SIZES, one) == chosen


@pytest.mark.parametrize("provider", DEFAULT_SIZES)
def test_each_size_has_a_price_and_the_larger_one_costs_more(provider: str) -> None:
    sold_by = "openai" if provider == "openai" else "anthropic"
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    prices = [
        calc_price(usage, model, provider_id=sold_by).total_price
        for model in DEFAULT_SIZES[provider]
    ]
    assert prices == sorted(set(prices))


@pytest.mark.parametrize("provider", ["mock", "anthropic"])
def test_claude_is_haiku_sonnet_and_opus_that_nobody_ends(provider: str) -> None:
    known = [find_model(model) for model in DEFAULT_SIZES[provider]]
    assert [one.family for one in known if one] == ["haiku", "sonnet", "opus"]
    assert all(one is not None and one.retirement is None for one in known)

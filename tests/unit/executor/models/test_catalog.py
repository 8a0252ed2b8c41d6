"""Every model of the catalog is one that the ledger has a price for."""

from __future__ import annotations

import datetime as dt

import pytest
from anthropic._data import DEPRECATED_MODELS
from genai_prices import Usage, calc_price
from genai_prices.data import providers

from agent_executor.executor.models.catalog import (
    KNOWN_MODELS,
    KnownModel,
    LLMModel,
    find_model,
    retirement_warning,
)

# Retired at the provider; they have a price, and anyone may still name them by their id.
RETIRED = {
    "claude-2",
    "claude-v1",
    "claude-3-5-sonnet",
    "claude-3-7-sonnet-latest",
    "claude-3-haiku",
    "claude-3-opus-latest",
    "claude-3-sonnet",
}


def price_model(model: str) -> tuple[str, int | None]:
    calculation = calc_price(Usage(input_tokens=1, output_tokens=1), model, provider_id="anthropic")
    return calculation.model.id, calculation.model.context_window


def test_the_documented_model() -> None:
    assert str(LLMModel.CLAUDE_SONNET_4) == "claude-sonnet-4-20250514"
    assert LLMModel("claude-sonnet-4-20250514") is LLMModel.CLAUDE_SONNET_4


@pytest.mark.parametrize("model", LLMModel)
def test_each_model_has_limits_and_a_price(model: LLMModel) -> None:
    known = find_model(model.value)
    assert known is not None
    assert known.id is model
    assert known.family in model.value
    _, context_window_tokens = price_model(model.value)
    assert known.context_window_tokens == context_window_tokens
    assert 0 < known.max_output_tokens < known.context_window_tokens


def test_no_model_with_a_price_is_forgotten() -> None:
    priced = {
        model.id
        for provider in providers
        if provider.id == "anthropic"
        for model in provider.models
    }
    assert {price_model(model.value)[0] for model in LLMModel} == priced - RETIRED


def test_any_other_id_is_not_known() -> None:
    assert find_model("claude-of-my-own") is None


def test_the_catalog_is_keyed_by_id() -> None:
    assert all(key == known.id for key, known in KNOWN_MODELS.items())


def test_the_dates_of_retirement_are_those_that_the_sdk_knows() -> None:
    """The SDK lists what is to come; what is past it forgets."""
    for model, told in DEPRECATED_MODELS.items():
        known = find_model(model)
        if known is None:
            continue
        assert known.retirement is not None, model
        # Such as "November 30th, 2026".
        plain = told.replace("th,", "").replace("nd,", "").replace("st,", "").replace("rd,", "")
        day = dt.datetime.strptime(f"{plain} +0000", "%B %d %Y %z")
        assert known.retirement.on == day.date()


@pytest.mark.parametrize("known", KNOWN_MODELS.values(), ids=lambda known: known.id.value)
def test_a_successor_outlives_the_model_and_is_as_able(known: KnownModel) -> None:
    if known.retirement is None:
        return
    successor = find_model(known.retirement.successor)
    assert successor is not None
    assert successor.family == known.family
    assert successor.retirement is None
    assert successor.context_window_tokens >= known.context_window_tokens


@pytest.mark.parametrize(
    ("model", "today", "warning"),
    [
        (
            "claude-sonnet-4-20250514",
            dt.date(2026, 6, 15),
            (
                "The model claude-sonnet-4-20250514 was retired by its provider on 2026-06-15; "
                "its successor is claude-sonnet-4-6."
            ),
        ),
        (
            "claude-sonnet-4-5-20250929",
            dt.date(2026, 11, 29),
            (
                "The model claude-sonnet-4-5-20250929 will be retired by its provider on 2026-11-30; "
                "its successor is claude-sonnet-5-5."
            ),
        ),
        ("claude-opus-5-5", dt.date(2026, 11, 29), ""),
        ("claude-of-my-own", dt.date(2026, 11, 29), ""),
    ],
)
def test_a_retirement_is_told_of_with_its_successor(
    model: str, today: dt.date, warning: str
) -> None:
    assert retirement_warning(model, today) == warning

"""Every model of the catalog is one that the ledger has a price for."""

from __future__ import annotations

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers

from agent_executor.executor.models.catalog import KNOWN_MODELS, LLMModel, find_model

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

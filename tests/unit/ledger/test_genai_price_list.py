"""Which prices are taken from genai-prices, and what is refused rather than guessed.

That they are the right ones is held in ``test_price_parity``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices import types
from genai_prices.data_snapshot import DataSnapshot

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices import genai_price_list
from agent_executor.ledger.prices.genai_price_list import load, resolve
from tests.unit.ledger.price_samples import rounded, usd_by_genai_prices

TODAY = date(2026, 11, 23)
SEED_MODEL = "claude-sonnet-4-20250514"
BATCH = (("processing", "batch"),)
FAST = (("speed", "fast"),)


def test_a_context_is_priced_or_refused_and_never_silently_standard() -> None:
    assert resolve("claude-opus-5", TODAY, FAST).base.input == 10_000_000
    assert resolve("claude-opus-5", TODAY, BATCH).base.input == 2_500_000
    for model, day, context, words in (
        ("claude-sonnet-5", TODAY, FAST, "speed 'fast'"),
        ("claude-sonnet-4-0", TODAY, BATCH, "processing 'batch'"),
        ("claude-opus-5", date(2026, 10, 13), BATCH, "processing 'batch' on 2026-10-13"),
        ("gpt-5", TODAY, FAST, "speed 'fast'"),
        ("claude-opus-5", TODAY, (("processing", "unheard-of"),), "processing 'unheard-of'"),
    ):
        with pytest.raises(UnknownModelError, match=f"has no price for {words}"):
            resolve(model, day, context)
        # This is what genai-prices would have answered.
        usage = TokenUsage(1_000, 1_000)
        usd = usd_by_genai_prices(resolve(model, day).provider, model, usage, day, context)
        assert rounded(usd) == resolve(model, day).cost(usage)


def test_batch_and_fast_together_are_refused_where_each_has_a_price_alone() -> None:
    for context in (BATCH, FAST):
        resolve("claude-opus-5", TODAY, context)
    with pytest.raises(UnknownModelError, match="processing 'batch' and speed 'fast'"):
        resolve("claude-opus-5", TODAY, BATCH + FAST)


def test_the_price_is_that_of_the_day() -> None:
    before, after = (resolve("claude-opus-4-6", date(2026, 3, day)) for day in (12, 13))
    assert before.rates_for(200_001).input == 10_000_000
    assert after.rates_for(200_001).input == 5_000_000
    assert after == resolve("claude-opus-4-6", TODAY) != before


def test_other_providers_models_are_found_by_name_and_by_spelling() -> None:
    assert resolve("gpt-5", TODAY) == resolve("openai/gpt-5", TODAY) == resolve("GPT-5", TODAY)
    assert resolve("gpt-5", TODAY).id.startswith("openai/gpt-5@")
    assert resolve("gemini-2.5-pro", TODAY).provider == "google"
    # Who only sells others' models is never guessed, and has prices of its own.
    sold_on = resolve("openrouter/anthropic/claude-sonnet-4", TODAY)
    assert (sold_on.provider, sold_on.model) == ("openrouter", "anthropic/claude-sonnet-4")
    assert resolve("azure/gpt-5", TODAY).provider == "azure"


def test_anthropics_models_are_anthropics_though_others_sell_them_too() -> None:
    for model in (SEED_MODEL, f"anthropic/{SEED_MODEL}", "Anthropic/Claude-Sonnet-4-0"):
        assert resolve(model, TODAY).id.startswith("anthropic/claude-sonnet-4-0@")
    assert resolve("google/claude-opus-5", TODAY).provider == "google"


def test_special_prices_of_a_model_do_not_hold_where_another_sells_it() -> None:
    for seller in ("google", "azure"):
        resolve(f"{seller}/claude-opus-5", TODAY)
        for context in (BATCH, FAST):
            with pytest.raises(UnknownModelError):
                resolve(f"{seller}/claude-opus-5", TODAY, context)


def test_the_models_of_the_documentation_cost_what_it_says() -> None:
    rates = resolve(SEED_MODEL, TODAY).base
    # $3 and $15 for a million tokens.
    assert (rates.input, rates.output) == (3_000_000, 15_000_000)
    assert (rates.cache_read, rates.cache_write_5m, rates.cache_write_1h) == (
        300_000,
        3_750_000,
        6_000_000,
    )
    assert resolve("claude-haiku-5-5", TODAY).tiers[0].above_input_tokens == 100_000


def test_spellings_of_one_model_share_a_card() -> None:
    assert resolve(SEED_MODEL, TODAY) == resolve("claude-sonnet-4-0", TODAY)


def test_exclusive_input_is_not_priced_as_inclusive() -> None:
    usage = TokenUsage(input_tokens=1_000, cache_read_input_tokens=10_000)
    # 1,000 at $3 and 10,000 at $0.30 for a million, and not 10,000 of the 1,000.
    assert resolve(SEED_MODEL, TODAY).cost(usage) == 3_000_000 + 3_000_000


def test_inclusive_input_of_genai_prices_comes_back_as_exclusive() -> None:
    raw = {
        "model": SEED_MODEL,
        "usage": {
            "input_tokens": 1_000,
            "output_tokens": 7,
            "cache_read_input_tokens": 10_000,
            "cache_creation_input_tokens": 500,
            "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200},
        },
    }
    extracted = genai_prices.extract_usage(raw, provider_id="anthropic")
    usage = TokenUsage(1_000, 7, 10_000, 300, 200)
    assert extracted.usage.input_tokens == usage.total_input_tokens
    moment = datetime.combine(TODAY, time(), UTC)
    price = extracted.calc_price(genai_request_timestamp=moment).total_price
    assert resolve(SEED_MODEL, TODAY).cost(usage) == int(price * 10**9)


@pytest.mark.parametrize(
    "model",
    [
        "claude-sonnet-4-20991231",
        "claude-opus-4-9",
        "anthropic/gpt-5",
        "elsewhere/claude-opus-5",
        # How another provider names it; whoever means that says so: "aws/...".
        "anthropic.claude-3-5-sonnet-20240620-v1:0",
        "mock",
        "",
        "/",
        "anthropic/",
    ],
)
def test_a_model_without_a_price_is_refused(model: str) -> None:
    with pytest.raises(UnknownModelError) as refused:
        resolve(model, TODAY)
    assert refused.value.metadata == {"model": model}


@pytest.fixture
def price_list() -> Iterator[Any]:
    """Yields a function that makes a list of one model the only one."""

    def install(prices: Any, *provider_ids: str) -> None:
        odd = types.ClauseEquals("odd")
        model = types.ModelInfo(id="odd", match=odd, prices=prices)
        providers = [
            types.Provider(id=name, name="", api_pattern="", model_match=odd, models=[model])
            for name in provider_ids or ("anthropic",)
        ]
        snapshot = DataSnapshot(providers=providers, from_auto_update=False)
        genai_price_list.load.cache_clear()
        genai_prices.data_snapshot.set_custom_snapshot(snapshot)

    yield install
    genai_prices.data_snapshot.set_custom_snapshot(None)
    genai_price_list.load.cache_clear()


def test_a_price_finer_than_a_pico_dollar_is_refused(price_list: Any) -> None:
    price_list(types.ModelPrice(input_mtok=Decimal("0.0000001"), output_mtok=Decimal(1)))
    with pytest.raises(UnknownModelError, match="finer than a pico-dollar"):
        resolve("odd", TODAY)


def test_a_price_that_is_not_by_tokens_alone_is_refused(price_list: Any) -> None:
    price_list(
        types.ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(1))
    )
    with pytest.raises(UnknownModelError, match="not priced by tokens of text alone"):
        resolve("odd", TODAY)


def test_a_model_without_a_price_for_output_is_refused(price_list: Any) -> None:
    price_list(types.ModelPrice(input_mtok=Decimal(1)))
    with pytest.raises(UnknownModelError, match="not priced by tokens of text alone"):
        resolve("odd", TODAY)


def test_a_price_that_changes_within_a_day_is_refused(price_list: Any) -> None:
    price = types.ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
    night = types.TimeOfDateConstraint(time(0, tzinfo=UTC), time(6, tzinfo=UTC))
    price_list([types.ConditionalPrice(prices=price), types.ConditionalPrice(night, prices=price)])
    with pytest.raises(UnknownModelError, match="changes within a day"):
        resolve("odd", TODAY)


def test_prices_for_what_is_never_sent_do_not_hinder(price_list: Any) -> None:
    million = Decimal(1)
    price_list(
        types.ModelPrice(input_mtok=million, output_mtok=million, input_audio_mtok=million * 9)
    )
    assert resolve("odd", TODAY).cost(TokenUsage(1, 1)) == 2_000


def test_classes_with_tiers_of_their_own_are_told_apart(price_list: Any) -> None:
    price_list(
        types.ModelPrice(
            input_mtok=types.TieredPrices(Decimal(1), [types.Tier(100, Decimal(2))]),
            output_mtok=types.TieredPrices(
                Decimal(3), [types.Tier(50, Decimal(4)), types.Tier(200, Decimal(5))]
            ),
        )
    )
    card = resolve("odd", TODAY)
    for total in (50, 51, 100, 101, 200, 201):
        usage = TokenUsage(total, 10)
        assert card.cost(usage) == rounded(usd_by_genai_prices("anthropic", "odd", usage, TODAY))
    assert [tier.above_input_tokens for tier in card.tiers] == [50, 100, 200]


def test_a_name_that_two_providers_know_is_refused_with_both(price_list: Any) -> None:
    price = types.ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
    price_list(price, "one", "two")
    with pytest.raises(UnknownModelError, match="name it one/odd or two/odd"):
        resolve("odd", TODAY)
    assert resolve("two/odd", TODAY).provider == "two"
    price_list(price, "one", "anthropic")
    assert resolve("odd", TODAY).provider == "anthropic"


def test_the_source_names_the_version() -> None:
    assert genai_price_list.source() == f"genai-prices {genai_prices.__version__}"


def test_no_id_of_a_card_holds_what_an_escape_in_a_path_is_made_of() -> None:
    names = [provider.id + model.id for provider in load() for model in provider.models]
    assert not [name for name in names if "%" in name or not name.isprintable()]

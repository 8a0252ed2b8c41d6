"""Every cost equals genai-prices' own Decimal arithmetic, rounded once to the nano-dollar."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices import types
from genai_prices.data_snapshot import DataSnapshot, get_snapshot

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices import genai_price_list
from agent_executor.ledger.prices.genai_price_list import resolve
from agent_executor.ledger.prices.rate_card import PriceContext

TODAY = date(2026, 11, 23)
SEED_MODEL = "claude-sonnet-4-20250514"
MODELS = tuple(model.id for model in get_snapshot().find_provider(None, "anthropic", None).models)
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


def cost_by_genai_prices(
    model: str, usage: TokenUsage, day: date, context: PriceContext = ()
) -> int:
    """Returns nano-dollars; input is inclusive there: with what was read and written."""
    price = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.total_input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_input_tokens,
            cache_write_tokens=usage.cache_creation_input_tokens_5m
            + usage.cache_creation_input_tokens_1h,
            cache_write_1h_tokens=usage.cache_creation_input_tokens_1h,
        ),
        model,
        provider_id="anthropic",
        genai_request_timestamp=datetime.combine(day, time(), UTC),
        price_context=dict(context),
    ).total_price
    return int((price * 10**9).to_integral_value(ROUND_HALF_EVEN))


@pytest.mark.parametrize("usage", USAGES, ids=str)
@pytest.mark.parametrize("model", [*MODELS, SEED_MODEL])
def test_a_cost_equals_that_of_genai_prices(model: str, usage: TokenUsage) -> None:
    assert resolve(model, TODAY).cost(usage) == cost_by_genai_prices(model, usage, TODAY)


@pytest.mark.parametrize("context", [(("processing", "batch"),), (("speed", "fast"),)])
@pytest.mark.parametrize("model", MODELS)
def test_a_cost_in_a_context_equals_that_of_genai_prices(model: str, context: PriceContext) -> None:
    try:
        card = resolve(model, TODAY, context)
    except UnknownModelError:
        # genai-prices has no such price and would silently answer the standard one.
        for usage in USAGES:
            standard = cost_by_genai_prices(model, usage, TODAY)
            assert cost_by_genai_prices(model, usage, TODAY, context) == standard
        return
    for usage in USAGES:
        assert card.cost(usage) == cost_by_genai_prices(model, usage, TODAY, context)


def test_some_contexts_are_priced() -> None:
    fast = resolve("claude-opus-5", TODAY, (("speed", "fast"),))
    assert fast.base.input == 2 * resolve("claude-opus-5", TODAY).base.input
    with pytest.raises(UnknownModelError, match="has no price for"):
        resolve("claude-sonnet-5", TODAY, (("speed", "fast"),))
    with pytest.raises(UnknownModelError, match="has no price for"):
        resolve("claude-opus-5", date(2026, 10, 13), (("processing", "batch"),))


def test_the_price_is_that_of_the_day() -> None:
    usage = TokenUsage(300_000, 1_500)
    for day in (date(2026, 3, 12), date(2026, 3, 13)):
        cost = resolve("claude-opus-4-6", day).cost(usage)
        assert cost == cost_by_genai_prices("claude-opus-4-6", usage, day)
    assert resolve("claude-opus-4-6", date(2026, 3, 12)).id != resolve("claude-opus-4-6", TODAY).id
    assert resolve("claude-opus-4-6", date(2026, 3, 13)).id == resolve("claude-opus-4-6", TODAY).id


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
        "gpt-5",
        "anthropic/claude-sonnet-4",
        "mock",
        "",
    ],
)
def test_a_model_without_a_price_is_refused(model: str) -> None:
    with pytest.raises(UnknownModelError) as refused:
        resolve(model, TODAY)
    assert refused.value.metadata == {"model": model}


@pytest.fixture
def price_list() -> Iterator[Any]:
    """Yields a function that makes a list of one model the only one."""

    def install(prices: Any) -> None:
        model = types.ModelInfo(id="odd", match=types.ClauseEquals("odd"), prices=prices)
        provider = types.Provider(id="anthropic", name="", api_pattern="", models=[model])
        snapshot = DataSnapshot(providers=[provider], from_auto_update=False)
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
    with pytest.raises(UnknownModelError, match="not priced by tokens alone"):
        resolve("odd", TODAY)


def test_a_model_without_a_price_for_output_is_refused(price_list: Any) -> None:
    price_list(types.ModelPrice(input_mtok=Decimal(1)))
    with pytest.raises(UnknownModelError, match="not priced by tokens alone"):
        resolve("odd", TODAY)


def test_a_price_that_changes_within_a_day_is_refused(price_list: Any) -> None:
    price = types.ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
    night = types.TimeOfDateConstraint(time(0, tzinfo=UTC), time(6, tzinfo=UTC))
    price_list([types.ConditionalPrice(prices=price), types.ConditionalPrice(night, prices=price)])
    with pytest.raises(UnknownModelError, match="changes within a day"):
        resolve("odd", TODAY)


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
        assert card.cost(usage) == cost_by_genai_prices("odd", usage, TODAY)
    assert [tier.above_input_tokens for tier in card.tiers] == [50, 100, 200]


def test_the_source_names_the_version() -> None:
    assert genai_price_list.source() == f"genai-prices {genai_prices.__version__}"

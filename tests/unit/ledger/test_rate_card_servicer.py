from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from google.protobuf import json_format, timestamp_pb2

from agent_executor.api.ledger.v1 import rate_card_service_pb2 as pb
from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.prices import convert
from agent_executor.ledger.prices.servicer import RateCardServicer
from agent_executor.serving.security import current_security_context
from tests.unit.ledger.price_samples import ADA, CARD, MODEL, NOW_MS, TOOL, Pricing

# The servicer makes no use of a call's context.
NO_CONTEXT: Any = None
NOON = "2026-02-23T10:00:00Z"


@pytest.fixture(autouse=True)
def _ada() -> Iterator[None]:
    token = current_security_context.set(ADA)
    yield
    current_security_context.reset(token)


@pytest.fixture
def pricing() -> Pricing:
    """Returns one process that prices calls."""
    return Pricing()


@pytest.fixture
def servicer(pricing: Pricing) -> RateCardServicer:
    """Returns the servicer of that process."""
    return RateCardServicer(pricing.administration)


def shown(message: Any) -> dict[str, Any]:
    """Returns a message as REST shows it, without what has no value."""
    fields: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return fields


MODEL_REQUEST = pb.CreateRateCardRequest(
    model="openai/gpt-5",
    processing="batch",
    rates=pb.TokenRates(
        input_usd_per_million_tokens=0.1,
        output_usd_per_million_tokens=1.000001,
        cache_write_5m_usd_per_million_tokens=0.125,
    ),
    tiers=[
        pb.RateTier(
            above_input_tokens=100_000,
            rates=pb.TokenRates(
                input_usd_per_million_tokens=0.5,
                output_usd_per_million_tokens=2.5,
                cache_read_usd_per_million_tokens=0,
            ),
        )
    ],
    valid_until=timestamp_pb2.Timestamp(seconds=NOW_MS // 1000 + 3600),
    description="negotiated",
)


async def test_a_model_card_is_shown_whole(servicer: RateCardServicer) -> None:
    made = await servicer.CreateRateCard(MODEL_REQUEST, NO_CONTEXT)
    fields = shown(made)
    assert fields.pop("id") == made.id
    assert made.id.startswith("organization/openai_gpt-5@")
    # What was not set: a read as input, an hour's write as one for 5 minutes.
    assert fields == {
        "provider": "organization",
        "model": "openai/gpt-5",
        "processing": "batch",
        "rates": {
            "input_usd_per_million_tokens": 0.1,
            "output_usd_per_million_tokens": 1.000001,
            "cache_read_usd_per_million_tokens": 0.1,
            "cache_write_5m_usd_per_million_tokens": 0.125,
            "cache_write_1h_usd_per_million_tokens": 0.125,
        },
        "tiers": [
            {
                "above_input_tokens": 100_000,
                "rates": {
                    "input_usd_per_million_tokens": 0.5,
                    "output_usd_per_million_tokens": 2.5,
                    # That it is free was said, and is no default.
                    "cache_read_usd_per_million_tokens": 0.0,
                    "cache_write_5m_usd_per_million_tokens": 0.5,
                    "cache_write_1h_usd_per_million_tokens": 0.5,
                },
            }
        ],
        "valid_from": NOON,
        "valid_until": "2026-02-23T11:00:00Z",
        "created_at": NOON,
        "created_by": "ada",
        "description": "negotiated",
    }
    got = await servicer.GetRateCard(pb.GetRateCardRequest(rate_card_id=made.id), NO_CONTEXT)
    assert got == made


async def test_a_tool_card_is_shown_whole(servicer: RateCardServicer) -> None:
    request = pb.CreateRateCardRequest(
        tool_name=TOOL, fee_usd=0.0025, valid_from=timestamp_pb2.Timestamp(seconds=1, nanos=1)
    )
    made = await servicer.CreateRateCard(request, NO_CONTEXT)
    fields = shown(made)
    assert fields.pop("id").startswith("organization/search@")
    assert fields == {
        "provider": "organization",
        "tool_name": TOOL,
        "fee_usd": 0.0025,
        "fee_nano_usd": "2500000",
        # The first whole millisecond that is not before.
        "valid_from": "1970-01-01T00:00:01.001Z",
        "created_at": NOON,
        "created_by": "ada",
    }


async def test_a_card_of_the_price_list_has_no_times(
    servicer: RateCardServicer, pricing: Pricing
) -> None:
    await pricing.find()
    got = await servicer.GetRateCard(pb.GetRateCardRequest(rate_card_id=CARD.id), NO_CONTEXT)
    assert set(shown(got)) == {"id", "provider", "model", "rates"}
    assert (got.provider, got.model) == ("test", MODEL)


async def test_cards_are_listed_and_withdrawn(servicer: RateCardServicer, pricing: Pricing) -> None:
    first = await servicer.CreateRateCard(MODEL_REQUEST, NO_CONTEXT)
    second = await servicer.CreateRateCard(
        pb.CreateRateCardRequest(tool_name=TOOL, fee_usd=0), NO_CONTEXT
    )
    page = await servicer.ListRateCards(pb.ListRateCardsRequest(page_size=1), NO_CONTEXT)
    assert list(page.rate_cards) == [second]
    rest = await servicer.ListRateCards(
        pb.ListRateCardsRequest(page_token=page.next_page_token), NO_CONTEXT
    )
    assert (list(rest.rate_cards), rest.next_page_token) == ([first], "")
    mine = await servicer.ListRateCards(pb.ListRateCardsRequest(model="openai/gpt-5"), NO_CONTEXT)
    assert list(mine.rate_cards) == [first]
    withdrawn = await servicer.WithdrawRateCard(
        pb.WithdrawRateCardRequest(rate_card_id=first.id), NO_CONTEXT
    )
    assert shown(withdrawn) == shown(first) | {"withdrawn_at": NOON}


async def test_an_id_is_understood_as_clients_write_it_in_a_path(
    servicer: RateCardServicer,
) -> None:
    made = await servicer.CreateRateCard(MODEL_REQUEST, NO_CONTEXT)
    for safe in ("/@", "/", ""):
        written = quote(made.id, safe=safe)
        got = await servicer.GetRateCard(pb.GetRateCardRequest(rate_card_id=written), NO_CONTEXT)
        assert got.id == made.id
        gone = await servicer.WithdrawRateCard(
            pb.WithdrawRateCardRequest(rate_card_id=written), NO_CONTEXT
        )
        assert gone.id == made.id


async def test_an_example_is_priced(servicer: RateCardServicer) -> None:
    request = pb.ResolveRateCardRequest(
        model=MODEL,
        time=timestamp_pb2.Timestamp(seconds=NOW_MS // 1000),
        input_tokens=1,
        output_tokens=2,
        cache_read_input_tokens=3,
        cache_creation_input_tokens_5m=4,
        cache_creation_input_tokens_1h=5,
    )
    answer = await servicer.ResolveRateCard(request, NO_CONTEXT)
    assert answer.rate_card.id == CARD.id
    assert answer.cost_nano_usd == 1 + 10 + 3 + 8 + 15
    assert answer.cost_usd == 3.7e-8


@pytest.mark.parametrize(
    ("usd", "reason"),
    [
        (0.0000001, "whole number of millionths"),
        (1.0000001, "whole number of millionths"),
        (1 / 3, "whole number of millionths"),
        (-0.1, "between 0 and 1,000,000"),
        (1_000_000.1, "between 0 and 1,000,000"),
        (float("nan"), "must be a number"),
        (float("inf"), "must be a number"),
    ],
)
def test_a_price_that_is_not_exact_is_refused_by_its_field(usd: float, reason: str) -> None:
    request = pb.CreateRateCardRequest(model=MODEL, rates=pb.TokenRates())
    request.rates.output_usd_per_million_tokens = usd
    with pytest.raises(InvalidArgumentError, match=reason) as refused:
        convert.new_card(request)
    ((field, _),) = refused.value.field_violations
    assert field == "rates.output_usd_per_million_tokens"
    in_tier = pb.CreateRateCardRequest(model=MODEL, tiers=[pb.RateTier(rates=request.rates)])
    with pytest.raises(InvalidArgumentError) as refused:
        convert.new_card(in_tier)
    ((field, _),) = refused.value.field_violations
    assert field == "tiers[0].rates.output_usd_per_million_tokens"


@pytest.mark.parametrize("usd", [-1e-9, 1_000.000_000_001, float("nan"), float("-inf")])
def test_a_fee_that_cannot_be_is_refused(usd: float) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        convert.fee_from_usd(usd)
    assert refused.value.field_violations[0][0] == "fee_usd"


@pytest.mark.parametrize(
    ("usd", "nano"), [(0, 0), (0.0001, 100_000), (1_000, 10**12), (2.5e-9, 2), (3.5e-9, 4)]
)
def test_a_fee_is_rounded_to_the_nano_dollar(usd: float, nano: int) -> None:
    assert convert.fee_from_usd(usd) == nano


def test_what_is_not_set_is_told_from_zero() -> None:
    assert convert.new_card(pb.CreateRateCardRequest(tool_name=TOOL)).fee_nano_usd is None
    assert convert.new_card(pb.CreateRateCardRequest(tool_name=TOOL, fee_usd=0)).fee_nano_usd == 0
    assert convert.new_card(pb.CreateRateCardRequest(model=MODEL)).rates is None

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from agent_executor.errors import (
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
    RateCardNotFoundError,
    UnavailableError,
    UnknownModelError,
)
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken
from agent_executor.ledger.prices import card_administration
from agent_executor.ledger.prices.card_checks import (
    FEE_NANO_USD_MAX,
    RATE_PICO_USD_PER_TOKEN_MAX,
    TIME_MS_MAX,
    NewCard,
)
from agent_executor.ledger.prices.organization_card import OrganizationCard
from agent_executor.ledger.prices.rate_card import RateCard, Rates, Tier
from agent_executor.ledger.prices.store_memory import MemoryOrganizationCardStore
from tests.unit.ledger.price_samples import (
    ADA,
    CARD,
    EVE,
    HOUR_MS,
    MODEL,
    NOBODY,
    NOW_MS,
    READER,
    TOOL,
    MemoryRateCardStore,
    Pricing,
    rates,
)

MODEL_CARD = NewCard(
    model=MODEL,
    rates=rates(7),
    tiers=(Tier(100, rates(8)), Tier(200, rates(9))),
    processing="batch",
    speed="fast",
    valid_from_ms=NOW_MS - HOUR_MS,
    valid_until_ms=NOW_MS + HOUR_MS,
    description="negotiated",
)
TOOL_CARD = NewCard(tool_name=TOOL, fee_nano_usd=NanoUsd(5))


def changed(card: NewCard, **changes: Any) -> NewCard:
    """Returns the card with other values."""
    return msgspec.structs.replace(card, **changes)


def rates_with(rate: Any) -> Rates:
    """Returns rates of which one is another."""
    return msgspec.structs.replace(rates(1), cache_write_1h=rate)


async def test_a_card_is_made_as_it_is_asked_for_and_read_again() -> None:
    administration = Pricing().administration
    made = await administration.create(MODEL_CARD, ADA)
    assert (made.model, made.tool_name, made.organization_id) == (MODEL, "", "acme")
    assert (made.created_at_ms, made.created_by) == (NOW_MS, "ada")
    assert (made.valid_from_ms, made.valid_until_ms) == (NOW_MS - HOUR_MS, NOW_MS + HOUR_MS)
    assert (made.description, made.withdrawn_at_ms) == ("negotiated", None)
    assert made.rate_card == RateCard(
        made.id,
        "organization",
        MODEL,
        (("processing", "batch"), ("speed", "fast")),
        rates(7),
        MODEL_CARD.tiers,
    )
    assert await administration.get(made.id, READER) == made


async def test_a_card_holds_from_now_on_without_end_unless_it_is_said() -> None:
    made = await Pricing().administration.create(TOOL_CARD, ADA)
    assert (made.valid_from_ms, made.valid_until_ms) == (NOW_MS, None)
    assert (made.tool_name, made.model, made.rate_card) == (TOOL, "", None)


async def test_equal_cards_made_at_other_times_are_two() -> None:
    pricing = Pricing()
    first = await pricing.administration.create(TOOL_CARD, ADA)
    pricing.clock.now_ms += 1
    second = await pricing.administration.create(TOOL_CARD, ADA)
    assert first.id != second.id
    page = await pricing.administration.list(READER)
    assert page.cards == (second, first)


async def test_equal_cards_of_two_organizations_are_two() -> None:
    administration = Pricing().administration
    ours, theirs = [await administration.create(MODEL_CARD, who) for who in (ADA, EVE)]
    assert ours.id != theirs.id


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("claude-opus-5", "claude-opus-5"),
        ("openai/gpt-5:free", "openai_gpt-5_free"),
        ("..", ".."),
        ("a@b?c#d%e f", "a_b_c_d_e_f"),
        ("模型", "__"),
    ],
)
async def test_an_id_can_stand_in_a_path(name: str, shown: str) -> None:
    administration = Pricing().administration
    made = await administration.create(changed(MODEL_CARD, model=name), ADA)
    prefix, _, digest = made.id.rpartition("@")
    assert prefix == f"organization/{shown}"
    assert len(digest) == 16
    assert made.model == name


REFUSED = [
    ("model", changed(MODEL_CARD, model="")),
    ("model", changed(MODEL_CARD, tool_name=TOOL)),
    ("model", NewCard()),
    ("model", changed(MODEL_CARD, model="x" * 201)),
    ("model", changed(MODEL_CARD, model="é" * 101)),
    ("model", changed(MODEL_CARD, model="a\x00b")),
    ("model", changed(MODEL_CARD, model="\ud800")),
    ("tool_name", changed(TOOL_CARD, tool_name="x" * 129)),
    ("tool_name", changed(TOOL_CARD, tool_name="a\nb")),
    ("rates", changed(MODEL_CARD, rates=None)),
    ("rates", changed(TOOL_CARD, rates=rates(1))),
    ("fee_usd", changed(MODEL_CARD, fee_nano_usd=NanoUsd(0))),
    ("fee_usd", changed(TOOL_CARD, fee_nano_usd=None)),
    ("fee_usd", changed(TOOL_CARD, fee_nano_usd=-1)),
    ("fee_usd", changed(TOOL_CARD, fee_nano_usd=FEE_NANO_USD_MAX + 1)),
    ("fee_usd", changed(TOOL_CARD, fee_nano_usd=1.0)),
    ("tiers", changed(TOOL_CARD, tiers=MODEL_CARD.tiers)),
    ("processing", changed(TOOL_CARD, processing="batch")),
    ("speed", changed(TOOL_CARD, speed="fast")),
    ("processing", changed(MODEL_CARD, processing="fast")),
    ("speed", changed(MODEL_CARD, speed="batch")),
    ("rates", changed(MODEL_CARD, rates=rates_with(-1))),
    ("rates", changed(MODEL_CARD, rates=rates_with(RATE_PICO_USD_PER_TOKEN_MAX + 1))),
    ("rates", changed(MODEL_CARD, rates=rates_with(1.5))),
    ("rates", changed(MODEL_CARD, rates=rates_with(True))),
    ("tiers", changed(MODEL_CARD, tiers=tuple(Tier(n, rates(1)) for n in range(1, 12)))),
    (
        "tiers[1].above_input_tokens",
        changed(MODEL_CARD, tiers=(Tier(5, rates(1)), Tier(5, rates(1)))),
    ),
    (
        "tiers[1].above_input_tokens",
        changed(MODEL_CARD, tiers=(Tier(5, rates(1)), Tier(4, rates(1)))),
    ),
    ("tiers[0].above_input_tokens", changed(MODEL_CARD, tiers=(Tier(0, rates(1)),))),
    ("tiers[0].above_input_tokens", changed(MODEL_CARD, tiers=(Tier(2**31, rates(1)),))),
    ("tiers[0].rates", changed(MODEL_CARD, tiers=(Tier(5, rates_with(-1)),))),
    ("valid_from", changed(MODEL_CARD, valid_from_ms=-1, valid_until_ms=None)),
    ("valid_from", changed(MODEL_CARD, valid_from_ms=TIME_MS_MAX + 1, valid_until_ms=None)),
    ("valid_until", changed(MODEL_CARD, valid_until_ms=TIME_MS_MAX + 1)),
    ("valid_until", changed(MODEL_CARD, valid_until_ms=NOW_MS - HOUR_MS)),
    ("valid_until", changed(TOOL_CARD, valid_until_ms=NOW_MS)),
    ("description", changed(MODEL_CARD, description="é" * 501)),
]


@pytest.mark.parametrize(("field", "new"), REFUSED)
async def test_what_cannot_be_is_refused_by_its_field_and_nothing_is_kept(
    field: str, new: NewCard
) -> None:
    pricing = Pricing()
    with pytest.raises(InvalidArgumentError) as refused:
        await pricing.administration.create(new, ADA)
    assert [name for name, _ in refused.value.field_violations] == [field]
    assert (await pricing.administration.list(ADA)).cards == ()
    assert pricing.used_cards.cards == {}


@pytest.mark.parametrize(
    "new",
    [
        changed(MODEL_CARD, model="é" * 100, description="é" * 500),
        changed(MODEL_CARD, rates=Rates(*map(PicoUsdPerToken, (0, 0, 0, 0, 10**12)))),
        changed(MODEL_CARD, tiers=tuple(Tier(n, rates(1)) for n in range(1, 11))),
        changed(MODEL_CARD, tiers=(Tier(2**31 - 1, rates(1)),)),
        changed(MODEL_CARD, valid_from_ms=0, valid_until_ms=1),
        changed(MODEL_CARD, valid_until_ms=TIME_MS_MAX),
        changed(TOOL_CARD, tool_name="x" * 128),
        changed(TOOL_CARD, fee_nano_usd=NanoUsd(0)),
        changed(TOOL_CARD, fee_nano_usd=FEE_NANO_USD_MAX),
    ],
)
async def test_what_is_just_within_its_limits_is_taken(new: NewCard) -> None:
    await Pricing().administration.create(new, ADA)


async def test_who_may_only_read_makes_and_withdraws_nothing() -> None:
    administration = Pricing().administration
    made = await administration.create(TOOL_CARD, ADA)
    for refused in (
        administration.create(TOOL_CARD, READER),
        administration.withdraw(made.id, READER),
        administration.get(made.id, NOBODY),
        administration.list(NOBODY),
        administration.resolve(MODEL, TokenUsage(), NOBODY),
    ):
        with pytest.raises(PermissionDeniedError):
            await refused
    assert await administration.get(made.id, READER) == made


async def test_another_organizations_card_is_not_there() -> None:
    administration = Pricing().administration
    made = await administration.create(MODEL_CARD, ADA)
    for call in (administration.get, administration.withdraw):
        with pytest.raises(RateCardNotFoundError) as refused:
            await call(made.id, EVE)
        assert refused.value.metadata == {"rate_card_id": made.id}
    assert (await administration.list(EVE)).cards == ()
    assert await administration.get(made.id, ADA) == made


async def test_a_card_of_the_price_list_is_there_once_it_was_used() -> None:
    pricing = Pricing()
    with pytest.raises(RateCardNotFoundError):
        await pricing.administration.get(CARD.id, ADA)
    await pricing.find()
    assert await pricing.administration.get(CARD.id, ADA) == CARD
    # It is nobody's to withdraw.
    with pytest.raises(RateCardNotFoundError):
        await pricing.administration.withdraw(CARD.id, ADA)


@pytest.mark.parametrize("card_id", ["", "unknown", "a\x00b", "\ud800"])
async def test_what_is_no_id_is_not_there(card_id: str) -> None:
    administration = Pricing().administration
    for call in (administration.get, administration.withdraw):
        with pytest.raises(RateCardNotFoundError):
            await call(card_id, ADA)
    assert (await administration.list(ADA, model=card_id or "none")).cards == ()


async def test_a_withdrawn_card_is_kept_and_stays_withdrawn_since_the_first_time() -> None:
    pricing = Pricing()
    made = await pricing.administration.create(TOOL_CARD, ADA)
    withdrawn = msgspec.structs.replace(made, withdrawn_at_ms=NOW_MS)
    assert await pricing.administration.withdraw(made.id, ADA) == withdrawn
    pricing.clock.now_ms += 1
    assert await pricing.administration.withdraw(made.id, ADA) == withdrawn
    assert await pricing.administration.get(made.id, ADA) == withdrawn
    assert (await pricing.administration.list(ADA)).cards == (withdrawn,)


async def test_cards_are_listed_in_pages_newest_first() -> None:
    pricing = Pricing()
    made: list[OrganizationCard] = []
    for number in range(5):
        pricing.clock.now_ms += 1
        new = changed(TOOL_CARD, tool_name=f"tool-{number % 2}")
        made.insert(0, await pricing.administration.create(new, ADA))
    listed: list[OrganizationCard] = []
    token = ""
    for expected in (2, 2, 1):
        page = await pricing.administration.list(READER, page_size=2, page_token=token)
        assert len(page.cards) == expected
        listed.extend(page.cards)
        token = page.next_page_token
    assert token == ""
    assert listed == made
    page = await pricing.administration.list(READER, page_size=1, tool_name="tool-0")
    assert page.cards == (made[0],)
    for wrong in (
        {"page_token": page.next_page_token},
        {"page_token": page.next_page_token, "tool_name": "tool-1"},
        {"page_token": "x"},
        {"page_size": -1},
        {"page_size": 1_001},
    ):
        with pytest.raises(InvalidArgumentError):
            await pricing.administration.list(READER, **wrong)
    with pytest.raises(InvalidArgumentError):
        await pricing.administration.list(EVE, page_token=page.next_page_token, tool_name="tool-0")


async def test_an_example_is_priced_by_the_card_in_force() -> None:
    pricing = Pricing()
    usage = TokenUsage(1, 2, 3, 4, 5)
    card, cost = await pricing.administration.resolve(MODEL, usage, READER)
    assert (card, cost) == (CARD, CARD.cost(usage))
    made = await pricing.administration.create(changed(MODEL_CARD, processing="", speed=""), ADA)
    assert made.rate_card is not None
    card, cost = await pricing.administration.resolve(MODEL, usage, READER)
    assert (card, cost) == (made, made.rate_card.cost(usage))
    later = NOW_MS + HOUR_MS
    card, _ = await pricing.administration.resolve(MODEL, usage, READER, at_ms=later)
    assert card == CARD
    card, _ = await pricing.administration.resolve(MODEL, usage, EVE)
    assert card == CARD


async def test_a_model_without_a_price_or_a_time_that_cannot_be_is_refused() -> None:
    administration = Pricing().administration
    with pytest.raises(UnknownModelError):
        await administration.resolve("unknown", TokenUsage(), READER)
    for at_ms in (-1, TIME_MS_MAX + 1):
        with pytest.raises(InvalidArgumentError):
            await administration.resolve(MODEL, TokenUsage(), READER, at_ms=at_ms)


async def test_a_card_cannot_be_found_before_what_entries_will_name_is_stored() -> None:
    class AwayStore(MemoryRateCardStore):
        async def put_rate_card(self, card: RateCard, source: str) -> None:
            raise UnavailableError("The database cannot be written to at the moment.")

    pricing = Pricing(used_cards=AwayStore())
    with pytest.raises(UnavailableError):
        await pricing.administration.create(MODEL_CARD, ADA)
    assert (await pricing.administration.list(ADA)).cards == ()


async def test_a_card_that_was_stored_though_the_answer_was_lost_is_used() -> None:
    class LosingStore(MemoryOrganizationCardStore):
        async def add(self, card: OrganizationCard, *, cards_max: int) -> bool:
            await super().add(card, cards_max=cards_max)
            raise UnavailableError("The connection was lost.")

    pricing = Pricing(LosingStore())
    assert await pricing.rate_cards.tool_fee("acme", TOOL, NOW_MS) == ("", 0)
    with pytest.raises(UnavailableError):
        await pricing.administration.create(TOOL_CARD, ADA)
    card_id, fee = await pricing.rate_cards.tool_fee("acme", TOOL, NOW_MS)
    assert card_id
    assert fee == 5


async def test_an_organization_has_only_so_many_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_administration, "CARDS_MAX", 2)
    pricing = Pricing()
    made = await pricing.administration.create(TOOL_CARD, ADA)
    pricing.clock.now_ms += 1
    await pricing.administration.create(TOOL_CARD, ADA)
    pricing.clock.now_ms += 1
    with pytest.raises(LimitExceededError, match="withdraw"):
        await pricing.administration.create(TOOL_CARD, ADA)
    await pricing.administration.create(TOOL_CARD, EVE)
    await pricing.administration.withdraw(made.id, ADA)
    await pricing.administration.create(TOOL_CARD, ADA)


async def test_who_changed_a_price_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    administration = Pricing().administration
    with caplog.at_level(logging.INFO):
        made = await administration.create(TOOL_CARD, ADA)
        await administration.withdraw(made.id, ADA)
    assert [record.message for record in caplog.records] == [
        f"User ada of acme made the rate card {made.id}.",
        f"User ada of acme withdrew the rate card {made.id}.",
    ]

from __future__ import annotations

import asyncio
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.ledger.money import NanoUsd, PicoUsdPerToken
from agent_executor.ledger.prices import convert
from agent_executor.ledger.prices.card_checks import RATE_PICO_USD_PER_TOKEN_MAX
from agent_executor.ledger.prices.organization_card import (
    ModelPrice,
    OrganizationCard,
    ToolFee,
    in_force,
)
from agent_executor.ledger.prices.organization_prices import OrganizationPrices
from agent_executor.ledger.prices.rate_card import Rates
from agent_executor.ledger.prices.store_memory import MemoryOrganizationCardStore
from agent_executor.serving.timestamp_convert import ceil_to_ms, timestamp

TIMES = st.integers(0, 12)
FREE = Rates(*map(PicoUsdPerToken, (0, 0, 0, 0, 0)))
SOME_PRICES: list[ModelPrice | ToolFee] = [
    ModelPrice("a", FREE),
    ModelPrice("b", FREE),
    ModelPrice("a", FREE, context=(("speed", "fast"),)),
    ToolFee("a", NanoUsd(1)),
]
PRICES = st.sampled_from(SOME_PRICES)


@st.composite
def histories(draw: st.DrawFn) -> list[OrganizationCard | int]:
    """Draws what an organization does: it makes a card, or withdraws the one of that number."""
    steps: list[OrganizationCard | int] = []
    made = 0
    for number in range(draw(st.integers(0, 12))):
        if made and draw(st.booleans()):
            steps.append(draw(st.integers(0, made - 1)))
            continue
        start = draw(TIMES)
        end = draw(st.none() | st.integers(start + 1, 14))
        steps.append(
            OrganizationCard.of(
                "acme", draw(PRICES), start, end, created_at_ms=number, created_by="ada"
            )
        )
        made += 1
    return steps


@given(histories())
def test_what_is_in_force_is_what_an_overwritten_calendar_says(
    steps: list[OrganizationCard | int],
) -> None:
    made = [step for step in steps if isinstance(step, OrganizationCard)]
    gone = {made[step].id for step in steps if isinstance(step, int)}
    # The naive definition: each card that is left is written over every moment that it covers.
    calendar: dict[tuple[object, int], str] = {}
    for card in made:
        if card.id not in gone:
            until = 15 if card.valid_until_ms is None else card.valid_until_ms
            for moment in range(card.valid_from_ms, until):
                calendar[card.key, moment] = card.id

    async def found() -> dict[tuple[object, int], str]:
        store = MemoryOrganizationCardStore()
        for step in steps:
            if isinstance(step, int):
                await store.withdraw("acme", made[step].id, 99)
            else:
                await store.add(step, cards_max=100)
        cards = await OrganizationPrices(store).get("acme")
        return {
            (key, moment): card.id
            for key, own in cards.items()
            for moment in range(15)
            if (card := in_force(own, moment)) is not None
        }

    assert asyncio.run(found()) == calendar


@given(st.integers(0, RATE_PICO_USD_PER_TOKEN_MAX).map(PicoUsdPerToken))
def test_a_rate_is_the_same_after_it_was_shown_and_written_again(rate: PicoUsdPerToken) -> None:
    assert convert.rate_from_usd("rates", convert.rate_to_usd(rate)) == rate


@given(st.integers(0, RATE_PICO_USD_PER_TOKEN_MAX))
def test_a_rate_is_what_the_written_decimal_says(pico: int) -> None:
    written = str(Decimal(pico) / 10**6)
    assert convert.rate_from_usd("rates", float(written)) == pico


@given(st.integers(0, 10**12).map(NanoUsd))
def test_a_fee_is_the_same_after_it_was_shown_and_written_again(fee: NanoUsd) -> None:
    assert convert.fee_from_usd(fee / 10**9) == fee


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_is_the_same_after_it_was_shown_and_written_again(time_ms: int) -> None:
    assert ceil_to_ms(timestamp(time_ms)) == time_ms


@given(
    st.lists(
        st.builds(
            OrganizationCard.of,
            st.sampled_from(["acme", "other"]),
            PRICES,
            TIMES,
            st.none() | st.integers(13, 14),
            created_at_ms=TIMES,
            created_by=st.sampled_from(["ada", "bob"]),
            description=st.sampled_from(["", "x"]),
        )
    )
)
def test_an_id_is_its_content(cards: list[OrganizationCard]) -> None:
    contents = {card.id: card for card in cards}
    assert all(contents[card.id] == card for card in cards)
    assert len(contents) == len(set(cards))

"""Holding money and letting go of it, on every store."""

from __future__ import annotations

from typing import Any

import pytest

from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.accounting.commands import NotFound, Reserve, Settle, Void
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.money import PicoUsdPerToken
from agent_executor.ledger.prices.rate_card import RateCard, Rates, Tier
from tests.contract.ledger.accounting_steps import (
    ask,
    gone,
    put,
    record,
    refused,
    renew,
    reserve,
    settle,
    status,
    stored,
    void,
)
from tests.unit.ledger.accounting_samples import (
    CARD,
    DAY_MS,
    HOUR_MS,
    NOW_MS,
    budget,
    entry,
    hold,
)

LATER_MS = NOW_MS + HOUR_MS


async def test_a_rate_card_is_read_as_it_was_stored(store: AccountingStore) -> None:
    await store.put_rate_card(CARD, "another source")
    assert await store.get_rate_card(CARD.id) == CARD
    assert await store.get_rate_card("unknown") is None


async def test_a_reservation_is_read_as_it_was_made(store: AccountingStore) -> None:
    made = hold(
        processing="batch", speed="fast", writes_cache=True, min_output_tokens=3, user_id="ada ü"
    )
    assert await ask(store, made) == made
    assert await stored(store, "call-1") == made
    assert await store.get_reservation("acme", "other", NOW_MS) is None
    assert await store.get_reservation("other", "call-1", NOW_MS) is None


async def test_a_hold_fits_to_the_last_nano_dollar(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=399))
    await reserve(store)
    refusal = await refused(store)
    assert refusal == Refusal(await status(store), hold().held_nano_usd)
    await reserve(store, "third", held_nano_usd=199)
    assert (await status(store)).left_nano_usd == 0


async def test_a_refused_id_can_be_used_later(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=1))
    await refused(store, "call-1")
    await put(store, budget(limit_nano_usd=200))
    await reserve(store, "call-1")


async def test_all_budgets_hold_or_none(store: AccountingStore) -> None:
    await put(store, budget("roomy", 10_000))
    await put(store, budget("tight", 250, user_id="ada"))
    await put(store, budget("elsewhere", 0, user_id="bob"))
    await reserve(store)
    refusal = await refused(store)
    assert refusal.status is not None
    assert refusal.status.budget.id == "tight"
    assert await gone(store, "roomy") == (0, 200)
    assert await gone(store, "tight") == (0, 200)
    assert await gone(store, "elsewhere") == (0, 0)


async def test_the_tightest_budget_is_named(store: AccountingStore) -> None:
    for budget_id, limit in (("c", 100), ("b", 50), ("a", 50), ("d", 500)):
        await put(store, budget(budget_id, limit))
    refusal = await refused(store)
    assert refusal.status is not None
    assert refusal.status.budget.id == "a"


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"user_id": "ada"},
        {"agent_id": "agent"},
        {"run_id": "run"},
        {"user_id": "ada", "agent_id": "agent"},
        {"user_id": "ada", "run_id": "run"},
        {"agent_id": "agent", "run_id": "run"},
        {"user_id": "ada", "agent_id": "agent", "run_id": "run"},
    ],
)
async def test_every_combination_of_identifiers_is_found(
    store: AccountingStore, scope: dict[str, Any]
) -> None:
    await put(store, budget(limit_nano_usd=2_000, **scope))
    for part in ("user_id", "agent_id", "run_id"):
        changes: dict[str, Any] = {part: "other"}
        await reserve(store, f"other {part}", **changes)
        await record(store, f"other {part}", **changes)
    missing = 3 - len(scope)
    assert await gone(store) == (100 * missing, 200 * missing)
    await reserve(store)
    await settle(store)
    assert await gone(store) == (100 * (missing + 1), 200 * missing)


async def test_who_is_not_named_is_not_counted_twice(store: AccountingStore) -> None:
    await put(store, budget())
    await put(store, budget("ada", user_id="ada"))
    await record(store, agent_id="", run_id="")
    assert await gone(store) == (100, 0)
    assert await gone(store, "ada") == (100, 0)


async def test_organizations_are_apart(store: AccountingStore) -> None:
    await put(store, budget())
    await store.put_budget(budget("all", 0, organization_id="other"), NOW_MS)
    outcomes = await store.apply(
        [
            Reserve(hold(), CARD),
            Reserve(hold(organization_id="other"), CARD),
            Void("other", "call-1"),
            Settle(entry(organization_id="other"), CARD),
            Settle(entry("second"), CARD),
        ],
        NOW_MS,
    )
    assert [type(one).__name__ for one in outcomes] == [
        "Reservation",
        "Refusal",
        "NotFound",
        "Recorded",
        "Recorded",
    ]
    assert await gone(store) == (100, 200)
    assert not await store.delete_budget("other", "unknown")
    assert await store.delete_budget("other", "all")
    assert await gone(store) == (100, 200)


async def test_commands_see_what_those_before_them_did(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=200))
    outcomes = await store.apply(
        [
            Reserve(hold("a"), CARD),
            Reserve(hold("b"), CARD),
            Reserve(hold("a", run_id="other"), CARD),
            Settle(entry("a"), CARD),
            Settle(entry("a"), CARD),
            Reserve(hold("c", held_nano_usd=100), CARD),
            Void("acme", "c"),
            Reserve(hold("d", held_nano_usd=101), CARD),
        ],
        NOW_MS,
    )
    assert isinstance(outcomes[1], Refusal)
    assert outcomes[2] == outcomes[0]
    assert outcomes[3].entry == outcomes[4].entry  # type: ignore[union-attr]  # both are Recorded
    assert isinstance(outcomes[5], Reservation)
    assert isinstance(outcomes[7], Refusal)
    assert await gone(store) == (100, 0)


# A repeat


async def test_a_repeat_gets_the_first_whatever_it_asks_for(store: AccountingStore) -> None:
    await put(store, budget())
    first = await reserve(store)
    again = await reserve(store, run_id="other", held_nano_usd=1, expires_at_ms=NOW_MS + DAY_MS)
    assert again == first
    assert await gone(store) == (0, 200)


async def test_a_repeat_tells_what_became_of_the_first(store: AccountingStore) -> None:
    for reservation_id in ("voided", "settled", "expired"):
        await reserve(store, reservation_id)
    await void(store, "voided")
    await settle(store, "settled")
    for reservation_id in ("voided", "settled", "expired"):
        repeated = await reserve(store, reservation_id, LATER_MS)
        assert repeated.state == reservation_id
        assert repeated.created_at_ms == NOW_MS


# Less output


def smaller(min_output_tokens: int = 1, **changes: Any) -> Reservation:
    return hold(min_output_tokens=min_output_tokens, **changes)


@pytest.mark.parametrize(("limit", "tokens"), [(199, 19), (195, 19), (194, 18), (105, 1)])
async def test_as_much_output_is_held_as_fits(
    store: AccountingStore, limit: int, tokens: int
) -> None:
    await put(store, budget(limit_nano_usd=limit))
    await put(store, budget("roomy", 150 + limit))
    answer = await ask(store, smaller())
    assert isinstance(answer, Reservation)
    assert answer == smaller(
        max_output_tokens=tokens, asked_output_tokens=20, held_nano_usd=100 + 5 * tokens
    )
    assert answer == await stored(store, "call-1")
    assert await gone(store) == (0, answer.held_nano_usd)


async def test_less_than_the_least_output_is_refused(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=149))
    refusal = await ask(store, smaller(10))
    assert refusal == Refusal(await status(store), hold(held_nano_usd=150).held_nano_usd)
    await put(store, budget(limit_nano_usd=150))
    answer = await ask(store, smaller(10))
    assert isinstance(answer, Reservation)
    assert answer.max_output_tokens == 10


async def test_all_output_is_held_if_it_fits(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=200))
    assert await ask(store, smaller()) == smaller()


async def test_less_output_is_found_in_the_right_tier(store: AccountingStore) -> None:
    cheap, dear = (Rates(*[PicoUsdPerToken(rate)] * 5) for rate in (1_000, 4_000))
    tiered = RateCard.of(provider="test", model="tiered", base=cheap, tiers=(Tier(50, dear),))
    await store.put_rate_card(tiered, "test")
    await put(store, budget(limit_nano_usd=443))
    answer = await ask(store, smaller(held_nano_usd=480, rate_card_id=tiered.id), card=tiered)
    assert isinstance(answer, Reservation)
    assert (answer.max_output_tokens, answer.held_nano_usd) == (10, 440)


# Voiding and renewing


async def test_voiding_frees_the_hold_once(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    await reserve(store, "call-2")
    for _ in range(2):
        voided = await void(store, "call-1")
        assert voided == hold(state="voided", remaining_nano_usd=0)
    assert await gone(store) == (0, 200)


async def test_what_never_was_cannot_be_voided_or_renewed(store: AccountingStore) -> None:
    assert await void(store, "unknown") == NotFound("reservation")
    assert await renew(store, "unknown", LATER_MS) == NotFound("reservation")


async def test_voiding_leaves_a_settled_reservation_as_it_is(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    await settle(store)
    assert await void(store, "call-1") == hold(state="settled", remaining_nano_usd=0)
    assert await gone(store) == (100, 0)


async def test_a_renewed_hold_ends_later(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    renewed = await renew(store, "call-1", LATER_MS + 1, LATER_MS - 1)
    assert renewed == hold(expires_at_ms=LATER_MS + 1)
    assert await gone(store, now_ms=LATER_MS) == (0, 200)
    assert await gone(store, now_ms=LATER_MS + 1) == (0, 0)


async def test_a_hold_never_ends_earlier(store: AccountingStore) -> None:
    await reserve(store)
    assert await renew(store, "call-1", NOW_MS + 1) == hold()
    assert await stored(store, "call-1") == hold()


async def test_an_ended_hold_is_not_renewed(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    await reserve(store, "voided")
    await void(store, "voided")
    for reservation_id, state in (("voided", "voided"), ("call-1", "expired")):
        answer = await renew(store, reservation_id, NOW_MS + DAY_MS, LATER_MS)
        assert isinstance(answer, Reservation)
        assert (answer.state, answer.expires_at_ms) == (state, LATER_MS)
    assert await gone(store, now_ms=LATER_MS) == (0, 0)


# Expiry


async def test_an_expired_hold_holds_nothing(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=200))
    await reserve(store)
    await refused(store, "call-2", LATER_MS - 1)
    await reserve(store, "call-2", LATER_MS)
    assert await gone(store, now_ms=LATER_MS) == (0, 200)
    assert await stored(store, "call-1", LATER_MS) == hold(state="expired", remaining_nano_usd=0)


@pytest.mark.parametrize("end", ["settle", "void"])
async def test_a_hold_that_has_expired_unseen_is_freed_once(
    store: AccountingStore, end: str
) -> None:
    await put(store, budget())
    await reserve(store)
    await reserve(store, "call-2", ttl_ms=DAY_MS)
    settled = 0
    expired = hold(state="expired", remaining_nano_usd=0)
    if end == "settle":
        await settle(store, now_ms=LATER_MS)
        settled = 100
    else:
        assert await void(store, "call-1", LATER_MS) == expired
    assert await stored(store, "call-1", LATER_MS) == expired
    assert await gone(store, now_ms=LATER_MS) == (settled, 200)


async def test_a_budget_tells_of_expired_holds_without_a_new_one(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    assert await gone(store, now_ms=LATER_MS - 1) == (0, 200)
    assert await gone(store, now_ms=LATER_MS) == (0, 0)

"""Settling, recording, correcting and rating again, on every store."""

from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting.commands import (
    Correct,
    NotFound,
    Record,
    Recorded,
    Reserve,
    Settle,
    Unchanged,
)
from agent_executor.ledger.accounting.entry import Purpose
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from tests.contract.ledger.accounting_steps import (
    ask,
    correct,
    do,
    gone,
    put,
    record,
    rerate,
    reserve,
    settle,
    stored,
    void,
)
from tests.unit.ledger.accounting_samples import (
    CARD,
    DAY_MS,
    DEARER,
    DEARER_MODEL,
    HOUR_MS,
    MIDNIGHT_MS,
    NOW_MS,
    RAISED,
    budget,
    entry,
    hold,
    priced,
    tool_entry,
)

LATER_MS = NOW_MS + HOUR_MS

# Settling


async def test_an_entry_is_read_as_it_was_written(store: AccountingStore) -> None:
    await reserve(store)
    changes: dict[str, Any] = {
        "usage": TokenCounts(1, 2, 3, 4, 5),
        "estimated": True,
        "is_test": True,
        "attempt": 3,
        "description": "why",
        "purpose": Purpose("digest", 1, 2, is_background=True),
        "occurred_at_ms": NOW_MS - 5,
    }
    settled = await settle(store, now_ms=NOW_MS + 5, **changes)
    assert settled.is_new
    assert settled.entry == entry(
        cost_nano_usd=1 + 2 * 5 + 3 + 4 * 2 + 5 * 3,
        rate_card_id=CARD.id,
        reservation_outcome="open",
        created_at_ms=NOW_MS + 5,
        **changes,
    )
    repeated = await settle(store)
    assert (repeated.entry, repeated.is_new) == (settled.entry, False)


async def test_settling_frees_the_hold(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    await settle(store)
    assert await gone(store) == (100, 0)
    after = await stored(store, "call-1", NOW_MS + DAY_MS)
    assert after == hold(state="settled", remaining_nano_usd=0)


async def test_usage_that_was_not_held_counts(store: AccountingStore) -> None:
    await put(store, budget())
    without = await settle(store, "none", reservation_id="")
    unknown = await settle(store, "unknown")
    assert without.entry.reservation_outcome == "none"
    assert unknown.entry.reservation_outcome == "unknown"
    assert await gone(store) == (200, 0)


async def test_usage_of_an_ended_hold_counts(store: AccountingStore) -> None:
    await put(store, budget())
    for reservation_id in ("voided", "settled", "expired"):
        await reserve(store, reservation_id)
    await void(store, "voided")
    await settle(store, "settled")
    for state in ("voided", "settled", "expired"):
        late = await settle(store, f"late {state}", LATER_MS, reservation_id=state)
        assert late.entry.reservation_outcome == state
        assert (await stored(store, state, LATER_MS)).state == state
    assert await gone(store, now_ms=LATER_MS) == (400, 0)


async def test_each_hold_frees_what_it_held_whoever_settles_it(store: AccountingStore) -> None:
    await put(store, budget("ada", user_id="ada"))
    await put(store, budget("bob", user_id="bob"))
    await reserve(store)
    await settle(store, user_id="bob")
    assert await gone(store, "ada") == (0, 0)
    assert await gone(store, "bob") == (100, 0)


async def test_an_entry_is_priced_by_the_card_it_was_held_at(store: AccountingStore) -> None:
    await reserve(store)
    held = await settle(store, card=RAISED)
    assert (held.entry.rate_card_id, held.entry.cost_nano_usd) == (CARD.id, 100)
    free = await settle(store, "free", card=RAISED, reservation_id="")
    assert (free.entry.rate_card_id, free.entry.cost_nano_usd) == (RAISED.id, 700)


async def test_in_one_batch_too_an_entry_is_priced_by_the_card_it_was_held_at(
    store: AccountingStore,
) -> None:
    outcomes = await store.apply([Reserve(hold(), CARD), Settle(entry(), RAISED)], NOW_MS)
    assert isinstance(outcomes[1], Recorded)
    assert outcomes[1].entry.rate_card_id == CARD.id


@pytest.mark.parametrize(
    "changes", [{"model": DEARER_MODEL}, {"processing": "batch"}, {"speed": "fast"}]
)
async def test_another_call_than_was_held_for_is_priced_by_its_own_card(
    store: AccountingStore, changes: dict[str, Any]
) -> None:
    await reserve(store)
    settled = await settle(store, card=DEARER, **changes)
    assert (settled.entry.rate_card_id, settled.entry.cost_nano_usd) == (DEARER.id, 1_000)
    assert settled.entry.reservation_outcome == "open"


async def test_tool_calls_are_entered_along_once_each(store: AccountingStore) -> None:
    await put(store, budget())
    await settle(store, tools=(tool_entry("t-1", 7), tool_entry("t-2"), tool_entry("t-2", 50)))
    assert await gone(store) == (107, 0)
    second = await settle(store, "call-2", tools=(tool_entry("t-1", 999), tool_entry("t-3", 1)))
    assert [one.id for one in second.tool_entries] == ["t-3"]
    assert await gone(store) == (208, 0)
    again = await settle(store, "call-2", tools=(tool_entry("t-4", 1),))
    assert (again.is_new, again.tool_entries) == (False, ())
    assert await gone(store) == (208, 0)


async def test_an_entry_beyond_all_sums_is_refused_and_nothing_is_changed(
    store: AccountingStore,
) -> None:
    await put(store, budget())
    await reserve(store)
    beyond = priced("beyond", 9_000_000 * 10**9 + 1)
    with pytest.raises(InvalidArgumentError):
        await store.apply([Settle(entry(), CARD), Record(beyond)], NOW_MS)
    assert await gone(store) == (0, 200)
    assert (await settle(store)).is_new
    assert (await record(store, "least", -9_000_000 * 10**9)).is_new


# Recording


async def test_what_is_recorded_counts_at_the_time_it_occurred(store: AccountingStore) -> None:
    await put(store, budget("day", window="day"))
    await put(store, budget("total"))
    await put(store, budget("month", window="month"), MIDNIGHT_MS)
    recorded = await record(store, occurred_at_ms=MIDNIGHT_MS - 1, now_ms=MIDNIGHT_MS)
    assert recorded.is_new
    assert recorded.entry == priced(occurred_at_ms=MIDNIGHT_MS - 1, created_at_ms=MIDNIGHT_MS)
    assert await gone(store, "day", MIDNIGHT_MS - 1) == (100, 0)
    assert await gone(store, "day", MIDNIGHT_MS) == (0, 0)
    assert await gone(store, "total", MIDNIGHT_MS) == (100, 0)
    assert await gone(store, "month", MIDNIGHT_MS) == (100, 0)


async def test_a_record_is_made_once(store: AccountingStore) -> None:
    await put(store, budget())
    first = await record(store)
    again = await record(store, cost_nano_usd=7)
    assert (again.entry, again.is_new, again.events) == (first.entry, False, ())
    assert await gone(store) == (100, 0)


async def test_an_adjustment_may_give_money_back(store: AccountingStore) -> None:
    await put(store, budget())
    await record(store)
    given = await record(store, "refund", -150, kind="adjustment", model="", rate_card_id="")
    assert given.entry.cost_nano_usd == -150
    assert await gone(store) == (-50, 0)


# Correcting


async def test_a_correction_is_the_difference(store: AccountingStore) -> None:
    await put(store, budget())
    await settle(store, processing="batch", is_test=True, estimated=True)
    corrected = await correct(store, "fix", TokenUsage(40, 12, 5), LATER_MS)
    assert isinstance(corrected, Recorded)
    assert corrected.is_new
    assert corrected.entry == entry(
        "fix",
        kind="correction",
        processing="batch",
        is_test=True,
        reservation_id="",
        usage=TokenCounts(-10, 2, 5),
        cost_nano_usd=5,
        rate_card_id=CARD.id,
        corrects_entry_id="call-1",
        description="the provider's count",
        occurred_at_ms=NOW_MS,
        created_at_ms=LATER_MS,
    )
    assert await gone(store) == (105, 0)


async def test_a_second_correction_counts_the_first(store: AccountingStore) -> None:
    await put(store, budget())
    await settle(store)
    await correct(store, "fix-1", TokenUsage(60, 10))
    second = await correct(store, "fix-2", TokenUsage(40, 10))
    assert isinstance(second, Recorded)
    assert (second.entry.usage, second.entry.cost_nano_usd) == (TokenCounts(-20), -20)
    third = await correct(store, "fix-3", TokenUsage(40, 10))
    assert isinstance(third, Recorded)
    assert (third.entry.usage, third.entry.cost_nano_usd) == (TokenCounts(), 0)
    assert await gone(store) == (90, 0)


async def test_a_repeated_correction_tells_what_the_first_one_said(store: AccountingStore) -> None:
    await settle(store)
    first = await correct(store, "fix-1", TokenUsage(60, 10))
    await correct(store, "fix-2", TokenUsage(40, 10))
    again = await correct(store, "fix-1", TokenUsage(1, 1))
    assert isinstance(first, Recorded)
    assert isinstance(again, Recorded)
    assert (again.entry, again.is_new) == (first.entry, False)
    assert again.corrected_usage == TokenCounts(60, 10)


async def test_a_correction_repeated_for_another_call_tells_no_usage(
    store: AccountingStore,
) -> None:
    """Whoever asked is refused, since the entry says something else."""
    first = await settle(store)
    await correct(store, "fix", TokenUsage(60, 10))
    for other in ("call-2", "unknown"):
        asked = entry("fix", kind="correction", reservation_id="", corrects_entry_id=other)
        same = entry("call-1", reservation_id="")
        outcomes = await store.apply([Settle(same, CARD), Correct(asked, TokenUsage())], NOW_MS)
        assert isinstance(first, Recorded)
        assert isinstance(outcomes[1], Recorded)
        assert (outcomes[1].entry.corrects_entry_id, outcomes[1].is_new) == ("call-1", False)
        assert outcomes[1].corrected_usage is None


async def test_only_a_model_call_is_corrected(store: AccountingStore) -> None:
    assert await correct(store, "fix", TokenUsage()) == NotFound("entry")
    assert await rerate(store, "again", RAISED) == NotFound("entry")
    for other in (
        tool_entry(),
        priced("adjustment", kind="adjustment", model="", rate_card_id=""),
        priced("without card", rate_card_id=""),
    ):
        await do(store, Record(other))
        assert await correct(store, "fix", TokenUsage(), corrects=other.id) == Unchanged(other)
    await settle(store)
    fix = await correct(store, "fix", TokenUsage())
    assert isinstance(fix, Recorded)
    assert await correct(store, "fix of fix", TokenUsage(), corrects="fix") == Unchanged(fix.entry)
    assert await rerate(store, "again", RAISED, corrects="fix") == Unchanged(fix.entry)


async def test_what_is_corrected_may_be_recorded_in_the_same_batch(store: AccountingStore) -> None:
    asked = entry("fix", kind="correction", reservation_id="", corrects_entry_id="entry-1")
    outcomes = await store.apply([Record(priced()), Correct(asked, TokenUsage(51, 10))], NOW_MS)
    assert isinstance(outcomes[1], Recorded)
    assert outcomes[1].entry.cost_nano_usd == 1


# Rating again


async def test_a_rerating_is_the_difference_in_price(store: AccountingStore) -> None:
    await put(store, budget())
    await settle(store)
    await correct(store, "fix", TokenUsage(60, 10))
    rerated = await rerate(store, "again", RAISED, LATER_MS)
    assert isinstance(rerated, Recorded)
    assert rerated.entry == entry(
        "again",
        kind="rerating",
        reservation_id="",
        usage=TokenCounts(),
        cost_nano_usd=6 * 110,
        rate_card_id=RAISED.id,
        corrects_entry_id="call-1",
        occurred_at_ms=NOW_MS,
        created_at_ms=LATER_MS,
    )
    assert await gone(store) == (770, 0)


async def test_to_rate_again_by_the_same_card_changes_nothing(store: AccountingStore) -> None:
    settled = await settle(store)
    assert await rerate(store, "again", CARD) == Unchanged(settled.entry)
    first = await rerate(store, "raised", RAISED)
    assert isinstance(first, Recorded)
    assert await rerate(store, "twice", RAISED) == Unchanged(settled.entry)
    again = await rerate(store, "raised", CARD)
    assert isinstance(again, Recorded)
    assert (again.entry, again.is_new) == (first.entry, False)
    back = await rerate(store, "back", CARD)
    assert isinstance(back, Recorded)
    assert back.entry.cost_nano_usd == -600


async def test_a_correction_after_a_rerating_keeps_the_new_price(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=10_000))
    await settle(store)
    await rerate(store, "raised", RAISED)
    await correct(store, "fix", TokenUsage(60, 10))
    assert await gone(store) == (770, 0)


async def test_asking_twice_at_once_is_asking_once(store: AccountingStore) -> None:
    await put(store, budget())
    first, second = await store.apply([Record(priced()), Record(priced())], NOW_MS)
    assert isinstance(first, Recorded)
    assert isinstance(second, Recorded)
    assert (first.is_new, second.is_new) == (True, False)
    assert await gone(store) == (100, 0)
    assert await ask(store, hold()) == hold()

"""What every store of the ledger must do, on every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_executor.ledger.accounting.budget import BudgetStatus, Overrun, Refusal
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import LedgerStore
from agent_executor.ledger.accounting.store_memory import MemoryLedgerStore
from agent_executor.ledger.accounting.store_sqlite import SqliteLedgerStore
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.reports.usage_query import EntryFilter, UsageSummary
from tests.unit.ledger.samples import (
    CARD,
    DAY_MS,
    DEARER_MODEL,
    HOUR_MS,
    NOW_MS,
    budget,
    card,
    hold,
    settlement,
)

DEARER = card(DEARER_MODEL, 10)
RAISED = card(nano_usd_per_token=7)
MIDNIGHT_MS = NOW_MS - NOW_MS % DAY_MS + DAY_MS


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LedgerStore]:
    """Yields each adapter, with the rate cards that the tests price by."""
    store: LedgerStore = MemoryLedgerStore()
    if request.param == "sqlite":
        store = await SqliteLedgerStore.open(tmp_path / "ledger" / "ledger.sqlite3")
    for one in (CARD, DEARER, RAISED):
        await store.put_rate_card(one, "test")
    yield store
    await store.close()


async def status(store: LedgerStore, budget_id: str = "all", now_ms: int = NOW_MS) -> BudgetStatus:
    found = await store.get_budget("acme", budget_id, now_ms)
    assert found is not None
    return found


async def gone(store: LedgerStore, budget_id: str = "all", now_ms: int = NOW_MS) -> tuple[int, int]:
    """Returns what is settled and what is held of a budget."""
    found = await status(store, budget_id, now_ms)
    return found.settled_nano_usd, found.reserved_nano_usd


async def record(store: LedgerStore, entry_id: str, now_ms: int = NOW_MS, **changes: Any) -> None:
    settled = await store.settle(settlement(entry_id, reservation_id="", **changes), CARD, now_ms)
    assert settled.is_new


# Rate cards


async def test_a_rate_card_is_read_as_it_was_stored(store: LedgerStore) -> None:
    await store.put_rate_card(CARD, "another source")
    assert await store.get_rate_card(CARD.id) == CARD
    assert await store.get_rate_card("unknown") is None


# Reservations


async def test_a_reservation_is_read_as_it_was_made(store: LedgerStore) -> None:
    made = hold(writes_cache=True)
    assert await store.reserve(made) == made
    assert await store.get_reservation("acme", "call-1", NOW_MS) == made
    assert await store.get_reservation("acme", "other", NOW_MS) is None
    assert await store.get_reservation("other", "call-1", NOW_MS) is None


async def test_a_repeat_gets_the_first_whatever_it_asks_for(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    first = await store.reserve(hold())
    assert await store.reserve(hold(run_id="other", held_nano_usd=NanoUsd(1))) == first
    assert await gone(store) == (0, 200)


async def test_a_repeat_that_would_not_fit_gets_the_first(store: LedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=200), NOW_MS)
    first = await store.reserve(hold())
    assert await store.reserve(hold()) == first
    assert isinstance(await store.reserve(hold("call-2")), Refusal)


async def test_a_repeat_tells_what_became_of_the_first(store: LedgerStore) -> None:
    for reservation_id in ("voided", "settled", "expired"):
        await store.reserve(hold(reservation_id))
    await store.void("acme", "voided", NOW_MS)
    await store.settle(settlement("settled"), CARD, NOW_MS)
    for reservation_id in ("voided", "settled", "expired"):
        repeated = await store.reserve(
            hold(reservation_id, created_at_ms=NOW_MS + HOUR_MS, expires_at_ms=NOW_MS + DAY_MS)
        )
        assert isinstance(repeated, Reservation)
        assert repeated.state == reservation_id
        assert repeated.created_at_ms == NOW_MS


async def test_a_hold_fits_to_the_last_nano_dollar(store: LedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=399), NOW_MS)
    await store.reserve(hold("first"))
    refusal = await store.reserve(hold("second"))
    assert isinstance(refusal, Refusal)
    assert refusal.status == await status(store)
    assert refusal.worst_case_nano_usd == 200
    assert await store.get_reservation("acme", "second", NOW_MS) is None
    assert isinstance(await store.reserve(hold("third", held_nano_usd=NanoUsd(199))), Reservation)
    assert (await status(store)).left_nano_usd == 0


async def test_a_refused_id_can_be_used_later(store: LedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=1), NOW_MS)
    assert isinstance(await store.reserve(hold()), Refusal)
    await store.put_budget(budget(limit_nano_usd=200), NOW_MS)
    assert isinstance(await store.reserve(hold()), Reservation)


async def test_a_limit_of_zero_lets_nothing_pass(store: LedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=0), NOW_MS)
    assert isinstance(await store.reserve(hold(held_nano_usd=NanoUsd(1))), Refusal)


async def test_all_budgets_hold_or_none(store: LedgerStore) -> None:
    await store.put_budget(budget("roomy", 10_000), NOW_MS)
    await store.put_budget(budget("tight", 250, user_id="ada"), NOW_MS)
    await store.put_budget(budget("elsewhere", 0, user_id="bob"), NOW_MS)
    await store.reserve(hold("first"))
    refusal = await store.reserve(hold("second"))
    assert isinstance(refusal, Refusal)
    assert refusal.status.budget.id == "tight"
    assert await gone(store, "roomy") == (0, 200)
    assert await gone(store, "tight") == (0, 200)
    assert await gone(store, "elsewhere") == (0, 0)


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
    store: LedgerStore, scope: dict[str, Any]
) -> None:
    await store.put_budget(budget(**scope), NOW_MS)
    for part in ("user_id", "agent_id", "run_id"):
        changes: dict[str, Any] = {part: "other"}
        await store.reserve(hold(f"other {part}", **changes))
        await record(store, f"other {part}", **changes)
    missing = 3 - len(scope)
    assert await gone(store) == (100 * missing, 200 * missing)
    await store.reserve(hold())
    await store.settle(settlement(), CARD, NOW_MS)
    assert await gone(store) == (100 * (missing + 1), 200 * missing)


async def test_organizations_are_apart(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    await store.put_budget(budget("all", 0, organization_id="other"), NOW_MS)
    assert isinstance(await store.reserve(hold()), Reservation)
    assert isinstance(await store.reserve(hold(organization_id="other")), Refusal)
    assert await store.void("other", "call-1", NOW_MS) is None
    settled = await store.settle(settlement(organization_id="other"), CARD, NOW_MS)
    assert settled.entry.reservation_outcome == "unknown"
    assert await gone(store) == (0, 200)
    assert not await store.delete_budget("other", "unknown")
    assert await store.delete_budget("other", "all")
    assert await gone(store) == (0, 200)


# Settling


async def test_an_entry_is_read_as_it_was_written(store: LedgerStore) -> None:
    await store.reserve(hold())
    usage = TokenUsage(1, 2, 3, 4, 5)
    settled = await store.settle(
        settlement(usage=usage, estimated=True, is_test=True, attempt=3), CARD, NOW_MS + 5
    )
    assert settled.is_new
    assert settled.entry.usage == usage
    assert settled.entry.cost_nano_usd == 1 + 2 * 5 + 3 + 4 * 2 + 5 * 3
    assert await store.entries("acme", EntryFilter(), 10) == [settled.entry]


async def test_settling_frees_the_hold(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    await store.reserve(hold())
    await store.settle(settlement(), CARD, NOW_MS)
    assert await gone(store) == (100, 0)
    reservation = await store.get_reservation("acme", "call-1", NOW_MS + DAY_MS)
    assert reservation is not None
    assert reservation.state == "settled"


async def test_an_id_counts_once(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    await store.reserve(hold())
    await store.reserve(hold("call-2"))
    first = await store.settle(settlement(), CARD, NOW_MS)
    for changes in ({}, {"usage": TokenUsage(1, 1)}, {"reservation_id": "call-2"}):
        again = await store.settle(settlement(**changes), DEARER, NOW_MS + 1)
        assert (again.entry, again.is_new, again.overruns) == (first.entry, False, ())
    assert await gone(store) == (100, 200)
    assert len(await store.entries("acme", EntryFilter(), 10) or ()) == 1


async def test_usage_that_was_not_held_counts(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    without = await store.settle(settlement("none", reservation_id=""), CARD, NOW_MS)
    unknown = await store.settle(settlement("unknown"), CARD, NOW_MS)
    assert without.entry.reservation_outcome == "none"
    assert unknown.entry.reservation_outcome == "unknown"
    assert await gone(store) == (200, 0)


async def test_usage_of_an_ended_hold_counts(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    for reservation_id in ("voided", "settled", "expired"):
        await store.reserve(hold(reservation_id))
    await store.void("acme", "voided", NOW_MS)
    await store.settle(settlement("settled"), CARD, NOW_MS)
    for state in ("voided", "settled", "expired"):
        late = await store.settle(
            settlement(f"late {state}", reservation_id=state), CARD, NOW_MS + HOUR_MS
        )
        assert late.entry.reservation_outcome == state
        after = await store.get_reservation("acme", state, NOW_MS + HOUR_MS)
        assert after is not None
        assert after.state == state
    assert await gone(store, now_ms=NOW_MS + HOUR_MS) == (400, 0)


async def test_each_hold_frees_what_it_held_whoever_settles_it(store: LedgerStore) -> None:
    await store.put_budget(budget("ada", user_id="ada"), NOW_MS)
    await store.put_budget(budget("bob", user_id="bob"), NOW_MS)
    await store.reserve(hold())
    await store.settle(settlement(user_id="bob"), CARD, NOW_MS)
    assert await gone(store, "ada") == (0, 0)
    assert await gone(store, "bob") == (100, 0)


async def test_an_entry_is_priced_by_the_card_it_was_held_at(store: LedgerStore) -> None:
    await store.reserve(hold())
    held = await store.settle(settlement(), RAISED, NOW_MS)
    assert (held.entry.rate_card_id, held.entry.cost_nano_usd) == (CARD.id, 100)
    free = await store.settle(settlement("free", reservation_id=""), RAISED, NOW_MS)
    assert (free.entry.rate_card_id, free.entry.cost_nano_usd) == (RAISED.id, 700)


async def test_another_model_is_priced_by_its_own_card(store: LedgerStore) -> None:
    await store.reserve(hold())
    settled = await store.settle(settlement(model=DEARER_MODEL), DEARER, NOW_MS)
    assert (settled.entry.rate_card_id, settled.entry.cost_nano_usd) == (DEARER.id, 1_000)


# Voiding and expiring


async def test_voiding_frees_the_hold_once(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    await store.reserve(hold())
    await store.reserve(hold("call-2"))
    for _ in range(2):
        voided = await store.void("acme", "call-1", NOW_MS)
        assert voided == hold(state="voided")
    assert await gone(store) == (0, 200)
    assert await store.void("acme", "unknown", NOW_MS) is None


async def test_voiding_leaves_a_settled_reservation_as_it_is(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    await store.reserve(hold())
    await store.settle(settlement(), CARD, NOW_MS)
    voided = await store.void("acme", "call-1", NOW_MS)
    assert voided is not None
    assert voided.state == "settled"
    assert await gone(store) == (100, 0)


async def test_an_expired_hold_holds_nothing(store: LedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=200), NOW_MS)
    await store.reserve(hold())
    last = NOW_MS + HOUR_MS - 1
    later = {"created_at_ms": last, "expires_at_ms": last + HOUR_MS}
    assert isinstance(await store.reserve(hold("call-2", **later)), Refusal)
    later = {"created_at_ms": last + 1, "expires_at_ms": last + HOUR_MS}
    assert isinstance(await store.reserve(hold("call-2", **later)), Reservation)
    assert await gone(store, now_ms=last + 1) == (0, 200)
    expired = await store.get_reservation("acme", "call-1", last + 1)
    assert expired == hold(state="expired")


@pytest.mark.parametrize("end", ["settle", "void"])
async def test_a_hold_that_has_expired_unseen_is_freed_once(store: LedgerStore, end: str) -> None:
    await store.put_budget(budget(), NOW_MS)
    await store.reserve(hold())
    await store.reserve(hold("call-2", expires_at_ms=NOW_MS + DAY_MS))
    later = NOW_MS + HOUR_MS
    settled = 0
    if end == "settle":
        await store.settle(settlement(), CARD, later)
        settled = 100
    else:
        assert await store.void("acme", "call-1", later) == hold(state="expired")
    assert await store.get_reservation("acme", "call-1", later) == hold(state="expired")
    assert await gone(store, now_ms=later) == (settled, 200)


async def test_a_budget_tells_of_expired_holds_without_a_new_one(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    await store.reserve(hold())
    assert await gone(store, now_ms=NOW_MS + HOUR_MS - 1) == (0, 200)
    assert await gone(store, now_ms=NOW_MS + HOUR_MS) == (0, 0)


# Budgets


async def test_a_budget_counts_what_was_before_it(store: LedgerStore) -> None:
    await record(store, "yesterday", MIDNIGHT_MS - 1)
    await record(store, "today", MIDNIGHT_MS)
    await record(store, "of bob", MIDNIGHT_MS, user_id="bob")
    await store.reserve(hold("expired"))
    await store.reserve(hold("open", expires_at_ms=MIDNIGHT_MS + DAY_MS))
    await store.reserve(hold("bob", user_id="bob", expires_at_ms=MIDNIGHT_MS + DAY_MS))
    for window, settled in (("total", 200), ("day", 100), ("month", 200)):
        put, _ = await store.put_budget(budget(window, window=window, user_id="ada"), MIDNIGHT_MS)
        assert (put.settled_nano_usd, put.reserved_nano_usd) == (settled, 200)
        assert put == await status(store, window, MIDNIGHT_MS)


async def test_a_window_begins_with_nothing_settled_and_what_is_held(store: LedgerStore) -> None:
    await store.put_budget(budget("day", 500, window="day"), NOW_MS)
    await store.put_budget(budget("month", 500, window="month"), NOW_MS)
    await store.reserve(hold("overnight", expires_at_ms=MIDNIGHT_MS + HOUR_MS))
    await record(store, "yesterday")
    assert await gone(store, "day", MIDNIGHT_MS - 1) == (100, 200)
    assert await gone(store, "day", MIDNIGHT_MS) == (0, 200)
    assert await gone(store, "month", MIDNIGHT_MS) == (100, 200)
    assert (await status(store, "day", MIDNIGHT_MS)).resets_at_ms == MIDNIGHT_MS + DAY_MS
    await store.settle(settlement("overnight"), CARD, MIDNIGHT_MS)
    assert await gone(store, "day", MIDNIGHT_MS) == (100, 0)
    assert await gone(store, "month", MIDNIGHT_MS) == (200, 0)


async def test_an_entry_counts_in_the_window_of_its_own_time(store: LedgerStore) -> None:
    await store.put_budget(budget("day", 500, window="day"), NOW_MS)
    await record(store, "after", MIDNIGHT_MS)
    # The clock of two writers, or of one that is set back, does not lose anything.
    await record(store, "before", MIDNIGHT_MS - 1)
    assert await gone(store, "day", MIDNIGHT_MS) == (100, 0)
    assert await gone(store, "day", MIDNIGHT_MS - 1) == (100, 0)


async def test_a_new_limit_leaves_the_balances(store: LedgerStore) -> None:
    await store.put_budget(budget(), NOW_MS)
    await store.reserve(hold())
    await record(store, "spent")
    put, overrun = await store.put_budget(budget(limit_nano_usd=300), NOW_MS)
    assert (put.settled_nano_usd, put.reserved_nano_usd, put.left_nano_usd) == (100, 200, 0)
    assert overrun is None


async def test_what_a_budget_covers_does_not_change(store: LedgerStore) -> None:
    first, _ = await store.put_budget(budget(), NOW_MS)
    for changes in ({"window": "day"}, {"user_id": "ada"}):
        put, _ = await store.put_budget(budget(limit_nano_usd=1, **changes), NOW_MS)
        assert put == first
    assert await status(store) == first


async def test_a_deleted_budget_begins_anew(store: LedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=0), NOW_MS)
    assert await store.delete_budget("acme", "all")
    assert not await store.delete_budget("acme", "all")
    assert await store.get_budget("acme", "all", NOW_MS) is None
    await store.reserve(hold())
    await record(store, "spent")
    put, _ = await store.put_budget(budget(), NOW_MS)
    assert (put.settled_nano_usd, put.reserved_nano_usd) == (100, 200)


async def test_budgets_are_listed_by_id(store: LedgerStore) -> None:
    for budget_id in ("c", "a", "b", "d"):
        await store.put_budget(budget(budget_id), NOW_MS)
    await store.put_budget(budget("aa", organization_id="other"), NOW_MS)
    await store.reserve(hold())
    listed = await store.list_budgets("acme", NOW_MS, 2, "a")
    assert [one.budget.id for one in listed] == ["b", "c"]
    assert listed[0] == await status(store, "b")
    assert await store.list_budgets("acme", NOW_MS, 10, "d") == []


# Overruns


async def test_usage_above_its_hold_is_an_overrun(store: LedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=250), NOW_MS)
    await store.reserve(hold())
    settled = await store.settle(settlement(usage=TokenUsage(300)), CARD, NOW_MS + 1)
    assert settled.overruns == (Overrun("all", "call-1", 50, NOW_MS + 1),)
    assert isinstance(await store.reserve(hold("call-2", held_nano_usd=NanoUsd(0))), Refusal)


async def test_an_expired_hold_is_no_part_of_an_overrun(store: LedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=250), NOW_MS)
    await store.reserve(hold("expired"))
    later = NOW_MS + HOUR_MS
    within = await store.settle(settlement("1", reservation_id=""), CARD, later)
    assert within.overruns == ()
    usage = TokenUsage(151)
    beyond = await store.settle(settlement("2", reservation_id="", usage=usage), CARD, later)
    assert beyond.overruns == (Overrun("all", "2", 1, later),)


async def test_usage_within_its_hold_is_none(store: LedgerStore) -> None:
    await store.put_budget(budget(limit_nano_usd=200), NOW_MS)
    await store.reserve(hold())
    put, lowered = await store.put_budget(budget(limit_nano_usd=50), NOW_MS)
    assert lowered == Overrun("all", "", 150, NOW_MS)
    assert put.left_nano_usd == -150
    # It brings the budget nearer to its limit.
    settled = await store.settle(settlement(), CARD, NOW_MS)
    assert settled.overruns == ()
    assert (await status(store)).left_nano_usd == -50


# Reading


async def test_entries_are_listed_newest_first(store: LedgerStore) -> None:
    await record(store, "a", NOW_MS)
    await record(store, "b", NOW_MS + 1)
    await record(store, "c", NOW_MS + 1)
    await record(store, "foreign", NOW_MS, organization_id="other")
    listed = await store.entries("acme", EntryFilter(), 10)
    assert listed is not None
    assert [entry.id for entry in listed] == ["c", "b", "a"]
    assert [entry.id for entry in await store.entries("acme", EntryFilter(), 1, "c") or ()] == ["b"]
    assert await store.entries("acme", EntryFilter(), 10, "a") == []
    assert await store.entries("acme", EntryFilter(), 10, "foreign") is None
    assert await store.newest_entry_id("acme") == "c"
    assert await store.newest_entry_id("nobody") == ""


@pytest.mark.parametrize(
    ("entry_filter", "ids"),
    [
        (EntryFilter(), "dcba"),
        (EntryFilter(run_id="run-2"), "db"),
        (EntryFilter(agent_id="agent-2"), "dc"),
        (EntryFilter(user_id="bob"), "d"),
        (EntryFilter(model=DEARER_MODEL), "b"),
        (EntryFilter(run_id="run-2", agent_id="agent-2"), "d"),
        (EntryFilter(run_id="run-2", user_id="nobody"), ""),
        (EntryFilter(start_ms=NOW_MS + 1), "dcb"),
        (EntryFilter(end_ms=NOW_MS + 2), "ba"),
        (EntryFilter(start_ms=NOW_MS + 1, end_ms=NOW_MS + 2), "b"),
        (EntryFilter(start_ms=0, end_ms=0), ""),
    ],
)
async def test_filters_must_all_match(
    store: LedgerStore, entry_filter: EntryFilter, ids: str
) -> None:
    await record(store, "a", NOW_MS)
    await record(store, "b", NOW_MS + 1, run_id="run-2", model=DEARER_MODEL)
    await record(store, "c", NOW_MS + 2, agent_id="agent-2")
    await record(store, "d", NOW_MS + 3, run_id="run-2", agent_id="agent-2", user_id="bob")
    listed = await store.entries("acme", entry_filter, 10)
    assert listed is not None
    assert "".join(entry.id for entry in listed) == ids
    sums = await store.summarize("acme", entry_filter, "d", (), 10)
    assert sums is not None
    assert sums.total.entry_count == len(ids)
    assert sums.rows == (sums.total,)


async def test_sums_are_by_cost_and_then_by_name(store: LedgerStore) -> None:
    await record(store, "1", run_id="a", usage=TokenUsage(1, 1, 1, 1, 1))
    await record(store, "2", run_id="c", usage=TokenUsage(50))
    await record(store, "3", run_id="b", usage=TokenUsage(20))
    await record(store, "4", run_id="b", usage=TokenUsage(30))
    sums = await store.summarize("acme", EntryFilter(), "4", ("run",), 10)
    assert sums is not None
    assert [(row.run, row.entry_count, row.cost_nano_usd) for row in sums.rows] == [
        ("b", 2, 50),
        ("c", 1, 50),
        ("a", 1, 12),
    ]
    assert sums.rows[2] == UsageSummary(1, 1, 1, 1, 1, 1, NanoUsd(12), run="a")
    assert sums.total == UsageSummary(4, 101, 1, 1, 1, 1, NanoUsd(112))
    page = await store.summarize("acme", EntryFilter(), "4", ("run",), 1, 1)
    assert page is not None
    assert (page.rows, page.total) == (sums.rows[1:2], sums.total)


async def test_sums_by_several_dimensions(store: LedgerStore) -> None:
    await record(store, "1", MIDNIGHT_MS - 1)
    await record(store, "2", MIDNIGHT_MS, user_id="bob", agent_id="x")
    await record(store, "3", MIDNIGHT_MS, user_id="bob", agent_id="x", usage=TokenUsage(1))
    sums = await store.summarize("acme", EntryFilter(), "3", ("day", "user", "agent", "model"), 10)
    assert sums is not None
    assert [(row.day, row.user, row.agent, row.entry_count) for row in sums.rows] == [
        ("2026-02-24", "bob", "x", 2),
        ("2026-02-23", "ada", "agent", 1),
    ]
    assert {row.model for row in sums.rows} == {"model-1"}
    assert {row.run for row in sums.rows} == {""}


async def test_sums_are_of_the_entries_up_to_one(store: LedgerStore) -> None:
    for number, entry_id in enumerate("abc"):
        await record(store, entry_id, NOW_MS + number // 2)
    for up_to, count in (("", 0), ("a", 1), ("b", 2), ("c", 3)):
        sums = await store.summarize("acme", EntryFilter(), up_to, (), 10)
        assert sums is not None
        assert sums.total.entry_count == count
    assert await store.summarize("acme", EntryFilter(), "unknown", (), 10) is None
    nothing = await store.summarize("acme", EntryFilter(), "", ("run",), 10)
    assert nothing is not None
    assert (nothing.rows, nothing.total) == ((), UsageSummary())

"""Budgets, their windows and their events, on every store."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from agent_executor.errors import InvalidArgumentError, LimitExceededError
from agent_executor.ledger.accounting.budget import MAX_BUDGETS_OF_SCOPE, BudgetEvent
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from agent_executor.ledger.money import NanoUsd
from tests.contract.ledger.accounting_steps import (
    correct,
    gone,
    kinds,
    put,
    record,
    refused,
    reserve,
    settle,
    status,
)
from tests.unit.ledger.accounting_samples import (
    DAY_MS,
    HOUR_MS,
    MIDNIGHT_MS,
    NOW_MS,
    budget,
    hold,
)

LATER_MS = NOW_MS + HOUR_MS


async def test_a_budget_is_read_as_it_was_put(store: AccountingStore) -> None:
    whole = budget(
        window="month",
        user_id="ada",
        agent_id="agent",
        run_id="run",
        time_zone="Europe/Berlin",
        alert_percents=(50, 80, 100),
    )
    await put(store, whole)
    assert (await status(store)).budget == whole
    assert await store.get_budget("acme", "other", NOW_MS) is None
    assert await store.get_budget("other", "all", NOW_MS) is None


async def test_a_limit_of_zero_lets_nothing_pass(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=0))
    await refused(store, held_nano_usd=1)


async def test_a_budget_counts_what_was_before_it(store: AccountingStore) -> None:
    await record(store, "yesterday", now_ms=MIDNIGHT_MS - 1)
    await record(store, "today", now_ms=MIDNIGHT_MS)
    await record(store, "of bob", now_ms=MIDNIGHT_MS, user_id="bob")
    await reserve(store, "expired")
    await reserve(store, "open", ttl_ms=2 * DAY_MS)
    await reserve(store, "bob", ttl_ms=2 * DAY_MS, user_id="bob")
    for window, settled in (("total", 200), ("day", 100), ("month", 200)):
        await put(store, budget(window, window=window, user_id="ada"), MIDNIGHT_MS)
        assert await gone(store, window, MIDNIGHT_MS) == (settled, 200)


async def test_a_window_begins_with_nothing_settled_and_what_is_held(
    store: AccountingStore,
) -> None:
    await put(store, budget("day", 500, window="day"))
    await put(store, budget("month", 500, window="month"))
    await reserve(store, "overnight", ttl_ms=DAY_MS)
    await record(store)
    assert await gone(store, "day", MIDNIGHT_MS - 1) == (100, 200)
    assert await gone(store, "day", MIDNIGHT_MS) == (0, 200)
    assert await gone(store, "month", MIDNIGHT_MS) == (100, 200)
    assert (await status(store, "day", MIDNIGHT_MS)).resets_at_ms == MIDNIGHT_MS + DAY_MS
    await settle(store, "overnight", MIDNIGHT_MS)
    assert await gone(store, "day", MIDNIGHT_MS) == (100, 0)
    assert await gone(store, "month", MIDNIGHT_MS) == (200, 0)


def berlin_ms(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    return int(moment.timestamp()) * 1000


@pytest.mark.parametrize(("day", "hours"), [(28, 24), (29, 23)])
async def test_a_day_is_that_of_the_budgets_time_zone(
    store: AccountingStore, day: int, hours: int
) -> None:
    start_ms = berlin_ms(f"2026-03-{day}")
    end_ms = start_ms + hours * HOUR_MS
    await put(store, budget("day", window="day", time_zone="Europe/Berlin"), start_ms - DAY_MS)
    for number, at_ms in enumerate((start_ms - 1, start_ms, end_ms - 1, end_ms)):
        await record(store, f"entry-{number}", 10**number, at_ms)
    assert await gone(store, "day", start_ms) == (110, 0)
    assert (await status(store, "day", start_ms)).resets_at_ms == end_ms


async def test_a_month_is_that_of_the_budgets_time_zone(store: AccountingStore) -> None:
    start_ms, end_ms = berlin_ms("2026-10-01"), berlin_ms("2026-11-01")
    await put(store, budget("m", window="month", time_zone="Europe/Berlin"), start_ms - 1)
    for number, at_ms in enumerate((start_ms - 1, start_ms, end_ms - 1, end_ms)):
        await record(store, f"entry-{number}", 10**number, at_ms)
    assert await gone(store, "m", start_ms) == (110, 0)
    assert end_ms - start_ms == 31 * DAY_MS + HOUR_MS


async def test_an_unknown_time_zone_is_refused(store: AccountingStore) -> None:
    with pytest.raises(InvalidArgumentError):
        await store.put_budget(budget(window="day", time_zone="Europe/Atlantis"), NOW_MS)
    assert await store.get_budget("acme", "all", NOW_MS) is None


async def test_an_entry_counts_in_the_window_of_its_own_time(store: AccountingStore) -> None:
    await put(store, budget("day", 500, window="day"))
    await record(store, "after", now_ms=MIDNIGHT_MS)
    # The clock of two writers, or of one that is set back, does not lose anything.
    await record(store, "before", now_ms=MIDNIGHT_MS - 1)
    assert await gone(store, "day", MIDNIGHT_MS) == (100, 0)
    assert await gone(store, "day", MIDNIGHT_MS - 1) == (100, 0)


async def test_windows_before_a_budget_are_not_counted(store: AccountingStore) -> None:
    await record(store, "before", 1_000)
    await put(store, budget("day", 500, window="day", alert_percents=(1,)), MIDNIGHT_MS)
    late = await record(store, "late", now_ms=MIDNIGHT_MS, occurred_at_ms=MIDNIGHT_MS - 1)
    assert late.events == ()
    assert await gone(store, "day", MIDNIGHT_MS - 1) == (0, 0)
    assert await gone(store, "day", MIDNIGHT_MS) == (0, 0)


async def test_a_new_limit_leaves_the_balances(store: AccountingStore) -> None:
    await put(store, budget())
    await reserve(store)
    await record(store)
    assert await put(store, budget(limit_nano_usd=300)) == ()
    found = await status(store)
    assert (found.settled_nano_usd, found.reserved_nano_usd, found.left_nano_usd) == (100, 200, 0)


async def test_what_a_budget_covers_does_not_change(store: AccountingStore) -> None:
    await put(store, budget(time_zone="Europe/Berlin"))
    first = await status(store)
    for changes in ({"window": "day"}, {"user_id": "ada"}, {"time_zone": "UTC"}):
        asked = budget(limit_nano_usd=1, **{"time_zone": "Europe/Berlin", **changes})
        answer = await store.put_budget(asked, NOW_MS)
        assert (answer.status, answer.events) == (first, ())
    assert await status(store) == first


async def test_budgets_of_one_scope_are_few(store: AccountingStore) -> None:
    """Each call is held against all of them, in a transaction for which all others wait."""
    for number in range(MAX_BUDGETS_OF_SCOPE):
        await put(store, budget(f"b-{number:02}"))
    with pytest.raises(LimitExceededError):
        await put(store, budget("one-more"))
    await put(store, budget("b-00", 7))
    await put(store, budget("other-scope", user_id="ada"))
    await store.put_budget(budget("other", organization_id="other"), NOW_MS)
    assert await store.delete_budget("acme", "b-00")
    await put(store, budget("one-more"))


async def test_a_deleted_budget_begins_anew(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=0))
    await reserve(store, "free", held_nano_usd=0)
    await record(store)
    assert len(await store.budget_events("acme", 10)) == 1
    assert await store.delete_budget("acme", "all")
    assert not await store.delete_budget("acme", "all")
    assert await store.get_budget("acme", "all", NOW_MS) is None
    assert await store.budget_events("acme", 10) == []
    await reserve(store)
    await put(store, budget())
    assert await gone(store) == (100, 200)
    await settle(store)
    assert await gone(store) == (200, 0)


async def test_budgets_are_listed_by_id(store: AccountingStore) -> None:
    for budget_id in ("c", "a", "b", "d"):
        await put(store, budget(budget_id))
    await store.put_budget(budget("aa", organization_id="other"), NOW_MS)
    await reserve(store)
    listed = await store.list_budgets("acme", NOW_MS, 2, "a")
    assert [one.budget.id for one in listed] == ["b", "c"]
    assert listed[0] == await status(store, "b")
    assert await store.list_budgets("acme", NOW_MS, 10, "d") == []
    assert (await store.list_budgets("acme", LATER_MS, 1))[0].reserved_nano_usd == 0


# Thresholds


async def test_a_threshold_is_told_once(store: AccountingStore) -> None:
    await put(store, budget(alert_percents=(10, 50, 100)))
    assert (await record(store, "below", 99)).events == ()
    reached = await record(store, "at", 1, NOW_MS + 7)
    assert reached.events == (
        BudgetEvent(
            organization_id="acme",
            budget_id="all",
            kind="threshold_reached",
            percent=10,
            entry_id="at",
            limit_nano_usd=NanoUsd(1_000),
            settled_nano_usd=NanoUsd(100),
            reserved_nano_usd=NanoUsd(0),
            window_start_ms=0,
            created_at_ms=NOW_MS + 7,
        ),
    )
    await record(store, "refund", -100, kind="adjustment")
    assert (await record(store, "again", 100)).events == ()
    assert kinds((await record(store, "rest", 900)).events) == [
        "all threshold_reached 50",
        "all threshold_reached 100",
    ]


async def test_a_held_sum_reaches_no_threshold(store: AccountingStore) -> None:
    await put(store, budget(alert_percents=(10,)))
    await reserve(store)
    assert kinds((await settle(store)).events) == ["all threshold_reached 10"]


async def test_each_window_has_thresholds_of_its_own(store: AccountingStore) -> None:
    await put(store, budget(window="day", alert_percents=(10,)))
    first = await record(store, "today")
    next_day = await record(store, "tomorrow", now_ms=MIDNIGHT_MS)
    late = await record(store, "late", now_ms=MIDNIGHT_MS, occurred_at_ms=NOW_MS)
    assert [one.window_start_ms for one in first.events] == [MIDNIGHT_MS - DAY_MS]
    assert [one.window_start_ms for one in next_day.events] == [MIDNIGHT_MS]
    assert late.events == ()


async def test_a_new_alert_or_limit_that_is_reached_already_is_told(
    store: AccountingStore,
) -> None:
    await record(store, cost_nano_usd=600)
    assert kinds(await put(store, budget(alert_percents=(50,)))) == ["all threshold_reached 50"]
    assert await put(store, budget(alert_percents=(50,))) == ()
    assert kinds(await put(store, budget(limit_nano_usd=700, alert_percents=(50, 80)))) == [
        "all threshold_reached 80"
    ]
    assert await put(store, budget(alert_percents=(80,))) == ()


# Overruns


async def test_usage_above_its_hold_is_an_overrun(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=250))
    await reserve(store)
    await reserve(store, "small", held_nano_usd=50)
    settled = await settle(store, now_ms=NOW_MS + 1, usage=TokenCounts(300))
    assert settled.events == (
        BudgetEvent(
            organization_id="acme",
            budget_id="all",
            kind="overrun",
            percent=0,
            entry_id="call-1",
            limit_nano_usd=NanoUsd(250),
            settled_nano_usd=NanoUsd(300),
            reserved_nano_usd=NanoUsd(50),
            window_start_ms=0,
            created_at_ms=NOW_MS + 1,
        ),
    )
    await refused(store, held_nano_usd=0)


async def test_each_step_further_above_the_limit_is_an_overrun(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=100))
    assert (await record(store, "fits", 100)).events == ()
    assert kinds((await record(store, "more", 1)).events) == ["all overrun"]
    assert (await record(store, "nothing", 0)).events == ()
    assert (await record(store, "less", -1, kind="adjustment")).events == ()
    assert kinds((await record(store, "again", 5)).events) == ["all overrun"]


async def test_an_expired_hold_is_no_part_of_an_overrun(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=250))
    await reserve(store, "expired")
    assert (await record(store, "within", 100, LATER_MS)).events == ()
    beyond = await record(store, "beyond", 151, LATER_MS)
    assert [one.reserved_nano_usd for one in beyond.events] == [0]


async def test_usage_within_its_hold_is_no_overrun(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=200))
    await reserve(store)
    assert kinds(await put(store, budget(limit_nano_usd=50))) == ["all overrun"]
    # It brings the budget nearer to its limit.
    assert (await settle(store)).events == ()
    assert (await status(store)).left_nano_usd == -50


async def test_a_limit_is_told_to_be_overrun_when_it_is_lowered(store: AccountingStore) -> None:
    await record(store, cost_nano_usd=100)
    await reserve(store)
    assert kinds(await put(store, budget(limit_nano_usd=299))) == ["all overrun"]
    assert await put(store, budget(limit_nano_usd=299)) == ()
    assert kinds(await put(store, budget(limit_nano_usd=298))) == ["all overrun"]
    assert await put(store, budget(limit_nano_usd=299)) == ()
    assert await put(store, budget(limit_nano_usd=300)) == ()


async def test_a_correction_can_overrun(store: AccountingStore) -> None:
    await put(store, budget(limit_nano_usd=150))
    await settle(store)
    await correct(store, "down", TokenUsage(0, 10))
    await correct(store, "up", TokenUsage(101, 10))
    (event,) = await store.budget_events("acme", 10)
    assert (event.kind, event.entry_id, event.settled_nano_usd) == ("overrun", "up", 151)


async def test_usage_of_a_past_window_overruns_that_window_only(store: AccountingStore) -> None:
    await put(store, budget("day", 200, window="day"))
    await put(store, budget("month", 1_000, window="month"))
    await record(store, "then", 150)
    await reserve(store, "now", MIDNIGHT_MS)
    within = await record(store, "late-1", 50, MIDNIGHT_MS, occurred_at_ms=NOW_MS)
    assert within.events == ()
    beyond = await record(store, "late-2", 1, MIDNIGHT_MS, occurred_at_ms=NOW_MS)
    assert [
        (one.budget_id, one.settled_nano_usd, one.reserved_nano_usd, one.window_start_ms)
        for one in beyond.events
    ] == [("day", 201, 0, MIDNIGHT_MS - DAY_MS)]
    assert await gone(store, "day", MIDNIGHT_MS) == (0, 200)


async def test_a_hold_settled_in_a_past_window_is_freed_now(store: AccountingStore) -> None:
    await put(store, budget("day", 200, window="day"))
    await reserve(store, ttl_ms=DAY_MS)
    late = await settle(store, now_ms=MIDNIGHT_MS, occurred_at_ms=MIDNIGHT_MS - 1)
    assert late.events == ()
    assert await gone(store, "day", MIDNIGHT_MS - 1) == (100, 0)
    assert await gone(store, "day", MIDNIGHT_MS) == (0, 0)


async def test_usage_of_the_window_to_come_meets_what_is_held(store: AccountingStore) -> None:
    await put(store, budget("day", 200, window="day"))
    await reserve(store, now_ms=MIDNIGHT_MS - 1)
    ahead = await record(store, "ahead", 1, MIDNIGHT_MS - 1, occurred_at_ms=MIDNIGHT_MS)
    assert [(one.kind, one.window_start_ms) for one in ahead.events] == [("overrun", MIDNIGHT_MS)]


async def test_events_are_listed_newest_first(store: AccountingStore) -> None:
    await put(store, budget("a", 100, alert_percents=(50,)))
    await put(store, budget("b", 200, alert_percents=(50,)))
    await store.put_budget(budget("a", 0, organization_id="other"), NOW_MS)
    await record(store, "foreign", organization_id="other")
    for number in range(3):
        await record(store, f"entry-{number}", 60)
    events = await store.budget_events("acme", 10)
    assert [(one.budget_id, one.kind, one.entry_id) for one in reversed(events)] == [
        ("a", "threshold_reached", "entry-0"),
        ("a", "overrun", "entry-1"),
        ("b", "threshold_reached", "entry-1"),
        ("a", "overrun", "entry-2"),
    ]
    ids = [one.id for one in events]
    assert ids == sorted(ids, reverse=True)
    assert min(ids) > 0
    assert await store.budget_events("acme", 2, before_id=ids[0]) == events[1:3]
    assert await store.budget_events("acme", 10, budget_id="b") == [events[1]]
    assert await store.budget_events("acme", 10, before_id=ids[-1]) == []
    assert len(await store.budget_events("other", 10)) == 1


async def test_the_order_of_budgets_in_an_answer_is_that_of_their_ids(
    store: AccountingStore,
) -> None:
    for budget_id, scope in (("c", {}), ("a", {"run_id": "run"}), ("b", {"user_id": "ada"})):
        await put(store, budget(budget_id, 50, **scope))
    assert kinds((await record(store)).events) == ["a overrun", "b overrun", "c overrun"]
    assert hold().user_id == "ada"

from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError, PermissionDeniedError
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.store_memory import MemoryLedgerStore
from agent_executor.ledger.reports.reports import UsageReports
from agent_executor.ledger.reports.usage_query import EntryFilter
from agent_executor.serving.security import SecurityContext
from tests.unit.ledger.samples import ADA, CARD, EVE, NOW_MS, settlement

WRITER = SecurityContext("acme", "ada", frozenset({"ledger:write", "ledger:admin"}))


@pytest.fixture
def store() -> MemoryLedgerStore:
    return MemoryLedgerStore()


@pytest.fixture
def reports(store: MemoryLedgerStore) -> UsageReports:
    return UsageReports(store)


async def record(store: MemoryLedgerStore, *ids: str, **changes: object) -> None:
    for number, entry_id in enumerate(ids):
        await store.settle(
            settlement(entry_id, reservation_id="", **changes), CARD, NOW_MS + number
        )


async def all_entries(reports: UsageReports, page_size: int) -> list[UsageEntry]:
    seen: list[UsageEntry] = []
    token = ""
    while True:
        page = await reports.entries(ADA, page_size=page_size, page_token=token)
        assert len(page.entries) <= page_size
        seen += page.entries
        token = page.next_page_token
        if not token:
            return seen


@pytest.mark.parametrize("page_size", [1, 2, 5, 6])
async def test_pages_of_entries_follow_each_other(
    reports: UsageReports, store: MemoryLedgerStore, page_size: int
) -> None:
    await record(store, "a", "b", "c", "d", "e")
    seen = await all_entries(reports, page_size)
    assert [entry.id for entry in seen] == ["e", "d", "c", "b", "a"]


async def test_entries_written_meanwhile_do_not_move_the_pages(
    reports: UsageReports, store: MemoryLedgerStore
) -> None:
    await record(store, "a", "b", "c")
    first = await reports.entries(ADA, page_size=2)
    await store.settle(settlement("d", reservation_id=""), CARD, NOW_MS + 9)
    second = await reports.entries(ADA, page_size=2, page_token=first.next_page_token)
    assert [entry.id for entry in (*first.entries, *second.entries)] == ["c", "b", "a"]
    assert second.next_page_token == ""


async def test_sums_are_all_of_the_entries_that_the_first_page_was_made_of(
    reports: UsageReports, store: MemoryLedgerStore
) -> None:
    await record(store, "a", run_id="run-1")
    await record(store, "b", run_id="run-2")
    await record(store, "c", run_id="run-3")
    first = await reports.summarize(ADA, ("run",), page_size=2)
    await store.settle(settlement("d", reservation_id="", run_id="run-3"), CARD, NOW_MS + 9)
    second = await reports.summarize(ADA, ("run",), page_size=2, page_token=first.next_page_token)
    assert [row.run for row in (*first.rows, *second.rows)] == ["run-1", "run-2", "run-3"]
    assert first.total == second.total
    assert second.total.cost_nano_usd == 300
    assert second.next_page_token == ""


async def test_the_total_is_over_all_groups(
    reports: UsageReports, store: MemoryLedgerStore
) -> None:
    for run in ("run-1", "run-2", "run-3"):
        await record(store, run, run_id=run)
    page = await reports.summarize(ADA, ("run",), page_size=1)
    assert (page.rows[0].entry_count, page.total.entry_count) == (1, 3)
    assert page.total.tokens_used == 3 * 60


async def test_without_a_dimension_there_is_one_row(
    reports: UsageReports, store: MemoryLedgerStore
) -> None:
    assert (await reports.summarize(ADA)).rows[0].entry_count == 0
    await record(store, "a", "b")
    page = await reports.summarize(ADA)
    assert page.rows == (page.total,)
    assert (page.total.entry_count, page.next_page_token) == (2, "")


@pytest.mark.parametrize("group_by", [("week",), ("run", "run"), ("",)])
async def test_unknown_dimensions_are_refused(reports: UsageReports, group_by: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        await reports.summarize(ADA, group_by)


@pytest.mark.parametrize("page_size", [-1, 1_001])
async def test_page_sizes_that_cannot_be_are_refused(reports: UsageReports, page_size: int) -> None:
    with pytest.raises(InvalidArgumentError):
        await reports.entries(ADA, page_size=page_size)
    with pytest.raises(InvalidArgumentError):
        await reports.summarize(ADA, page_size=page_size)


async def test_a_token_is_good_for_its_own_question_only(
    reports: UsageReports, store: MemoryLedgerStore
) -> None:
    await record(store, "a", "b", "c")
    token = (await reports.entries(ADA, page_size=1)).next_page_token
    with pytest.raises(InvalidArgumentError):
        await reports.entries(ADA, EntryFilter(run_id="run"), page_token=token)
    with pytest.raises(InvalidArgumentError):
        await reports.entries(EVE, page_token=token)
    with pytest.raises(InvalidArgumentError):
        await reports.summarize(ADA, page_token=token)
    await record(store, "d", run_id="other")
    token = (await reports.summarize(ADA, ("run",), page_size=1)).next_page_token
    assert (await reports.summarize(ADA, ("run",), page_token=token)).rows[0].run == "other"
    with pytest.raises(InvalidArgumentError):
        await reports.summarize(ADA, ("agent",), page_token=token)
    with pytest.raises(InvalidArgumentError):
        await reports.summarize(ADA, ("run",), EntryFilter(model="x"), page_token=token)


async def test_reading_needs_its_permission(reports: UsageReports) -> None:
    with pytest.raises(PermissionDeniedError):
        await reports.entries(WRITER)
    with pytest.raises(PermissionDeniedError):
        await reports.summarize(WRITER)


async def test_a_token_of_a_ledger_that_is_gone_is_refused(
    reports: UsageReports, store: MemoryLedgerStore
) -> None:
    await record(store, "a", "b", run_id="run-1")
    await record(store, "c", run_id="run-2")
    entries = (await reports.entries(ADA, page_size=1)).next_page_token
    sums = (await reports.summarize(ADA, ("run",), page_size=1)).next_page_token
    anew = UsageReports(MemoryLedgerStore())
    with pytest.raises(InvalidArgumentError):
        await anew.entries(ADA, page_token=entries)
    with pytest.raises(InvalidArgumentError):
        await anew.summarize(ADA, ("run",), page_token=sums)

"""What every store of reports must do, and the use cases on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_executor.errors import InvalidArgumentError, PermissionDeniedError, RunNotFoundError
from agent_executor.ledger.accounting.commands import Reserve, Settle, Void
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.reports.reports import UsageReports
from agent_executor.ledger.reports.usage_query import (
    EVERY_ENTRY,
    Dimension,
    EntryFilter,
    SummaryQuery,
    UsageSummary,
)
from agent_executor.serving.security import SecurityContext
from tests.contract.ledger.report_ledgers import ADAPTERS, ReportLedger, report_ledger
from tests.unit.ledger.accounting_samples import (
    CARD,
    CARDS,
    DAY_MS,
    HOUR_MS,
    NOW_MS,
    amount,
    entry,
    hold,
    priced,
    tool_entry,
)

ADA = SecurityContext("acme", "ada", frozenset({"ledger:read"}))
EVE = SecurityContext("other", "eve", frozenset({"ledger:read"}))
WRITER = SecurityContext("acme", "ada", frozenset({"ledger:write", "ledger:admin"}))


def at(*moment: int) -> int:
    """Returns a time in UTC in milliseconds."""
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1000  # type: ignore[arg-type,misc]  # year, month, day and so on


@pytest.fixture(params=ADAPTERS)
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ReportLedger]:
    """Yields a ledger of each kind, empty but for the rate cards."""
    async with report_ledger(request.param, request, tmp_path) as opened:
        for card in CARDS:
            await opened.accounting.put_rate_card(card, "test")
        yield opened


@pytest.fixture
def reports(ledger: ReportLedger) -> UsageReports:
    return UsageReports(ledger.reports, lambda: NOW_MS / 1000)


async def all_entries(
    reports: UsageReports, page_size: int, entry_filter: EntryFilter = EVERY_ENTRY
) -> list[str]:
    seen: list[str] = []
    token = ""
    while True:
        page = await reports.entries(ADA, entry_filter, page_size=page_size, page_token=token)
        assert len(page.entries) <= page_size
        seen += [one.id for one in page.entries]
        token = page.next_page_token
        if not token:
            return seen


async def sums(reports: UsageReports, *group_by: Dimension, **query: Any) -> dict[Any, int]:
    """Returns what each group costs."""
    asked = SummaryQuery(group_by=group_by, **query)
    page = await reports.summarize(ADA, asked, page_size=1_000)
    assert page.total.cost_nano_usd == sum(one.cost_nano_usd for one in page.rows)
    return {
        tuple(getattr(one, name) for name in group_by)
        if len(group_by) > 1
        else getattr(one, group_by[0]): one.cost_nano_usd
        for one in page.rows
    }


class TestEntries:
    async def test_all_that_was_recorded_is_there(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        recorded = [
            priced("a", usage=TokenCounts(1, 2, 3, 4, 5), processing="batch", is_test=True),
            tool_entry("b", 7, occurred_at_ms=NOW_MS - 1),
            priced("\u2603 '=1+1", -5, kind="adjustment", description='näh\n"x"', model=""),
        ]
        await ledger.record(*recorded)
        found = (await reports.entries(ADA)).entries
        assert sorted(found, key=lambda one: one.id) == sorted(recorded, key=lambda one: one.id)

    @pytest.mark.parametrize("page_size", [1, 2, 5, 6])
    async def test_pages_go_from_the_latest_occurrence(
        self, ledger: ReportLedger, reports: UsageReports, page_size: int
    ) -> None:
        # Of one instant the one that was written later is first.
        for entry_id, ago in (("a", 0), ("b", 9), ("c", 0), ("d", 5), ("e", 0)):
            await ledger.record(priced(entry_id, occurred_at_ms=NOW_MS - ago))
        assert await all_entries(reports, page_size) == ["e", "c", "a", "d", "b"]

    async def test_entries_that_are_written_meanwhile_do_not_move_the_pages(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        await ledger.record(*(priced(one, occurred_at_ms=NOW_MS - 5) for one in "abcd"))
        first = await reports.entries(ADA, page_size=2)
        for late, occurred_at_ms in (("x", NOW_MS), ("y", NOW_MS - 5), ("z", NOW_MS - 9)):
            await ledger.record(priced(late, occurred_at_ms=occurred_at_ms))
        second = await reports.entries(ADA, page_size=2, page_token=first.next_page_token)
        assert [one.id for one in (*first.entries, *second.entries)] == ["d", "c", "b", "a"]
        assert second.next_page_token == ""

    @pytest.mark.parametrize(
        ("entry_filter", "expected"),
        [
            (EntryFilter(user_id="bob"), ["b"]),
            (EntryFilter(agent_id="other"), ["c"]),
            (EntryFilter(run_id="\u2603"), ["d"]),
            (EntryFilter(run_id="\u2603", user_id="ada", agent_id="agent"), ["d"]),
            (EntryFilter(run_id="\u2603", user_id="bob"), []),
            (EntryFilter(model="model-2"), ["e"]),
            (EntryFilter(tool_name="search"), ["f"]),
            (EntryFilter(kind="tool_call"), ["f"]),
            (EntryFilter(start_ms=NOW_MS), ["f", "e", "d", "c", "b"]),
            (EntryFilter(end_ms=NOW_MS), ["a"]),
            (EntryFilter(start_ms=NOW_MS, end_ms=NOW_MS), []),
            (EntryFilter(start_ms=at(1, 1, 1), end_ms=at(9999, 12, 31)), list("fedcba")),
            (EntryFilter(start_ms=at(9999, 1, 1)), []),
            (EntryFilter(end_ms=at(1, 1, 2)), []),
        ],
    )
    async def test_filters(
        self,
        ledger: ReportLedger,
        reports: UsageReports,
        entry_filter: EntryFilter,
        expected: list[str],
    ) -> None:
        await ledger.record(
            priced("a", occurred_at_ms=NOW_MS - 1),
            priced("b", user_id="bob"),
            priced("c", agent_id="other"),
            priced("d", run_id="\u2603"),
            priced("e", model="model-2"),
            tool_entry("f"),
            priced("g", organization_id="other"),
        )
        assert await all_entries(reports, 2, entry_filter) == expected
        total = (await reports.summarize(ADA, SummaryQuery(entry_filter=entry_filter))).total
        assert total.entry_count == len(expected)


class TestSummaries:
    async def test_sums_are_all_of_the_ledger_as_it_was_at_the_first_page(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        await ledger.record(*(priced(one, run_id=one, user_id=one) for one in "abc"))
        for dimension in ("run", "user"):
            query = SummaryQuery(group_by=(dimension,))
            first = await reports.summarize(ADA, query, page_size=2)
            await ledger.record(
                priced(f"{dimension}-d", run_id="c", user_id="c"),
                priced(f"{dimension}-e", run_id=f"{dimension}-e", user_id=f"{dimension}-e"),
            )
            second = await reports.summarize(
                ADA, query, page_size=2, page_token=first.next_page_token
            )
            assert first.total == second.total
            seen = [getattr(one, dimension) for one in (*first.rows, *second.rows)]
            if dimension == "run":
                assert seen == ["a", "b", "c"]
                assert second.next_page_token == ""
            else:
                # The first question's entries are there now, and those of this one are not.
                assert seen == ["c", "a", "b", "run-e"]
                assert second.rows[1].cost_nano_usd == 100

    async def test_without_a_dimension_there_is_one_row(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        empty = await reports.summarize(ADA)
        assert empty.rows == (UsageSummary(),)
        await ledger.record(priced("a", usage=TokenCounts(1, 2, 3, 4, 5)), priced("b"))
        page = await reports.summarize(ADA)
        assert page.rows == (page.total,)
        assert page.total == UsageSummary(2, 51, 12, 3, 4, 5, 200)  # type: ignore[arg-type]  # NanoUsd
        assert page.total.tokens_used == 75

    async def test_sums_are_exact(self, ledger: ReportLedger, reports: UsageReports) -> None:
        # Sums of doubles would lose the ones.
        dear = 9_000_000_000_000_000
        await ledger.record(
            *(priced(f"a{one}", dear, user_id="ada") for one in range(20)),
            *(priced(f"b{one}", 1, user_id="bob") for one in range(3)),
            priced("c", -1, user_id="eve"),
        )
        assert await sums(reports, "user") == {"ada": 20 * dear, "bob": 3, "eve": -1}

    async def test_highest_cost_first_then_by_name(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        for user, cost in (("b", 5), ("a", 5), ("c", 9), ("d", -1)):
            await ledger.record(priced(user, cost, user_id=user))
        assert list(await sums(reports, "user")) == ["c", "a", "b", "d"]

    async def test_by_time(self, ledger: ReportLedger, reports: UsageReports) -> None:
        for number, (day, cost) in enumerate(((3, 1), (1, 5), (2, 9))):
            await ledger.record(priced(str(number), cost, occurred_at_ms=at(2026, 5, day, 12)))
        query: Any = {"order_by": "time"}
        assert list(await sums(reports, "day", **query)) == [
            "2026-05-01",
            "2026-05-02",
            "2026-05-03",
        ]
        # Which dimension is named first does not matter to the order.
        by_user = await sums(reports, "user", "day", **query)
        assert [day for _, day in by_user] == ["2026-05-01", "2026-05-02", "2026-05-03"]

    async def test_groups_of_no_such_thing_are_empty(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        await ledger.record(priced("a", 3), tool_entry("b", 5))
        assert await sums(reports, "tool") == {"search": 5, "": 3}
        assert await sums(reports, "model") == {"": 5, "model-1": 3}

    async def test_organizations_are_apart(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        await ledger.record(priced("a", 3), priced("a", 5, organization_id="other"))
        for security, cost in ((ADA, 3), (EVE, 5)):
            assert (await reports.summarize(security)).total.cost_nano_usd == cost
            by_run = await reports.summarize(security, SummaryQuery(group_by=("run",)))
            assert by_run.total.cost_nano_usd == cost
            [found] = (await reports.entries(security)).entries
            assert found.organization_id == security.organization_id
            assert (await reports.run_cost(security, "run")).total.cost_nano_usd == cost


class TestTimeZones:
    @pytest.mark.parametrize(
        ("zone", "moment", "hour", "month"),
        [
            ("UTC", (2026, 10, 31, 23, 59, 59), "2026-10-31T23", "2026-10"),
            ("Europe/Berlin", (2026, 10, 31, 23), "2026-11-01T00", "2026-11"),
            ("Europe/Berlin", (2026, 7, 31, 21, 59, 59), "2026-07-31T23", "2026-07"),
            ("Europe/Berlin", (2026, 7, 31, 22), "2026-08-01T00", "2026-08"),
            ("America/New_York", (2026, 11, 1, 3, 59, 59), "2026-10-31T23", "2026-10"),
            ("America/New_York", (2026, 11, 1, 4), "2026-11-01T00", "2026-11"),
            ("Asia/Kolkata", (2026, 4, 30, 18, 29, 59), "2026-04-30T23", "2026-04"),
            ("Asia/Kolkata", (2026, 4, 30, 18, 30), "2026-05-01T00", "2026-05"),
            ("Asia/Kathmandu", (2026, 4, 30, 18, 15), "2026-05-01T00", "2026-05"),
            ("Pacific/Kiritimati", (2025, 12, 31, 10), "2026-01-01T00", "2026-01"),
            ("Etc/GMT+12", (2026, 1, 1, 11, 59, 59), "2025-12-31T23", "2025-12"),
            ("Australia/Lord_Howe", (2026, 1, 31, 12, 59, 59), "2026-01-31T23", "2026-01"),
            ("Australia/Lord_Howe", (2026, 7, 31, 13, 30), "2026-08-01T00", "2026-08"),
            ("UTC", (1969, 12, 31, 23, 59, 59), "1969-12-31T23", "1969-12"),
        ],
    )
    async def test_the_clock_of_the_zone_counts(
        self,
        ledger: ReportLedger,
        reports: UsageReports,
        zone: str,
        moment: tuple[int, ...],
        hour: str,
        month: str,
    ) -> None:
        # Others make whole days of it, which are taken from roll-ups.
        await ledger.record(
            priced("a", 1, occurred_at_ms=at(*moment)),
            priced("b", 2, occurred_at_ms=at(*moment) - 40 * DAY_MS),
            priced("c", 4, occurred_at_ms=at(*moment) + 40 * DAY_MS),
        )
        for dimension, label in (("hour", hour), ("day", hour[:10]), ("month", month)):
            found = await sums(reports, dimension, time_zone=zone)  # type: ignore[arg-type]  # one of the dimensions
            assert found[label] == 1, dimension
            assert sorted(found.values()) == [1, 2, 4]

    async def test_the_two_hours_of_one_name_are_one_group(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        await ledger.record(
            *(priced(str(hour), 1, occurred_at_ms=at(2026, 10, 25, hour, 30)) for hour in range(3))
        )
        found = await sums(reports, "hour", time_zone="Europe/Berlin", order_by="time")
        assert found == {"2026-10-25T02": 2, "2026-10-25T03": 1}

    async def test_days_of_23_and_25_hours(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        for month, day in ((3, 29), (10, 25)):
            first = at(2026, month, day) - 30 * HOUR_MS
            await ledger.record(
                *(
                    priced(f"{month}-{hour}", 1, occurred_at_ms=first + hour * HOUR_MS)
                    for hour in range(80)
                )
            )
        found = await sums(reports, "day", time_zone="Europe/Berlin")
        assert (found["2026-03-29"], found["2026-10-25"]) == (23, 25)
        assert found["2026-03-28"] == found["2026-10-24"] == 24

    @pytest.mark.parametrize(
        "zone", ["Europe/Atlantis", "", "../../etc/passwd", "/etc/localtime", "a\x00b", "Europe"]
    )
    async def test_unknown_zones_are_refused(self, reports: UsageReports, zone: str) -> None:
        with pytest.raises(InvalidArgumentError) as refused:
            await reports.summarize(ADA, SummaryQuery(group_by=("day",), time_zone=zone))
        assert refused.value.field_violations[0][0] == "time_zone"


class TestRunCost:
    async def test_step_by_step(self, ledger: ReportLedger, reports: UsageReports) -> None:
        await ledger.accounting.apply(
            [
                Reserve(amount("whole", 1_000)),
                Reserve(hold("call-1", parent_id="whole"), CARD),
                Reserve(hold("call-2", parent_id="whole", created_at_ms=NOW_MS + 1), CARD),
                Reserve(hold("other", run_id="another run"), CARD),
                Settle(entry("call-1"), CARD, (tool_entry("tool-1", 3),)),
            ],
            NOW_MS,
        )
        cost = await reports.run_cost(ADA, "run")
        assert [one.id for one in cost.entries] == ["call-1", "tool-1"]
        assert {one.id: one.state for one in cost.reservations} == {
            "whole": "open",
            "call-1": "settled",
            "call-2": "open",
        }
        assert cost.total.cost_nano_usd == 103
        assert cost.total.entry_count == 2
        assert cost.estimated_nano_usd == 0
        # What call-2 holds is a part of the whole.
        [whole] = [one for one in cost.reservations if one.id == "whole"]
        assert cost.reserved_nano_usd == whole.remaining_nano_usd

    async def test_work_that_was_lost_is_told(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        await ledger.record(
            priced("a", 100),
            priced("b", 50, estimated=True, attempt=1),
            priced("c", 70, estimated=True, attempt=2),
            priced("d", -20, kind="correction", corrects_entry_id="c"),
            priced("e", -1, kind="correction", corrects_entry_id="a"),
            priced("f", 30, estimated=True, run_id="another"),
        )
        cost = await reports.run_cost(ADA, "run")
        assert cost.estimated_nano_usd == 50 + 70 - 20
        assert cost.total.cost_nano_usd == 100 + 50 + 70 - 20 - 1

    async def test_a_hold_that_ended_holds_nothing(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        await ledger.accounting.apply(
            [
                Reserve(hold("expired", created_at_ms=NOW_MS - HOUR_MS), CARD),
                Reserve(hold("voided"), CARD),
                Void("acme", "voided"),
                Reserve(hold("open"), CARD),
            ],
            NOW_MS - HOUR_MS,
        )
        cost = await reports.run_cost(ADA, "run")
        assert {one.id: one.state for one in cost.reservations} == {
            "expired": "expired",
            "open": "open",
            "voided": "voided",
        }
        assert cost.reserved_nano_usd == 200
        assert cost.total == UsageSummary()

    async def test_of_many_entries_the_first_are_told_and_all_are_counted(
        self, ledger: ReportLedger
    ) -> None:
        await ledger.record(
            *(priced(f"e{one}", 1, occurred_at_ms=NOW_MS - one, estimated=True) for one in range(9))
        )
        cost = await ledger.reports.run_cost("acme", "run", NOW_MS, 2)
        assert cost is not None
        assert [one.id for one in cost.entries] == ["e8", "e7"]
        assert cost.total.entry_count == cost.estimated_nano_usd == 9

    async def test_an_unknown_run(self, ledger: ReportLedger, reports: UsageReports) -> None:
        await ledger.record(priced("a", organization_id="other", run_id="theirs"))
        for run in ("theirs", "nobody's", "\u2603"):
            with pytest.raises(RunNotFoundError):
                await reports.run_cost(ADA, run)


class TestScan:
    async def test_everything_oldest_first_as_of_the_first_look(self, ledger: ReportLedger) -> None:
        count = 1_203
        for first in range(0, count, 401):
            await ledger.record(
                *(
                    priced(f"e{one:04}", occurred_at_ms=NOW_MS - one // 7)
                    for one in range(first, first + 401)
                )
            )
        await ledger.record(priced("theirs", organization_id="other"))
        seen: list[UsageEntry] = []
        async for entries in ledger.reports.scan("acme", EVERY_ENTRY):
            if not seen:
                await ledger.record(priced("late", occurred_at_ms=NOW_MS + 9))
            seen += entries
        assert len(seen) == count
        assert len({one.id for one in seen}) == count
        assert [one.occurred_at_ms for one in seen] == sorted(one.occurred_at_ms for one in seen)

    async def test_nothing(self, ledger: ReportLedger) -> None:
        assert [one async for one in ledger.reports.scan("acme", EVERY_ENTRY)] == []

    async def test_a_filter(self, ledger: ReportLedger) -> None:
        await ledger.record(priced("a"), priced("b", model="model-2"))
        found = [one async for one in ledger.reports.scan("acme", EntryFilter(model="model-2"))]
        assert [[one.id for one in entries] for entries in found] == [["b"]]


class TestRefusals:
    @pytest.mark.parametrize("group_by", [("week",), ("run", "run"), ("",), ("day", "hour")])
    async def test_dimensions_that_cannot_be(self, reports: UsageReports, group_by: Any) -> None:
        with pytest.raises(InvalidArgumentError) as refused:
            await reports.summarize(ADA, SummaryQuery(group_by=group_by))
        assert refused.value.field_violations[0][0] == "group_by"

    @pytest.mark.parametrize("group_by", [(), ("user",)])
    async def test_time_orders_nothing_but_times(
        self, reports: UsageReports, group_by: Any
    ) -> None:
        with pytest.raises(InvalidArgumentError) as refused:
            await reports.summarize(ADA, SummaryQuery(group_by=group_by, order_by="time"))
        assert refused.value.field_violations[0][0] == "order_by"

    async def test_a_window_that_ends_before_it_starts(self, reports: UsageReports) -> None:
        backwards = EntryFilter(start_ms=NOW_MS, end_ms=NOW_MS - 1)
        with pytest.raises(InvalidArgumentError) as refused:
            await reports.summarize(ADA, SummaryQuery(entry_filter=backwards))
        assert refused.value.field_violations[0][0] == "end_time"
        with pytest.raises(InvalidArgumentError):
            await reports.entries(ADA, backwards)

    async def test_ids_with_a_nul_character(self, reports: UsageReports) -> None:
        with pytest.raises(InvalidArgumentError) as refused:
            await reports.entries(ADA, EntryFilter(agent_id="a\x00"))
        assert refused.value.field_violations[0][0] == "agent_id"
        with pytest.raises(InvalidArgumentError):
            await reports.run_cost(ADA, "\x00")

    @pytest.mark.parametrize("page_size", [-1, 1_001])
    async def test_page_sizes_that_cannot_be(self, reports: UsageReports, page_size: int) -> None:
        with pytest.raises(InvalidArgumentError):
            await reports.entries(ADA, page_size=page_size)
        with pytest.raises(InvalidArgumentError):
            await reports.summarize(ADA, page_size=page_size)

    async def test_reading_needs_its_permission(self, reports: UsageReports) -> None:
        for asked in (
            reports.entries(WRITER),
            reports.summarize(WRITER),
            reports.run_cost(WRITER, "run"),
        ):
            with pytest.raises(PermissionDeniedError):
                await asked

    async def test_a_token_is_good_for_its_own_question_only(
        self, ledger: ReportLedger, reports: UsageReports
    ) -> None:
        await ledger.record(*(priced(one, run_id=one) for one in "abc"))
        by_run, by_agent = SummaryQuery(group_by=("run",)), SummaryQuery(group_by=("agent",))
        entries = (await reports.entries(ADA, page_size=1)).next_page_token
        summaries = (await reports.summarize(ADA, by_run, page_size=1)).next_page_token
        assert (await reports.summarize(ADA, by_run, page_token=summaries)).rows[0].run == "b"
        for wrong in (
            reports.entries(ADA, EntryFilter(run_id="a"), page_token=entries),
            reports.entries(EVE, page_token=entries),
            reports.entries(ADA, page_token=summaries),
            reports.summarize(ADA, page_token=entries),
            reports.summarize(ADA, by_agent, page_token=summaries),
            reports.summarize(EVE, by_run, page_token=summaries),
            reports.summarize(
                ADA, msgspec.structs.replace(by_run, time_zone="Asia/Tokyo"), page_token=summaries
            ),
            reports.entries(ADA, page_token="\u2603"),
        ):
            with pytest.raises(InvalidArgumentError) as refused:
                await wrong
            assert refused.value.field_violations[0][0] == "page_token"


async def test_questions_while_entries_are_written_see_each_entry_once(
    ledger: ReportLedger,
) -> None:
    """Roll-ups and entries are of one snapshot, however many writers there are."""
    ended = asyncio.Event()

    async def write(user: str) -> None:
        for number in range(25):
            occurred_at_ms = NOW_MS - number * HOUR_MS
            await asyncio.sleep(0)
            await ledger.record(
                priced(f"{user}{number}", 1, user_id=user, occurred_at_ms=occurred_at_ms)
            )

    async def ask() -> None:
        query = SummaryQuery(group_by=("day",), time_zone="Asia/Kolkata")
        one_by_one = SummaryQuery(group_by=("day", "run"), time_zone="Asia/Kolkata")
        while not ended.is_set():
            # Nothing waits for anything in memory, so that others would never have their turn.
            await asyncio.sleep(0)
            position = await ledger.reports.newest_position("acme")
            answers = [
                await ledger.reports.summarize("acme", query, position, 1_000) for _ in range(2)
            ]
            counted = await ledger.reports.summarize("acme", one_by_one, position, 1_000)
            for answer in answers:
                assert answer.total == counted.total
                assert [(one.day, one.cost_nano_usd) for one in answer.rows] == [
                    (one.day, one.cost_nano_usd) for one in counted.rows
                ]

    asking = [asyncio.create_task(ask()) for _ in range(2)]
    await asyncio.gather(*(write(user) for user in ("ada", "bob", "eve")))
    ended.set()
    await asyncio.gather(*asking)
    assert (
        await ledger.reports.summarize("acme", SummaryQuery(), 2**62, 1)
    ).total.entry_count == 75

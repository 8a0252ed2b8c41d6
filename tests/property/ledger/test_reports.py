"""Whatever is asked of whatever was recorded: the answer is the sum over the entries."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.reports.reports import UsageReports
from agent_executor.ledger.reports.usage_query import (
    SUMS,
    TIME_BUCKETS,
    Dimension,
    EntryFilter,
    SummaryQuery,
    UsageSummary,
)
from agent_executor.serving.security import SecurityContext
from tests.contract.ledger.report_ledgers import ADAPTERS, ReportLedger, report_ledger

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Pacific/Kiritimati",
)
COUNTS = st.integers(-(2**31), 2**31 - 1)
COSTS = st.integers(-(10**15), 10**15) | st.integers(-2, 2)


def ms(*moment: int) -> int:
    """Returns a time in UTC in milliseconds."""
    return (datetime(*moment, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)  # type: ignore[arg-type,misc]  # year, month, day and so on


# Around changes of clocks, ends of months and of the years that a computer likes.
MOMENTS = st.sampled_from(
    [
        ms(2026, 3, 29, 1),
        ms(2026, 10, 25, 1),
        ms(2026, 11, 1, 6),
        ms(2026, 4, 30, 18, 30),
        ms(2026, 4, 30, 18, 15),
        ms(2026, 4, 4, 15),
        ms(2026, 3, 1),
        ms(2025, 12, 31, 12),
        ms(2011, 12, 30, 10),
        ms(2018, 11, 4, 3),
        ms(1970, 1, 1),
        ms(1969, 12, 31),
    ]
)
NEAR_MS = st.sampled_from([0, 1, -1]) | st.integers(-3 * 86_400_000, 3 * 86_400_000)
TIMES = st.builds(lambda moment, near: moment + near, MOMENTS, NEAR_MS)
NAMES = st.sampled_from(["a", "b", "\u2603", "'=x"])


@st.composite
def entries(draw: st.DrawFn) -> UsageEntry:
    """Draws an entry without an id, so that shrinking does not have to keep them apart."""
    kind = draw(st.sampled_from(["model_call", "tool_call", "correction", "adjustment"]))
    return UsageEntry(
        id="",
        organization_id="",
        kind=kind,  # type: ignore[arg-type]  # it is one
        user_id=draw(NAMES),
        agent_id=draw(NAMES | st.just("")),
        run_id=draw(NAMES | st.just("")),
        model="" if kind == "tool_call" else draw(NAMES),
        tool_name=draw(NAMES) if kind == "tool_call" else "",
        usage=TokenCounts(*(draw(COUNTS) for _ in range(5))),
        cost_nano_usd=NanoUsd(draw(COSTS)),
        occurred_at_ms=draw(TIMES),
        created_at_ms=0,
    )


@st.composite
def filters(draw: st.DrawFn) -> EntryFilter:
    """Draws a filter; most let most entries pass."""
    rarely = st.sampled_from(["", "", "", "a"])
    bounds = sorted(draw(st.lists(TIMES, min_size=2, max_size=2)))
    return EntryFilter(
        run_id=draw(rarely),
        agent_id=draw(rarely),
        user_id=draw(rarely),
        model=draw(rarely),
        tool_name=draw(rarely),
        kind=draw(st.sampled_from(["", "", "model_call", "tool_call"])),
        start_ms=draw(st.sampled_from([None, bounds[0]])),
        end_ms=draw(st.sampled_from([None, bounds[1]])),
    )


@st.composite
def queries(draw: st.DrawFn) -> SummaryQuery:
    """Draws a question."""
    plain: list[Dimension] = ["user", "agent", "model", "tool", "run", "kind"]
    group_by = draw(st.lists(st.sampled_from(plain), unique=True, max_size=3))
    bucket = draw(st.sampled_from([None, *TIME_BUCKETS]))
    if bucket:
        group_by.insert(draw(st.integers(0, len(group_by))), bucket)
    return SummaryQuery(
        entry_filter=draw(filters()),
        group_by=tuple(group_by),
        time_zone=draw(st.sampled_from(ZONES)),
        order_by=draw(st.sampled_from(["cost", "time"])) if bucket else "cost",
    )


def matches(entry_filter: EntryFilter, entry: UsageEntry) -> bool:
    wanted = msgspec.structs.asdict(entry_filter)
    start_ms, end_ms = wanted.pop("start_ms"), wanted.pop("end_ms")
    return (
        all(value in ("", getattr(entry, name)) for name, value in wanted.items())
        and (start_ms is None or start_ms <= entry.occurred_at_ms)
        and (end_ms is None or entry.occurred_at_ms < end_ms)
    )


def value(entry: UsageEntry, dimension: Dimension, zone: str) -> str:
    shown = (EPOCH + timedelta(milliseconds=entry.occurred_at_ms)).astimezone(ZoneInfo(zone))
    values: dict[Dimension, str] = {
        "user": entry.user_id,
        "agent": entry.agent_id,
        "model": entry.model,
        "tool": entry.tool_name,
        "run": entry.run_id,
        "kind": entry.kind,
        "hour": shown.strftime("%Y-%m-%dT%H"),
        "day": shown.strftime("%Y-%m-%d"),
        "month": shown.strftime("%Y-%m"),
    }
    return values[dimension]


def total_of(recorded: Sequence[UsageEntry]) -> UsageSummary:
    sums: dict[str, Any] = dict.fromkeys(SUMS, 0)
    for entry in recorded:
        counted = {**msgspec.structs.asdict(entry.usage), "entry_count": 1}
        counted["cost_nano_usd"] = entry.cost_nano_usd
        for name, count in counted.items():
            sums[name] += count
    return UsageSummary(**sums)


def groups_of(recorded: Sequence[UsageEntry], query: SummaryQuery) -> list[UsageSummary]:
    """Returns the groups in their order, as one adds them up by hand."""
    groups: defaultdict[tuple[str, ...], list[UsageEntry]] = defaultdict(list)
    for entry in recorded:
        groups[tuple(value(entry, one, query.time_zone) for one in query.group_by)].append(entry)
    rows = [
        msgspec.structs.replace(total_of(group), **dict(zip(query.group_by, key, strict=True)))
        for key, group in groups.items()
    ]

    def order(row: UsageSummary) -> tuple[Any, ...]:
        names = tuple(getattr(row, one) for one in query.group_by)
        if query.order_by == "time":
            return getattr(row, str(query.bucket)), names
        return -row.cost_nano_usd, names

    return sorted(rows, key=order) if query.group_by else [total_of(recorded)]


class Ledgers:
    """A ledger of each kind, and one loop in which they live."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self.organizations = itertools.count()
        self.opened: list[ReportLedger] = []
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()

        async def open_all() -> None:
            for adapter in ADAPTERS:
                opened = report_ledger(adapter, request, folder)
                self.opened.append(await self._stack.enter_async_context(opened))

        self.run(open_all())

    def run(self, asked: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asked)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()


@pytest.fixture
def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledgers]:
    opened = Ledgers(request, tmp_path)
    yield opened
    opened.close()


def in_organization(
    organization_id: str, drawn: Sequence[UsageEntry], first: int = 0
) -> list[UsageEntry]:
    return [
        msgspec.structs.replace(one, id=f"{number}", organization_id=organization_id)
        for number, one in enumerate(drawn, first)
    ]


def examples(count: int, *, full: bool) -> settings:
    return settings(
        max_examples=count * (25 if full else 1),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.mark.timeout(1_800)
def test_sums_are_the_sums_of_the_entries(ledgers: Ledgers, *, full: bool) -> None:
    @examples(20, full=full)
    @given(
        before=st.lists(entries(), max_size=25),
        meanwhile=st.lists(entries(), max_size=6),
        query=queries(),
        page_size=st.integers(1, 7),
    )
    def check(
        before: list[UsageEntry],
        meanwhile: list[UsageEntry],
        query: SummaryQuery,
        page_size: int,
    ) -> None:
        organization_id = f"summaries-{next(ledgers.organizations)}"
        recorded = in_organization(organization_id, before)
        later = in_organization(organization_id, meanwhile, len(before))
        matching = [one for one in recorded if matches(query.entry_filter, one)]
        for ledger in ledgers.opened:
            answer = ledgers.run(
                _summarize(ledger, organization_id, recorded, later, query, page_size)
            )
            assert answer == (groups_of(matching, query), total_of(matching))

    check()


async def _summarize(
    ledger: ReportLedger,
    organization_id: str,
    recorded: list[UsageEntry],
    later: list[UsageEntry],
    query: SummaryQuery,
    page_size: int,
) -> tuple[list[UsageSummary], UsageSummary]:
    """Returns the rows of all pages, between which more is written, and the sum over all."""
    security = SecurityContext(organization_id, "ada", frozenset({"ledger:read"}))
    reports = UsageReports(ledger.reports, lambda: 0.0)
    await ledger.record(*recorded)
    rows: list[UsageSummary] = []
    totals = []
    token = ""
    unwritten = iter(later)
    while True:
        page = await reports.summarize(security, query, page_size=page_size, page_token=token)
        assert len(page.rows) <= page_size
        rows += page.rows
        totals.append(page.total)
        token = page.next_page_token
        if not token:
            break
        await ledger.record(*itertools.islice(unwritten, 2))
    assert all(total == totals[0] for total in totals)
    return rows, totals[0]


@pytest.mark.timeout(1_800)
def test_pages_of_entries_have_no_gap_and_no_repeat(ledgers: Ledgers, *, full: bool) -> None:
    @examples(20, full=full)
    @given(
        before=st.lists(entries(), max_size=20),
        meanwhile=st.lists(entries(), max_size=6),
        entry_filter=filters(),
        page_size=st.integers(1, 7),
    )
    def check(
        before: list[UsageEntry],
        meanwhile: list[UsageEntry],
        entry_filter: EntryFilter,
        page_size: int,
    ) -> None:
        organization_id = f"entries-{next(ledgers.organizations)}"
        recorded = in_organization(organization_id, before)
        later = in_organization(organization_id, meanwhile, len(before))
        expected = sorted(
            (one for one in recorded if matches(entry_filter, one)),
            key=lambda one: (-one.occurred_at_ms, -int(one.id)),
        )
        for ledger in ledgers.opened:
            found = ledgers.run(
                _list(ledger, organization_id, recorded, later, entry_filter, page_size)
            )
            assert found == expected

    check()


async def _list(
    ledger: ReportLedger,
    organization_id: str,
    recorded: list[UsageEntry],
    later: list[UsageEntry],
    entry_filter: EntryFilter,
    page_size: int,
) -> list[UsageEntry]:
    """Returns the entries of all pages, between which more is written."""
    security = SecurityContext(organization_id, "ada", frozenset({"ledger:read"}))
    reports = UsageReports(ledger.reports, lambda: 0.0)
    await ledger.record(*recorded)
    found: list[UsageEntry] = []
    token = ""
    unwritten = iter(later)
    while True:
        page = await reports.entries(security, entry_filter, page_size=page_size, page_token=token)
        found += page.entries
        token = page.next_page_token
        if not token:
            return found
        await ledger.record(*itertools.islice(unwritten, 2))

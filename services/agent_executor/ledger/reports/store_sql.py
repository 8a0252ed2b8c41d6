"""``ReportStore`` in SQLAlchemy Core, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, SupportsInt

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.overflow import (
    MAX_SUM_NANO_USD,
    sqlite_overflow_refused,
    sum_too_large,
)
from agent_executor.ledger.reports.entries_sql import (
    entries_statement,
    extent_statement,
    newest_position_statement,
    placed_entry,
)
from agent_executor.ledger.reports.run_cost_sql import (
    estimated_statement,
    reservation_of,
    reservations_statement,
    reserved_statement,
)
from agent_executor.ledger.reports.summary_plan import plan, whole_days
from agent_executor.ledger.reports.summary_sql import IS_TOTAL, summary_statement
from agent_executor.ledger.reports.usage_query import (
    SUMS,
    EntryFilter,
    EntryPlace,
    PlacedEntry,
    RunCost,
    SummaryQuery,
    SummaryRows,
    UsageSummary,
)
from agent_executor.storage.statements import Row, StatementRunner

SCAN_ENTRIES: Final = 500

# Larger than any position.
_ALL: Final = 2**62


class SqlReportStore:
    """``ReportStore`` over the tables that the accounting stores write."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    async def newest_position(self, organization_id: str) -> int:
        """See ``ReportStore``."""
        [rows] = await self._runner.run(newest_position_statement(organization_id))
        return rows[0]["sequence"] if rows else 0

    async def entries(
        self,
        organization_id: str,
        entry_filter: EntryFilter,
        limit: int,
        *,
        up_to_position: int,
        beyond: EntryPlace | None = None,
        oldest_first: bool = False,
    ) -> list[PlacedEntry]:
        """See ``ReportStore``."""
        statement = entries_statement(
            organization_id, entry_filter, limit, up_to_position, beyond, oldest_first=oldest_first
        )
        [rows] = await self._runner.run(statement)
        return [placed_entry(row) for row in rows]

    async def scan(
        self, organization_id: str, entry_filter: EntryFilter
    ) -> AsyncIterator[Sequence[UsageEntry]]:
        """See ``ReportStore``."""
        up_to = await self.newest_position(organization_id)
        last: EntryPlace | None = None
        while True:
            found = await self.entries(
                organization_id,
                entry_filter,
                SCAN_ENTRIES,
                up_to_position=up_to,
                beyond=last,
                oldest_first=True,
            )
            if found:
                yield [one.entry for one in found]
            if len(found) < SCAN_ENTRIES:
                return
            last = found[-1].place

    async def summarize(
        self,
        organization_id: str,
        query: SummaryQuery,
        up_to_position: int,
        limit: int,
        offset: int = 0,
    ) -> SummaryRows:
        """See ``ReportStore``."""
        span = await self._span(organization_id, query.entry_filter)
        if span is None:
            total = UsageSummary()
            return SummaryRows(() if query.group_by else (total,)[offset : offset + limit], total)
        statement = summary_statement(
            organization_id, query, plan(query, *span), up_to_position, limit, offset
        )
        with sqlite_overflow_refused():
            [rows] = await self._runner.run(statement)
        [total] = [_summary(row) for row in rows if row[IS_TOTAL]]
        if not query.group_by:
            return SummaryRows((total,)[offset : offset + limit], total)
        return SummaryRows(tuple(_summary(row) for row in rows if not row[IS_TOTAL]), total)

    async def run_cost(
        self, organization_id: str, run_id: str, now_ms: int, limit: int
    ) -> RunCost | None:
        """See ``ReportStore``."""
        of_run = EntryFilter(run_id=run_id)
        query = SummaryQuery(entry_filter=of_run)
        everything = plan(query, -_ALL, _ALL)
        with sqlite_overflow_refused():
            entries, totals, estimated, reservations, reserved = await self._runner.run(
                entries_statement(organization_id, of_run, limit, _ALL, None, oldest_first=True),
                summary_statement(organization_id, query, everything, _ALL, 1, 0),
                estimated_statement(organization_id, run_id),
                reservations_statement(organization_id, run_id, limit),
                reserved_statement(organization_id, run_id, now_ms),
            )
        if not entries and not reservations:
            return None
        return RunCost(
            run_id=run_id,
            entries=tuple(placed_entry(row).entry for row in entries),
            reservations=tuple(reservation_of(row).as_of(now_ms) for row in reservations),
            total=next(_summary(row) for row in totals if row[IS_TOTAL]),
            estimated_nano_usd=_sum(estimated[0]["nano_usd"]),
            reserved_nano_usd=_sum(reserved[0]["nano_usd"]),
        )

    async def _span(
        self, organization_id: str, entry_filter: EntryFilter
    ) -> tuple[int, int] | None:
        """Returns the time that is asked about, as far as there are entries, in whole UTC days."""
        first, last = await self._runner.run(
            extent_statement(organization_id, newest=False),
            extent_statement(organization_id, newest=True),
        )
        if not first:
            return None
        start, end = whole_days(first[0]["occurred_at_ms"], last[0]["occurred_at_ms"])
        if entry_filter.start_ms is not None:
            start = max(start, entry_filter.start_ms)
        if entry_filter.end_ms is not None:
            end = min(end, entry_filter.end_ms)
        return (start, end) if start < end else None


def _sum(value: SupportsInt) -> NanoUsd:
    """Returns a sum, which PostgreSQL gives as a decimal that holds more than a long."""
    if abs(int(value)) > MAX_SUM_NANO_USD:
        raise sum_too_large()
    return NanoUsd(int(value))


def _summary(row: Row) -> UsageSummary:
    sums: dict[str, Any] = {name: _sum(row[name]) for name in SUMS}
    dimensions = {name: row[name] for name in row if name not in sums and name != IS_TOTAL}
    return UsageSummary(**sums, **dimensions)

"""The port to what was recorded, for those who ask.

Entries are ordered by their position, which is the order of their writing in an organization.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.reports.usage_query import (
    Dimension,
    EntryFilter,
    SummaryOrder,
    SummaryRows,
)


class ReportStore(Protocol):
    """Reads the ledger. Every method sees one snapshot, with all that was acknowledged before."""

    async def newest_position(self, organization_id: str) -> int:
        """Returns the position of the newest entry; 0 if there is none."""
        ...

    async def entries(
        self,
        organization_id: str,
        entry_filter: EntryFilter,
        limit: int,
        *,
        before_position: int | None = None,
    ) -> list[tuple[int, UsageEntry]]:
        """Returns entries with their positions, newest first.

        Args:
            organization_id: Whose entries.
            entry_filter: Which of them.
            limit: How many at most.
            before_position: Only entries older than this one; None: from the newest.
        """
        ...

    def scan(
        self, organization_id: str, entry_filter: EntryFilter
    ) -> AsyncIterator[Sequence[UsageEntry]]:
        """Yields all entries, oldest first, some hundreds at a time, as of the first look."""
        ...

    async def summarize(
        self,
        organization_id: str,
        entry_filter: EntryFilter,
        up_to_position: int,
        group_by: Sequence[Dimension],
        limit: int,
        offset: int = 0,
        *,
        time_zone: str = "UTC",
        order_by: SummaryOrder = "cost",
    ) -> SummaryRows:
        """Returns sums by group.

        Args:
            organization_id: Whose entries.
            entry_filter: Which of them.
            up_to_position: No newer entry is counted, so that the same call has the same answer
                however many are written meanwhile.
            group_by: The dimensions; none: one row, also if there are no entries.
            limit: How many rows at most.
            offset: How many rows to leave out first.
            time_zone: The IANA time zone of hours, days and months.
            order_by: In which order.
        """
        ...

    async def reservations_of_run(
        self, organization_id: str, run_id: str, now_ms: int, limit: int
    ) -> list[Reservation]:
        """Returns what was held for a run, oldest first, as it stands at a time."""
        ...

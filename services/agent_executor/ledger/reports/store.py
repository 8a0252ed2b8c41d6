"""The port to what was recorded, for those who ask.

An entry's position is the order of its writing in its organization. Entries are listed by when they
occurred, and by position where that is the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.reports.usage_query import (
    EntryFilter,
    EntryPlace,
    PlacedEntry,
    RunCost,
    SummaryQuery,
    SummaryRows,
)


class ReportStore(Protocol):
    """Reads the ledger. Every method sees one snapshot, with all that was acknowledged before."""

    async def newest_position(self, organization_id: str) -> int:
        """Returns the position of the entry that was written last; 0 if there is none.

        No entry that is written later gets a smaller one.
        """
        ...

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
        """Returns entries by when they occurred, newest first.

        Args:
            organization_id: Whose entries.
            entry_filter: Which of them.
            limit: How many at most.
            up_to_position: None that was written later, so that pages are of one ledger.
            beyond: Only those that come after this place in the order that is asked for; None:
                from the first.
            oldest_first: The other order.
        """
        ...

    def scan(
        self, organization_id: str, entry_filter: EntryFilter
    ) -> AsyncIterator[Sequence[UsageEntry]]:
        """Yields all entries, oldest first, some hundreds at a time, as of the first look.

        Nothing is held between two of them, so that a slow reader is in nobody's way.
        """
        ...

    async def summarize(
        self,
        organization_id: str,
        query: SummaryQuery,
        up_to_position: int,
        limit: int,
        offset: int = 0,
    ) -> SummaryRows:
        """Returns sums by group.

        Args:
            organization_id: Whose entries.
            query: What is asked.
            up_to_position: No entry that was written later is counted, so that the same call has
                the same answer however many are written meanwhile.
            limit: How many rows at most.
            offset: How many rows to leave out first.
        """
        ...

    async def run_cost(
        self, organization_id: str, run_id: str, now_ms: int, limit: int
    ) -> RunCost | None:
        """Returns what a run cost, with so many entries and reservations at most.

        None if the ledger knows nothing of the run. Reservations are as they stand at ``now_ms``.
        """
        ...

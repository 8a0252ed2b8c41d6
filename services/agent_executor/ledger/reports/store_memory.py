"""``ReportStore`` on the ledger that lives as long as its process: it looks at every entry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.reports.time_zones import Offset, label, offsets
from agent_executor.ledger.reports.usage_query import (
    SUMS,
    Dimension,
    EntryFilter,
    EntryPlace,
    PlacedEntry,
    RunCost,
    SummaryQuery,
    SummaryRows,
    UsageSummary,
)


class MemoryReportStore:
    """``ReportStore`` on what is in memory."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    async def newest_position(self, organization_id: str) -> int:
        """See ``ReportStore``."""
        return len(self._ledger.organizations[organization_id].entries)

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
        found = self._placed(organization_id, entry_filter, up_to_position)
        if not oldest_first:
            found.reverse()
        if beyond is not None:
            found = [
                one for one in found if (one.place > beyond if oldest_first else one.place < beyond)
            ]
        return found[:limit]

    async def scan(
        self, organization_id: str, entry_filter: EntryFilter
    ) -> AsyncIterator[Sequence[UsageEntry]]:
        """See ``ReportStore``."""
        newest = await self.newest_position(organization_id)
        found = self._placed(organization_id, entry_filter, newest)
        if found:
            yield [one.entry for one in found]

    async def summarize(
        self,
        organization_id: str,
        query: SummaryQuery,
        up_to_position: int,
        limit: int,
        offset: int = 0,
    ) -> SummaryRows:
        """See ``ReportStore``."""
        found = [
            one.entry for one in self._placed(organization_id, query.entry_filter, up_to_position)
        ]
        total = _sum(found)
        rows = list(_groups(found, query)) if query.group_by else [total]
        return SummaryRows(tuple(rows[offset : offset + limit]), total)

    async def run_cost(
        self, organization_id: str, run_id: str, now_ms: int, limit: int
    ) -> RunCost | None:
        """See ``ReportStore``."""
        every = self._ledger.organizations[organization_id].entries
        placed = self._placed(organization_id, EntryFilter(run_id=run_id), len(every))
        entries = [one.entry for one in placed]
        holds = [
            one.as_of(now_ms)
            for one in self._ledger.organizations[organization_id].reservations.values()
            if one.run_id == run_id
        ]
        if not entries and not holds:
            return None
        holds.sort(key=lambda one: (one.created_at_ms, one.id))
        ids = {one.id for one in holds}
        estimates = {one.id for one in every if one.estimated}
        return RunCost(
            run_id=run_id,
            entries=tuple(entries[:limit]),
            reservations=tuple(holds[:limit]),
            total=_sum(entries),
            estimated_nano_usd=NanoUsd(
                sum(
                    one.cost_nano_usd
                    for one in entries
                    if one.estimated or one.corrects_entry_id in estimates
                )
            ),
            reserved_nano_usd=NanoUsd(
                sum(one.remaining_nano_usd for one in holds if one.parent_id not in ids)
            ),
        )

    def _placed(
        self, organization_id: str, entry_filter: EntryFilter, up_to_position: int
    ) -> list[PlacedEntry]:
        """Returns the entries that are meant, oldest first."""
        written = self._ledger.organizations[organization_id].entries[:up_to_position]
        found = (
            PlacedEntry(position, entry)
            for position, entry in enumerate(written, 1)
            if _matches(entry_filter, entry)
        )
        return sorted(found, key=lambda one: one.place)


def _matches(entry_filter: EntryFilter, entry: UsageEntry) -> bool:
    return (
        entry_filter.run_id in ("", entry.run_id)
        and entry_filter.agent_id in ("", entry.agent_id)
        and entry_filter.user_id in ("", entry.user_id)
        and entry_filter.model in ("", entry.model)
        and entry_filter.tool_name in ("", entry.tool_name)
        and entry_filter.kind in ("", entry.kind)
        and (entry_filter.start_ms is None or entry.occurred_at_ms >= entry_filter.start_ms)
        and (entry_filter.end_ms is None or entry.occurred_at_ms < entry_filter.end_ms)
    )


def _groups(entries: Sequence[UsageEntry], query: SummaryQuery) -> Iterator[UsageSummary]:
    if not entries:
        return
    zone_offsets: tuple[Offset, ...] = ()
    if query.bucket:
        first, last = entries[0].occurred_at_ms, entries[-1].occurred_at_ms
        zone_offsets = offsets(query.time_zone, first, last + 1)
    groups: defaultdict[tuple[str, ...], list[UsageEntry]] = defaultdict(list)
    for entry in entries:
        groups[tuple(_value(entry, name, zone_offsets) for name in query.group_by)].append(entry)
    sums = {key: _sum(group) for key, group in groups.items()}

    def order(key: tuple[str, ...]) -> tuple[object, ...]:
        if query.order_by == "time" and query.bucket:
            return key[query.group_by.index(query.bucket)], key
        return -sums[key].cost_nano_usd, key

    for key in sorted(sums, key=order):
        yield msgspec.structs.replace(sums[key], **dict(zip(query.group_by, key, strict=True)))


def _value(entry: UsageEntry, dimension: Dimension, zone_offsets: tuple[Offset, ...]) -> str:
    match dimension:
        case "user":
            return entry.user_id
        case "agent":
            return entry.agent_id
        case "model":
            return entry.model
        case "tool":
            return entry.tool_name
        case "run":
            return entry.run_id
        case "kind":
            return entry.kind
        case bucket:
            return label(bucket, entry.occurred_at_ms, zone_offsets)


def _sum(entries: Sequence[UsageEntry]) -> UsageSummary:
    sums = {
        name: sum(getattr(entry.usage, name) for entry in entries)
        for name in SUMS
        if name not in ("entry_count", "cost_nano_usd")
    }
    cost = NanoUsd(sum(entry.cost_nano_usd for entry in entries))
    return UsageSummary(entry_count=len(entries), cost_nano_usd=cost, **sums)

"""From where the entries of a time are summed up: from days, from hours, or one by one. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agent_executor.ledger.accounting.rollup import DAY_MS, HOUR_MS, RollupDetail
from agent_executor.ledger.reports.time_zones import Offset, offsets
from agent_executor.ledger.reports.usage_query import SummaryQuery, TimeBucket

Span = tuple[int, int]
"""From a time until before another one, in milliseconds since 1970-01-01 UTC."""


class SummaryPlan(msgspec.Struct, frozen=True):
    """Parts that together are a span of time, each summed up from what has the fewest rows.

    Attributes:
        detail: Of which sums days and hours are taken.
        bucket: What times are grouped by; None: by nothing.
        zone_offsets: What clocks show in the span; irrelevant without a bucket.
        days: UTC days that are taken whole.
        hours: Hours that are taken whole.
        entries: What is left at the edges, entry by entry.
        moves_hours: Whether some hours of ``days`` belong to another group than their day's noon,
            since days do not begin at midnight UTC.
        splits_hours: Whether even an hour may belong to two groups.
    """

    detail: RollupDetail
    bucket: TimeBucket | None
    zone_offsets: tuple[Offset, ...]
    days: Span | None
    hours: tuple[Span, ...]
    entries: tuple[Span, ...]
    moves_hours: bool
    splits_hours: bool

    @property
    def has_hours(self) -> bool:
        """Whether there are sums of hours that tell enough apart."""
        return self.detail != "all"

    @property
    def rolled_up(self) -> Span | None:
        """What is taken from roll-ups, which count every entry, also the newest."""
        spans = (*self.hours, *((self.days,) if self.days else ()))
        if not spans:
            return None
        return min(start for start, _ in spans), max(end for _, end in spans)


def plan(query: SummaryQuery, start_ms: int, end_ms: int) -> SummaryPlan:
    """Returns from where the entries from ``start_ms`` until before ``end_ms`` are summed up."""
    span, bucket, detail = (start_ms, end_ms), query.bucket, _detail(query)
    zone_offsets = offsets(query.time_zone, start_ms, end_ms) if bucket else ()
    splits_hours = any(one.offset_ms % HOUR_MS for one in zone_offsets)
    days = _whole(span, DAY_MS) if bucket != "hour" else None
    # Where hours cannot be had, or might be split, the edges of the days are summed up one by one.
    hours = _whole(span, HOUR_MS) if detail != "all" and not splits_hours else days
    if query.names_runs:
        days = hours = None
    return SummaryPlan(
        detail=detail,
        bucket=bucket,
        zone_offsets=zone_offsets,
        days=days,
        hours=tuple(_without(hours, days)) if hours else (),
        entries=tuple(_without(span, hours)),
        moves_hours=any(one.offset_ms for one in zone_offsets),
        splits_hours=splits_hours,
    )


def _detail(query: SummaryQuery) -> RollupDetail:
    """Returns which sums tell apart what is asked for, and no more than they must."""
    asked = {*query.group_by, *query.entry_filter.dimensions}
    if asked.isdisjoint(("agent", "model", "tool", "kind")):
        return "users"
    return "all" if "user" in asked else "agents"


def whole_days(first_ms: int, last_ms: int) -> Span:
    """Returns the UTC days that hold both times and all between."""
    return first_ms // DAY_MS * DAY_MS, (last_ms // DAY_MS + 1) * DAY_MS


def _whole(span: Span, unit_ms: int) -> Span | None:
    """Returns the whole hours or days in a span, if there are any."""
    start, end = -(-span[0] // unit_ms) * unit_ms, span[1] // unit_ms * unit_ms
    return (start, end) if start < end else None


def _without(span: Span, middle: Span | None) -> Iterator[Span]:
    """Yields what is left of a span without a part of it."""
    for start, end in ((span[0], middle[0]), (middle[1], span[1])) if middle else (span,):
        if start < end:
            yield start, end

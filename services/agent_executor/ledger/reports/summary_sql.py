"""The one statement that sums usage up, for SQLite and PostgreSQL alike.

Each part of a ``SummaryPlan`` is summed up by itself, with a sign: what roll-ups count too much is
taken off again. The groups are the sums of the parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)

from agent_executor.ledger.accounting.rollup import DAY_MS, HOUR_MS
from agent_executor.ledger.reports.clock_text import clock_text
from agent_executor.ledger.reports.entries_sql import matching
from agent_executor.ledger.reports.summary_plan import Span, SummaryPlan
from agent_executor.ledger.reports.usage_query import SUMS, Dimension, SummaryQuery
from agent_executor.ledger.tables import USAGE_ENTRIES, USAGE_ROLLUPS

COLUMNS: Final[dict[Dimension, str]] = {
    "user": "user_id",
    "agent": "agent_id",
    "model": "model",
    "tool": "tool_name",
    "run": "run_id",
    "kind": "kind",
}
IS_TOTAL: Final = "is_total"
_LONG: Final = BigInteger()
_NOON_MS: Final = 12 * HOUR_MS
# A whole number of days, and enough of them that no time is negative: both databases would round it
# towards zero and not down.
_FAR_MS: Final = 1_000_000 * DAY_MS


def summary_statement(
    organization_id: str,
    query: SummaryQuery,
    plan: SummaryPlan,
    up_to_position: int,
    limit: int,
    offset: int,
) -> Select[Any]:
    """Returns the statement whose rows are groups and, marked ``is_total``, the sum over all."""
    parts = _Parts(organization_id, query, plan, up_to_position)
    summed = union_all(*parts).subquery("summed")
    dimensions = [summed.c[name] for name in query.group_by]
    groups = (
        select(*dimensions, *(func.sum(summed.c[name]).label(name) for name in SUMS))
        .group_by(*dimensions)
        # A group may have nothing but entries that are newer than what is asked for.
        .having(func.sum(summed.c.entry_count) != 0)
        .cte("groups")
    )
    order = _order(query, groups)
    page = select(literal(0, Integer).label(IS_TOTAL), *groups.c).order_by(*order)
    page_rows = page.limit(limit).offset(offset).subquery("page")
    total = select(
        literal(1, Integer).label(IS_TOTAL),
        *(literal("", Text).label(name) for name in query.group_by),
        *(func.coalesce(func.sum(groups.c[name]), 0).label(name) for name in SUMS),
    )
    both = union_all(select(page_rows), total).subquery("both")
    return select(both).order_by(both.c[IS_TOTAL], *_order(query, both))


def _order(query: SummaryQuery, rows: FromClause) -> list[ColumnElement[Any]]:
    dimensions = [rows.c[name] for name in query.group_by]
    if query.order_by == "time" and query.bucket:
        return [rows.c[query.bucket], *dimensions]
    return [rows.c.cost_nano_usd.desc(), *dimensions]


class _Parts:
    """The parts of a plan, each a statement with the same columns."""

    def __init__(
        self, organization_id: str, query: SummaryQuery, plan: SummaryPlan, up_to_position: int
    ) -> None:
        self._organization_id = organization_id
        self._query = query
        self._plan = plan
        self._up_to_position = up_to_position

    def __iter__(self) -> Iterator[Select[Any]]:
        plan = self._plan
        for span in plan.entries:
            # "+ 0" keeps the databases from going by position, where the time says more.
            yield self._entries(span, USAGE_ENTRIES.c.sequence + 0 <= self._up_to_position)
        for span in plan.hours:
            yield self._rollups(span, 1)
        if plan.days:
            yield self._rollups(plan.days, 24)
            if plan.moves_hours:
                yield from self._moved(plan.days)
        if plan.rolled_up:
            yield self._newer(plan.rolled_up)

    def _entries(self, span: Span, condition: ColumnElement[bool]) -> Select[Any]:
        table = USAGE_ENTRIES
        label = self._label(table.c.occurred_at_ms)
        return self._sum(table, label, 1).where(
            self._matching(table),
            table.c.occurred_at_ms >= span[0],
            table.c.occurred_at_ms < span[1],
            condition,
        )

    def _newer(self, span: Span) -> Select[Any]:
        """What roll-ups count though it was written later. There is hardly ever any."""
        table = USAGE_ENTRIES
        # "+ 0" as above, for here the position says more than the time.
        time_ms = table.c.occurred_at_ms + 0
        return self._sum(table, self._label(table.c.occurred_at_ms), -1).where(
            self._matching(table),
            table.c.sequence > self._up_to_position,
            time_ms >= span[0],
            time_ms < span[1],
        )

    def _rollups(self, span: Span, span_hours: int) -> Select[Any]:
        table = USAGE_ROLLUPS
        names = [COLUMNS[name] for name in self._query.group_by if name in COLUMNS]
        keys = [table.c[name] for name in names]
        if self._plan.bucket:
            keys.insert(0, table.c.start_ms)
        # Summed up before the text of a time is made, which takes longer than the rest.
        rows = (
            select(*keys, *(func.sum(table.c[name]).label(name) for name in SUMS))
            .where(
                self._rolled_up(span_hours),
                table.c.start_ms >= span[0],
                table.c.start_ms < span[1],
            )
            .group_by(*keys)
            .subquery()
        )
        time_ms: ColumnElement[int] = literal(0, _LONG)
        if self._plan.bucket:
            time_ms = rows.c.start_ms + (_NOON_MS if span_hours > 1 else 0)
        return self._sum(rows, self._label(time_ms), 1, grouped=True)

    def _moved(self, span: Span) -> Iterator[Select[Any]]:
        """What is to be moved from the group of a UTC day's noon to where it belongs."""
        moved = self._moved_hours(span)
        rollups, entries = USAGE_ROLLUPS, USAGE_ENTRIES
        in_hour = and_(
            self._matching(entries),
            entries.c.occurred_at_ms >= moved.c.hour_ms,
            entries.c.occurred_at_ms < moved.c.hour_ms + HOUR_MS,
        )
        one_by_one = moved.join(entries, in_hour)
        label = self._label(entries.c.occurred_at_ms)
        if not self._plan.has_hours:
            yield self._sum(entries, moved.c.noon_label, -1).select_from(one_by_one)
            yield self._sum(entries, label, 1).select_from(one_by_one)
            return
        hour = and_(self._rolled_up(1), rollups.c.start_ms == moved.c.hour_ms)
        as_a_whole = moved.join(rollups, hour)
        yield self._sum(rollups, moved.c.noon_label, -1).select_from(as_a_whole)
        whole = self._sum(rollups, moved.c.label, 1).select_from(as_a_whole)
        yield whole.where(moved.c.is_split == 0)
        if self._plan.splits_hours:
            split = self._sum(entries, label, 1).select_from(one_by_one)
            yield split.where(moved.c.is_split == 1)

    def _moved_hours(self, span: Span) -> CTE:
        """Returns the hours of whole days that do not belong to the group of their day's noon."""
        hours = select(cast(literal(span[0], _LONG), _LONG).label("hour_ms")).cte(
            "hours", recursive=True
        )
        hours = hours.union_all(
            select(hours.c.hour_ms + HOUR_MS).where(hours.c.hour_ms + HOUR_MS < span[1])
        )
        start_ms = hours.c.hour_ms
        last_ms = start_ms + (HOUR_MS - 1)
        noon_ms = start_ms - (start_ms + _FAR_MS) % DAY_MS + _NOON_MS
        shown = (
            select(
                start_ms.label("hour_ms"),
                self._label(start_ms).label("label"),
                self._label(last_ms).label("last_label"),
                self._label(noon_ms).label("noon_label"),
                (self._ahead(start_ms) - self._ahead(last_ms)).label("change_ms"),
            )
            .select_from(hours)
            .subquery("shown")
        )
        is_split = or_(shown.c.label != shown.c.last_label, shown.c.change_ms != 0)
        return (
            select(
                shown.c.hour_ms,
                shown.c.label,
                shown.c.noon_label,
                case((is_split, 1), else_=0).label("is_split"),
            )
            .where(or_(shown.c.label != shown.c.noon_label, is_split))
            .cte("moved")
        )

    def _sum(
        self,
        rows: FromClause,
        label: ColumnElement[str],
        sign: int,
        *,
        grouped: bool = False,
    ) -> Select[Any]:
        """Returns sums of rows, or rows as they are if they are grouped, under the common names."""
        keys: list[ColumnElement[Any]] = []
        for name in self._query.group_by:
            if name == self._plan.bucket:
                keys.append(label)
            else:
                keys.append(rows.c[COLUMNS[name]])
        named = [key.label(name) for key, name in zip(keys, self._query.group_by, strict=True)]
        if grouped:
            return select(*named, *(rows.c[name] for name in SUMS))
        sums = (func.sum(value) for value in self._values(rows))
        signed = ((one if sign > 0 else -one) for one in sums)
        columns = (one.label(name) for one, name in zip(signed, SUMS, strict=True))
        return select(*named, *columns).group_by(*keys)

    def _values(self, rows: FromClause) -> Iterator[ColumnElement[int]]:
        for name in SUMS:
            if name == "entry_count" and name not in rows.c:
                yield literal(1, _LONG)
            else:
                yield rows.c[name]

    def _rolled_up(self, span_hours: int) -> ColumnElement[bool]:
        table = USAGE_ROLLUPS
        return and_(
            self._matching(table),
            table.c.detail == self._plan.detail,
            table.c.span_hours == span_hours,
        )

    def _matching(self, table: Table) -> ColumnElement[bool]:
        return matching(table, self._organization_id, self._query.entry_filter)

    def _label(self, time_ms: ColumnElement[int]) -> ColumnElement[str]:
        """Returns what clocks show at a time; without a bucket it is not asked for."""
        bucket = self._plan.bucket
        if bucket is None:
            return literal("", Text)
        shown_ms = time_ms + self._ahead(time_ms)
        return clock_text(bucket, (shown_ms + _FAR_MS) // 1000 - _FAR_MS // 1000)

    def _ahead(self, time_ms: ColumnElement[int]) -> ColumnElement[int]:
        """Returns how far clocks are ahead of UTC at a time."""
        first, *changes = self._plan.zone_offsets
        if not changes:
            return literal(first.offset_ms, _LONG)
        whens = []
        before = first
        for change in changes:
            whens.append((time_ms < change.from_ms, literal(before.offset_ms, _LONG)))
            before = change
        return case(*whens, else_=literal(before.offset_ms, _LONG))

"""Statements that read entries, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, Table, and_, literal, select, tuple_

from agent_executor.ledger.accounting.rows import ENTRY_NAMES, entry_of_row
from agent_executor.ledger.reports.usage_query import EntryFilter, EntryPlace, PlacedEntry
from agent_executor.ledger.tables import USAGE_ENTRIES
from agent_executor.storage.statements import Row

_LONG: Final = BigInteger()


def matching(table: Table, organization_id: str, entry_filter: EntryFilter) -> ColumnElement[bool]:
    """Returns the condition of a filter but for the time, on entries or roll-ups."""
    conditions = [table.c.organization_id == organization_id]
    for name in ("run_id", "agent_id", "user_id", "model", "tool_name", "kind"):
        value = getattr(entry_filter, name)
        if not value:
            continue
        column: ColumnElement[str] = table.c[name]
        if entry_filter.run_id and name in ("agent_id", "user_id"):
            # Keeps SQLite, which knows no statistics, from going by anything but the run.
            column = column + literal("")
        conditions.append(column == value)
    return and_(*conditions)


def entries_statement(
    organization_id: str,
    entry_filter: EntryFilter,
    limit: int,
    up_to_position: int,
    beyond: EntryPlace | None,
    *,
    oldest_first: bool,
) -> Select[Any]:
    """Returns the statement of ``ReportStore.entries``."""
    entry = USAGE_ENTRIES.c
    statement = select(USAGE_ENTRIES).where(
        matching(USAGE_ENTRIES, organization_id, entry_filter),
        # "+ 0" keeps SQLite from going by position, where the time says more.
        entry.sequence + 0 <= up_to_position,
    )
    if entry_filter.start_ms is not None:
        statement = statement.where(entry.occurred_at_ms >= entry_filter.start_ms)
    if entry_filter.end_ms is not None:
        statement = statement.where(entry.occurred_at_ms < entry_filter.end_ms)
    place = tuple_(entry.occurred_at_ms, entry.sequence)
    if beyond is not None:
        last = tuple_(literal(beyond.occurred_at_ms, _LONG), literal(beyond.position, _LONG))
        statement = statement.where(place > last if oldest_first else place < last)
    if oldest_first:
        ordered = statement.order_by(entry.occurred_at_ms, entry.sequence)
    else:
        ordered = statement.order_by(entry.occurred_at_ms.desc(), entry.sequence.desc())
    return ordered.limit(limit)


def placed_entry(row: Row) -> PlacedEntry:
    """Returns the entry of a row."""
    return PlacedEntry(row["sequence"], entry_of_row([row[name] for name in ENTRY_NAMES]))


def newest_position_statement(organization_id: str) -> Select[Any]:
    """Returns the statement of the largest position; no row if there are no entries."""
    entry = USAGE_ENTRIES.c
    statement = select(entry.sequence).where(entry.organization_id == organization_id)
    return statement.order_by(entry.sequence.desc()).limit(1)


def extent_statement(organization_id: str, *, newest: bool) -> Select[Any]:
    """Returns the statement of when the first or the last entry occurred."""
    entry = USAGE_ENTRIES.c
    statement = select(entry.occurred_at_ms).where(entry.organization_id == organization_id)
    order = entry.occurred_at_ms.desc() if newest else entry.occurred_at_ms
    return statement.order_by(order).limit(1)

"""SQL that reads the ledger. Every function runs on one snapshot of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.sqlite_reservations import ENTRY_COLUMNS, read_entry
from agent_executor.ledger.reports.usage_query import (
    Dimension,
    EntryFilter,
    SummaryRows,
    UsageSummary,
)

_CONDITIONS: Final[dict[str, str]] = {
    "run_id": "run_id = :run_id",
    "agent_id": "agent_id = :agent_id",
    "user_id": "user_id = :user_id",
    "model": "model = :model",
    "start_ms": "created_at_ms >= :start_ms",
    "end_ms": "created_at_ms < :end_ms",
}
_GROUPS: Final[dict[Dimension, str]] = {
    "user": "user_id",
    "agent": "agent_id",
    "model": "model",
    "run": "run_id",
    "day": "strftime('%Y-%m-%d', created_at_ms / 1000, 'unixepoch')",
}
# In the order of the first fields of UsageSummary.
_SUMS: Final = """
    COUNT(*), COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0),
    COALESCE(SUM(cache_read_input_tokens), 0), COALESCE(SUM(cache_creation_input_tokens_5m), 0),
    COALESCE(SUM(cache_creation_input_tokens_1h), 0), COALESCE(SUM(cost_nano_usd), 0) AS cost
"""
_SUM_COUNT: Final = 7
_NEWEST: Final = """
    SELECT id FROM usage_entries WHERE organization_id = ?
    ORDER BY created_at_ms DESC, sequence DESC LIMIT 1
"""
_POSITION: Final = """
    SELECT created_at_ms, sequence FROM usage_entries WHERE organization_id = ? AND id = ?
"""
_BEFORE_ALL: Final = (-1, 0)


def newest_entry_id(connection: sqlite3.Connection, organization_id: str) -> str:
    """See ``EntryStore.newest_entry_id``."""
    row = connection.execute(_NEWEST, (organization_id,)).fetchone()
    return "" if row is None else str(row[0])


def entries(
    connection: sqlite3.Connection,
    organization_id: str,
    entry_filter: EntryFilter,
    limit: int,
    before_entry_id: str,
) -> list[UsageEntry] | None:
    """See ``EntryStore.entries``."""
    where, parameters = _where(organization_id, entry_filter)
    if before_entry_id:
        before = _position(connection, organization_id, before_entry_id)
        if before is None:
            return None
        where += " AND (created_at_ms, sequence) < (:before_ms, :before_sequence)"
        parameters |= {"before_ms": before[0], "before_sequence": before[1]}
    rows = connection.execute(
        f"""
        SELECT {ENTRY_COLUMNS} FROM usage_entries WHERE {where}
        ORDER BY created_at_ms DESC, sequence DESC LIMIT :limit
        """,  # noqa: S608 -- made of constants
        {**parameters, "limit": limit},
    )
    return [read_entry(row) for row in rows]


def summarize(
    connection: sqlite3.Connection,
    organization_id: str,
    entry_filter: EntryFilter,
    up_to_entry_id: str,
    group_by: Sequence[Dimension],
    limit: int,
    offset: int,
) -> SummaryRows | None:
    """See ``EntryStore.summarize``."""
    up_to = _BEFORE_ALL
    if up_to_entry_id:
        position = _position(connection, organization_id, up_to_entry_id)
        if position is None:
            return None
        up_to = position
    where, parameters = _where(organization_id, entry_filter)
    where += " AND (created_at_ms, sequence) <= (:up_to_ms, :up_to_sequence)"
    parameters |= {"up_to_ms": up_to[0], "up_to_sequence": up_to[1]}
    total = _summaries(
        connection.execute(f"SELECT {_SUMS} FROM usage_entries WHERE {where}", parameters),  # noqa: S608 -- made of constants
        (),
    )[0]
    if not group_by:
        return SummaryRows((total,)[offset : offset + limit], total)
    groups = ", ".join(_GROUPS[dimension] for dimension in group_by)
    rows = connection.execute(
        f"""
        SELECT {_SUMS}, {groups} FROM usage_entries WHERE {where} GROUP BY {groups}
        ORDER BY cost DESC, {groups} LIMIT :limit OFFSET :offset
        """,  # noqa: S608 -- made of constants
        {**parameters, "limit": limit, "offset": offset},
    )
    return SummaryRows(tuple(_summaries(rows, group_by)), total)


def _position(
    connection: sqlite3.Connection, organization_id: str, entry_id: str
) -> tuple[int, int] | None:
    """Returns where an entry is in the order of the ledger, or None if there is none."""
    row: tuple[int, int] | None = connection.execute(
        _POSITION, (organization_id, entry_id)
    ).fetchone()
    return row


def _where(organization_id: str, entry_filter: EntryFilter) -> tuple[str, dict[str, Any]]:
    """Returns the condition of a filter and its parameters."""
    values = msgspec.structs.asdict(entry_filter)
    parameters = {name: value for name, value in values.items() if value not in ("", None)}
    conditions = ["organization_id = :organization_id", *map(_CONDITIONS.__getitem__, parameters)]
    return " AND ".join(conditions), {**parameters, "organization_id": organization_id}


def _summaries(rows: sqlite3.Cursor, group_by: Sequence[Dimension]) -> list[UsageSummary]:
    return [
        UsageSummary(*row[:_SUM_COUNT], **dict(zip(group_by, row[_SUM_COUNT:], strict=True)))
        for row in rows
    ]

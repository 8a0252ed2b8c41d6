"""What runs do to their conversation, within the journal's transactions, in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

from agent_executor.errors import ConflictError
from agent_executor.executor.conversations.conversation import RunEnd, busy_error
from agent_executor.executor.conversations.rows import (
    CONVERSATION_NAMES,
    PART_NAMES,
    new_row,
    part_row,
    trim_text,
)
from agent_executor.executor.journal.journal import RunRecord

_INSERT: Final = (
    f"INSERT INTO conversations ({', '.join(CONVERSATION_NAMES)})"  # noqa: S608 -- fixed column names, no input
    f" VALUES ({', '.join('?' * len(CONVERSATION_NAMES))}) ON CONFLICT DO NOTHING"
)
_CONTINUE: Final = (
    "UPDATE conversations SET agent_id = ?3, last_run_id = ?4, run_count = run_count + 1,"
    " updated_at_ms = max(updated_at_ms, ?5)"
    " WHERE organization_id = ?1 AND conversation_id = ?2 AND last_run_id = ?6"
    " AND EXISTS (SELECT 1 FROM runs WHERE run_id = ?6 AND ended_at_ms > 0)"
)
_LAST_RUN: Final = (
    "SELECT last_run_id FROM conversations WHERE organization_id = ? AND conversation_id = ?"
)
_ADD_PART: Final = (
    f"INSERT INTO conversation_parts ({', '.join(PART_NAMES)})"  # noqa: S608 -- fixed column names, no input
    f" VALUES ({', '.join('?' * len(PART_NAMES))})"
)
_END: Final = (
    "UPDATE conversations SET part_count = part_count + ?4, message_count = ?5,"
    " size_bytes = size_bytes + ?6, updated_at_ms = max(updated_at_ms, ?7),"
    " applied_trim = CASE ?8 WHEN '' THEN applied_trim ELSE ?8 END"
    " WHERE organization_id = ?1 AND conversation_id = ?2 AND last_run_id = ?3"
)


def begin_run(
    connection: sqlite3.Connection, run: RunRecord, after_run_id: str
) -> ConflictError | None:
    """Makes a run the last one of its conversation, or returns why it cannot be; see ``Journal``."""
    key = (run.organization_id, run.conversation_id)
    if after_run_id:
        values = (*key, run.agent_id, run.run_id, run.created_at_ms, after_run_id)
        done = connection.execute(_CONTINUE, values).rowcount
    else:
        done = connection.execute(_INSERT, new_row(run)).rowcount
    if done:
        return None
    last = connection.execute(_LAST_RUN, key).fetchone()
    return busy_error(run.conversation_id, last[0] if last else after_run_id)


def end_run(connection: sqlite3.Connection, end: RunEnd) -> None:
    """Adds what a run that ended has said."""
    row = part_row(end)
    size_bytes = 0
    if end.part.messages:
        connection.execute(_ADD_PART, row)
        size_bytes = row[PART_NAMES.index("size_bytes")]
    values = (
        end.organization_id,
        end.conversation_id,
        end.part.run_id,
        int(bool(end.part.messages)),
        end.part.end_index,
        size_bytes,
        end.ended_at_ms,
        trim_text(end),
    )
    connection.execute(_END, values)

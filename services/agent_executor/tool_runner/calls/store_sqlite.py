"""The record of calls and the audit log in SQLite: one write, and one commit, for both."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.tool_runner.calls.audit import EVERY_RECORD, AuditFilter, AuditRecord
from agent_executor.tool_runner.calls.audit_chain import EMPTY, Head, linked
from agent_executor.tool_runner.calls.record import CallRecord
from agent_executor.tool_runner.calls.store_rows import (
    AUDIT_COLUMNS,
    AUDIT_NAMES,
    CALL_COLUMNS,
    CALL_NAMES,
    audit_conditions,
    audit_index,
    audit_of_row,
    call_of_row,
    row_of_audit,
    row_of_call,
)

# S608: all parts of these statements are fixed names of columns; values are bound.
_INSERT_CALL: Final = (
    f"INSERT INTO tool_calls ({CALL_COLUMNS}) VALUES ({', '.join('?' * len(CALL_NAMES))})"  # noqa: S608 -- see above
    " ON CONFLICT (organization_id, tool_call_id)"
)
_BEGIN_CALL: Final = f"{_INSERT_CALL} DO NOTHING"
_FINISH_CALL: Final = (
    f"{_INSERT_CALL} DO UPDATE SET"
    f" ({CALL_COLUMNS}) = ({', '.join(f'excluded.{name}' for name in CALL_NAMES)})"
    " WHERE tool_calls.success IS NULL"
)
_FIND_CALL: Final = (
    f"SELECT {CALL_COLUMNS} FROM tool_calls WHERE organization_id = ? AND tool_call_id = ?"  # noqa: S608 -- see above
)
_DELETE_INTENT: Final = (
    "DELETE FROM tool_calls WHERE organization_id = ? AND tool_call_id = ? AND started_at_ms = ?"
    " AND success IS NULL"
)
_LIST_INTENTS: Final = f"SELECT {CALL_COLUMNS} FROM tool_calls WHERE success IS NULL"  # noqa: S608 -- see above
_FIND_HEAD: Final = (
    "SELECT sequence, sha256 FROM audit_events WHERE organization_id = ?"
    " ORDER BY sequence DESC LIMIT 1"
)
_APPEND_AUDIT: Final = (
    f"INSERT INTO audit_events ({AUDIT_COLUMNS}) VALUES ({', '.join('?' * len(AUDIT_NAMES))})"  # noqa: S608 -- see above
)


class SqliteCallStore:
    """``CallRecords`` and ``AuditLog`` in the tool-runner's database, which no other process writes.

    Attributes:
        others_run_seconds: See ``CallRecords``.
        runner_id: See ``CallRecords``.
    """

    def __init__(self, database: SqliteDatabase) -> None:
        self.others_run_seconds = 0.0
        self.runner_id = 0
        self._database = database

    async def is_alive(self, runner_id: int) -> bool:
        """See ``CallRecords``."""
        del runner_id
        return True

    async def find(self, organization_id: str, tool_call_id: str) -> CallRecord | None:
        """See ``CallRecords``."""
        key = (organization_id, tool_call_id)
        row = self._database.read_inline(
            lambda connection: connection.execute(_FIND_CALL, key).fetchone()
        )
        return call_of_row(row) if row else None

    async def begin(self, record: CallRecord) -> CallRecord | None:
        """See ``CallRecords``."""
        key = (record.organization_id, record.tool_call_id)
        row = row_of_call(record)

        def write(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            if connection.execute(_BEGIN_CALL, row).rowcount:
                return None
            found: tuple[Any, ...] = connection.execute(_FIND_CALL, key).fetchone()
            return found

        found = await self._database.writer.submit(write)
        return call_of_row(found) if found else None

    async def finish(self, record: CallRecord, audit: AuditRecord) -> CallRecord | None:
        """See ``CallRecords``."""
        key = (record.organization_id, record.tool_call_id)
        row = row_of_call(record)

        def write(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            if connection.execute(_FINISH_CALL, row).rowcount:
                _append(connection, audit)
                return None
            found: tuple[Any, ...] = connection.execute(_FIND_CALL, key).fetchone()
            return found

        found = await self._database.writer.submit(write)
        return call_of_row(found) if found else None

    async def forget(self, record: CallRecord, audit: AuditRecord) -> None:
        """See ``CallRecords``."""
        key = (record.organization_id, record.tool_call_id, record.started_at_ms)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_DELETE_INTENT, key)
            _append(connection, audit)

        await self._database.writer.submit(write)

    async def append_audit_record(self, audit: AuditRecord) -> None:
        """See ``CallRecords``."""

        def write(connection: sqlite3.Connection) -> None:
            _append(connection, audit)

        await self._database.writer.submit(write)

    async def unfinished(self) -> list[CallRecord]:
        """See ``CallRecords``."""
        rows = await self._database.read(
            lambda connection: connection.execute(_LIST_INTENTS).fetchall()
        )
        return [call_of_row(row) for row in rows]

    async def list_audit_records(
        self,
        organization_id: str,
        limit: int,
        *,
        before_sequence: int | None = None,
        matching: AuditFilter = EVERY_RECORD,
    ) -> list[AuditRecord]:
        """See ``AuditLog``."""
        statement, values = audit_query(organization_id, limit, before_sequence, matching)
        rows = await self._database.read(
            lambda connection: connection.execute(statement, values).fetchall()
        )
        return [audit_of_row(row) for row in rows]


def audit_query(
    organization_id: str, limit: int, before_sequence: int | None, matching: AuditFilter
) -> tuple[str, list[object]]:
    """Returns the statement of ``list_audit_records`` and its values."""
    conditions = audit_conditions(organization_id, before_sequence, matching)
    places = [f"{condition} ?" for condition, _ in conditions]
    index = audit_index(matching)
    if index == "audit_events_exceptional":
        # SQLite takes a partial index only for its very condition.
        places.append("decision <> 'allowed'")
    # Left to itself, SQLite walks through the whole organization.
    hint = f"INDEXED BY {index}" if index else ""
    statement = (
        f"SELECT {AUDIT_COLUMNS} FROM audit_events {hint}"  # noqa: S608 -- fixed names and conditions; values are bound
        f" WHERE {' AND '.join(places)} ORDER BY sequence DESC LIMIT ?"
    )
    return statement, [*(value for _, value in conditions), limit]


def _append(connection: sqlite3.Connection, audit: AuditRecord) -> None:
    """Adds a record to the chain of its organization."""
    row = connection.execute(_FIND_HEAD, (audit.organization_id,)).fetchone()
    record = linked(audit, Head(*row) if row else EMPTY)
    connection.execute(_APPEND_AUDIT, row_of_audit(record))

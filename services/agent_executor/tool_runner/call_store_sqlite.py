"""The record of calls and the audit log in SQLite: one write, and one commit, for both."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.tool_runner.audit import AuditRecord
from agent_executor.tool_runner.call_record import CallRecord
from agent_executor.tool_runner.tool_call import ToolResult, unix_ms_of, utc_of

# The columns of each table are the fields, in their order; the result's fields follow the call's.
_CALL_FIELDS: Final = tuple(name for name in CallRecord.__struct_fields__ if name != "result")
_RESULT_FIELDS: Final = ("success", "result_json", "error", "code", "finished_at_ms", "duration_ms")
_CALL_COLUMNS: Final = ", ".join((*_CALL_FIELDS, *_RESULT_FIELDS))
_CALL_PLACES: Final = ", ".join("?" * len((*_CALL_FIELDS, *_RESULT_FIELDS)))
_AUDIT_COLUMNS: Final = ", ".join(AuditRecord.__struct_fields__)

# S608: all parts of these statements are fixed names of columns; values are bound.
_BEGIN_CALL: Final = f"INSERT INTO tool_calls ({_CALL_COLUMNS}) VALUES ({_CALL_PLACES})"  # noqa: S608 -- see above
_FINISH_CALL: Final = (
    f"{_BEGIN_CALL} ON CONFLICT (organization_id, tool_call_id) DO UPDATE SET"
    f" ({_CALL_COLUMNS}) = ({', '.join(f'excluded.{name}' for name in _CALL_COLUMNS.split(', '))})"
    " WHERE tool_calls.success IS NULL"
)
_FIND_CALL: Final = (
    f"SELECT {_CALL_COLUMNS} FROM tool_calls WHERE organization_id = ? AND tool_call_id = ?"  # noqa: S608 -- see above
)
_DELETE_INTENT: Final = (
    "DELETE FROM tool_calls WHERE organization_id = ? AND tool_call_id = ? AND success IS NULL"
)
_LIST_INTENTS: Final = f"SELECT {_CALL_COLUMNS} FROM tool_calls WHERE success IS NULL"  # noqa: S608 -- see above
_OTHER_AUDIT_PLACES: Final = ", ".join(
    f"?{number}" for number in range(3, len(AuditRecord.__struct_fields__) + 1)
)
_APPEND_AUDIT: Final = (
    f"INSERT INTO audit_events ({_AUDIT_COLUMNS})"  # noqa: S608 -- see above
    f" SELECT ?1, coalesce(max(sequence), 0) + 1, {_OTHER_AUDIT_PLACES}"
    " FROM audit_events WHERE organization_id = ?1"
)


class SqliteCallStore:
    """``CallRecords`` and ``AuditLog`` in the tool-runner's database."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def find(self, organization_id: str, tool_call_id: str) -> CallRecord | None:
        """See ``CallRecords``."""
        key = (organization_id, tool_call_id)
        row = self._database.read_inline(
            lambda connection: connection.execute(_FIND_CALL, key).fetchone()
        )
        return _record_of(row) if row else None

    async def begin(self, record: CallRecord) -> None:
        """See ``CallRecords``."""
        row = _row_of(record)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_BEGIN_CALL, row)

        await self._database.writer.submit(write)

    async def finish(self, record: CallRecord, audit: AuditRecord) -> CallRecord | None:
        """See ``CallRecords``."""
        key = (record.organization_id, record.tool_call_id)
        row, audit_row = _row_of(record), msgspec.structs.astuple(audit)

        def write(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            if connection.execute(_FINISH_CALL, row).rowcount:
                connection.execute(_APPEND_AUDIT, audit_row)
                return None
            found: tuple[Any, ...] = connection.execute(_FIND_CALL, key).fetchone()
            return found

        found = await self._database.writer.submit(write)
        return _record_of(found) if found else None

    async def forget(self, record: CallRecord, audit: AuditRecord) -> None:
        """See ``CallRecords``."""
        key = (record.organization_id, record.tool_call_id)
        audit_row = msgspec.structs.astuple(audit)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_DELETE_INTENT, key)
            connection.execute(_APPEND_AUDIT, audit_row)

        await self._database.writer.submit(write)

    async def append_audit_record(self, audit: AuditRecord) -> None:
        """See ``CallRecords``."""
        audit_row = msgspec.structs.astuple(audit)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_APPEND_AUDIT, audit_row)

        await self._database.writer.submit(write)

    async def unfinished(self) -> list[CallRecord]:
        """See ``CallRecords``."""
        rows = await self._database.read(
            lambda connection: connection.execute(_LIST_INTENTS).fetchall()
        )
        return [_record_of(row) for row in rows]

    async def list_audit_records(
        self,
        organization_id: str,
        limit: int,
        *,
        before_sequence: int | None = None,
        run_id: str = "",
        tool_name: str = "",
    ) -> list[AuditRecord]:
        """See ``AuditLog``."""
        statement, values = audit_query(organization_id, limit, before_sequence, run_id, tool_name)
        rows = await self._database.read(
            lambda connection: connection.execute(statement, values).fetchall()
        )
        fields = AuditRecord.__struct_fields__
        return [AuditRecord(**dict(zip(fields, row, strict=True))) for row in rows]


def audit_query(
    organization_id: str, limit: int, before_sequence: int | None, run_id: str, tool_name: str
) -> tuple[str, list[object]]:
    """Returns the statement of ``list_audit_records`` and its values."""
    conditions = ["organization_id = ?"]
    values: list[object] = [organization_id]
    for condition, value in (
        ("sequence < ?", before_sequence),
        ("run_id = ?", run_id or None),
        ("tool_name = ?", tool_name or None),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    # Left to itself, SQLite walks through the whole organization.
    index = "INDEXED BY audit_events_by_run" if run_id else ""
    statement = (
        f"SELECT {_AUDIT_COLUMNS} FROM audit_events {index}"  # noqa: S608 -- fixed names and conditions; values are bound
        f" WHERE {' AND '.join(conditions)} ORDER BY sequence DESC LIMIT ?"
    )
    return statement, [*values, limit]


def _row_of(record: CallRecord) -> tuple[object, ...]:
    *call, result = msgspec.structs.astuple(record)
    if result is None:
        return (*call, None, None, None, None, None, None)
    return (
        *call,
        int(result.success),
        result.result_json,
        result.error,
        result.code,
        unix_ms_of(result.timestamp),
        result.duration_ms,
    )


def _record_of(row: tuple[Any, ...]) -> CallRecord:
    call = dict(zip(_CALL_FIELDS, row, strict=False))
    success, result_json, error, code, finished_at_ms, duration_ms = row[len(_CALL_FIELDS) :]
    if success is None:
        return CallRecord(**call)
    result = ToolResult(
        tool_call_id=call["tool_call_id"],
        tool_name=call["tool_name"],
        success=bool(success),
        result_json=result_json,
        error=error,
        code=code,
        timestamp=utc_of(finished_at_ms),
        duration_ms=duration_ms,
    )
    return CallRecord(**call, result=result)

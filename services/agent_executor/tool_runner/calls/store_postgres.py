"""The record of calls and the audit log in PostgreSQL, which several tool-runners may share.

Whoever adds to an organization's audit chain holds the organization's lock until the commit, so the
next one sees the head. It is taken before a call is written, so that writers do not wait in a ring.
The writes of one transaction that follow the first one know the head, and cost one round trip each.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.postgres_writer import PostgresTransaction
from agent_executor.tool_runner.calls.audit import EVERY_RECORD, AuditFilter, AuditRecord
from agent_executor.tool_runner.calls.audit_chain import EMPTY, Head, linked
from agent_executor.tool_runner.calls.record import CallRecord
from agent_executor.tool_runner.calls.runner_presence import IS_FREE, RUNNER_LOCKS
from agent_executor.tool_runner.calls.store_rows import (
    AUDIT_COLUMNS,
    AUDIT_NAMES,
    AUDIT_NUMBERS,
    CALL_COLUMNS,
    CALL_NAMES,
    audit_conditions,
    audit_of_row,
    call_of_row,
    row_of_audit,
    row_of_call,
)

# Sets these advisory locks apart from others of the same database.
_AUDIT_LOCKS: Final = 0x41554454


def _places(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))


def _audit_places(after: int) -> str:
    """Returns the places of an audit record; a statement without a table to fill needs types."""
    return ", ".join(
        f"${after + number}::{'bigint' if name in AUDIT_NUMBERS else 'text'}"
        for number, name in enumerate(AUDIT_NAMES, 1)
    )


# S608: all parts of these statements are fixed names of columns; values are bound.
_INSERT_CALL: Final = (
    f"INSERT INTO tool_calls ({CALL_COLUMNS}) VALUES ({_places(len(CALL_NAMES))})"  # noqa: S608 -- see above
    " ON CONFLICT (organization_id, tool_call_id)"
)
_BEGIN_CALL: Final = f"{_INSERT_CALL} DO NOTHING"
_APPEND_AUDIT: Final = f"INSERT INTO audit_events ({AUDIT_COLUMNS})"
_FINISH_CALL: Final = (
    f"WITH written AS ({_INSERT_CALL} DO UPDATE SET"  # noqa: S608 -- see above
    f" ({CALL_COLUMNS}) = ({', '.join(f'excluded.{name}' for name in CALL_NAMES)})"
    " WHERE tool_calls.success IS NULL RETURNING 1)"
    f" {_APPEND_AUDIT} SELECT {_audit_places(len(CALL_NAMES))} FROM written"
)
_FIND_CALL: Final = (
    f"SELECT {CALL_COLUMNS} FROM tool_calls WHERE organization_id = $1 AND tool_call_id = $2"  # noqa: S608 -- see above
)
_DELETE_INTENT: Final = (
    "DELETE FROM tool_calls WHERE organization_id = $1 AND tool_call_id = $2"
    " AND started_at_ms = $3 AND success IS NULL"
)
_LIST_INTENTS: Final = f"SELECT {CALL_COLUMNS} FROM tool_calls WHERE success IS NULL"  # noqa: S608 -- see above
_LOCK_CHAIN: Final = f"SELECT pg_advisory_xact_lock({_AUDIT_LOCKS}, hashtext($1))"
# A statement of its own, for one sees what was committed before it began, not while it waited.
_FIND_HEAD: Final = (
    "SELECT sequence, sha256 FROM audit_events WHERE organization_id = $1"
    " ORDER BY sequence DESC LIMIT 1"
)
_APPEND_ALONE: Final = f"{_APPEND_AUDIT} VALUES ({_audit_places(0)})"
# How a statement that changed no row ends.
_NO_ROW: Final = " 0"


class PostgresCallStore:
    """``CallRecords`` and ``AuditLog`` in the tool-runner's database.

    PostgreSQL stores no NUL character: in its place stands U+FFFD, in names and in messages.

    Attributes:
        others_run_seconds: See ``CallRecords``.
        runner_id: See ``CallRecords``.
    """

    def __init__(
        self, database: PostgresDatabase, others_run_seconds: float, runner_id: int = 0
    ) -> None:
        """Takes the open database.

        Args:
            database: The database.
            others_run_seconds: The longest that a tool may run, and a margin for the clocks.
            runner_id: What this process is known by to others, who see it live by its lock; see
                ``RunnerPresence``.
        """
        self.others_run_seconds = others_run_seconds
        self.runner_id = runner_id
        self._database = database

    async def is_alive(self, runner_id: int) -> bool:
        """See ``CallRecords``."""
        if not runner_id:
            return True
        is_free = await self._database.read_statement(
            lambda connection: connection.fetchval(IS_FREE, RUNNER_LOCKS, runner_id)
        )
        return not is_free

    async def find(self, organization_id: str, tool_call_id: str) -> CallRecord | None:
        """See ``CallRecords``."""
        key = _storable((organization_id, tool_call_id))
        row = await self._database.read_statement(
            lambda connection: connection.fetchrow(_FIND_CALL, *key)
        )
        return call_of_row(row) if row else None

    async def begin(self, record: CallRecord) -> CallRecord | None:
        """See ``CallRecords``."""
        row = _storable(row_of_call(record))

        async def write(transaction: PostgresTransaction) -> Any:
            while (await transaction.execute(_BEGIN_CALL, *row)).endswith(_NO_ROW):
                found = await transaction.fetchrow(_FIND_CALL, *row[:2])
                # Between the two statements another process may have removed its intent.
                if found is not None:
                    return found
            return None

        found = await self._database.writer.submit(write, key=record.organization_id)
        return call_of_row(found) if found else None

    async def finish(self, record: CallRecord, audit: AuditRecord) -> CallRecord | None:
        """See ``CallRecords``."""
        row = _storable(row_of_call(record))

        async def write(transaction: PostgresTransaction) -> Any:
            event = await _next_event(transaction, audit)
            status = await transaction.execute(_FINISH_CALL, *row, *row_of_audit(event))
            if status.endswith(_NO_ROW):
                return await transaction.fetchrow(_FIND_CALL, *row[:2])
            _remember_head(transaction, audit, event)
            return None

        found = await self._database.writer.submit(write, key=audit.organization_id)
        return call_of_row(found) if found else None

    async def forget(self, record: CallRecord, audit: AuditRecord) -> None:
        """See ``CallRecords``."""
        key = _storable((record.organization_id, record.tool_call_id, record.started_at_ms))

        async def write(transaction: PostgresTransaction) -> None:
            event = await _next_event(transaction, audit)
            await transaction.execute(_DELETE_INTENT, *key)
            await transaction.execute(_APPEND_ALONE, *row_of_audit(event))
            _remember_head(transaction, audit, event)

        await self._database.writer.submit(write, key=audit.organization_id)

    async def append_audit_record(self, audit: AuditRecord) -> None:
        """See ``CallRecords``."""

        async def write(transaction: PostgresTransaction) -> None:
            event = await _next_event(transaction, audit)
            await transaction.execute(_APPEND_ALONE, *row_of_audit(event))
            _remember_head(transaction, audit, event)

        await self._database.writer.submit(write, key=audit.organization_id)

    async def unfinished(self) -> list[CallRecord]:
        """See ``CallRecords``."""
        rows = await self._database.read_statement(
            lambda connection: connection.fetch(_LIST_INTENTS)
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
        rows = await self._database.read_statement(
            lambda connection: connection.fetch(statement, *values)
        )
        return [audit_of_row(row) for row in rows]


def audit_query(
    organization_id: str, limit: int, before_sequence: int | None, matching: AuditFilter
) -> tuple[str, tuple[Any, ...]]:
    """Returns the statement of ``list_audit_records`` and its values."""
    conditions = audit_conditions(organization_id, before_sequence, matching)
    places = [f"{condition} ${number}" for number, (condition, _) in enumerate(conditions, 1)]
    if matching.decision and matching.decision != "allowed":
        # A plan that is kept for any value would not use the partial index without it.
        places.append("decision <> 'allowed'")
    statement = (
        f"SELECT {AUDIT_COLUMNS} FROM audit_events"  # noqa: S608 -- fixed names and conditions; values are bound
        f" WHERE {' AND '.join(places)} ORDER BY sequence DESC LIMIT ${len(conditions) + 1}"
    )
    return statement, _storable((*(value for _, value in conditions), limit))


async def _next_event(transaction: PostgresTransaction, audit: AuditRecord) -> AuditRecord:
    """Returns a record as the next one of its organization's chain, which no other can add to now."""
    head: Head | None = transaction.memory.get(_head_key(audit))
    if head is None:
        key = _storable((audit.organization_id,))
        await transaction.execute(_LOCK_CHAIN, *key)
        row = await transaction.fetchrow(_FIND_HEAD, *key)
        head = Head(*row) if row else EMPTY
    # What is stored is what the digest is of.
    values = _storable(msgspec.structs.astuple(audit))
    storable = msgspec.structs.replace(audit, **dict(zip(AUDIT_NAMES, values, strict=True)))
    return linked(storable, head)


def _remember_head(
    transaction: PostgresTransaction, audit: AuditRecord, written: AuditRecord
) -> None:
    transaction.memory[_head_key(audit)] = Head(written.sequence, written.sha256)


def _head_key(audit: AuditRecord) -> tuple[str, str]:
    return "audit head", audit.organization_id


def _storable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns the values with U+FFFD for each NUL character, which PostgreSQL does not store."""
    return tuple(
        value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
        for value in values
    )

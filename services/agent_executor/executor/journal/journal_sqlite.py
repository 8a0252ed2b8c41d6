"""Runs in SQLite. Writes of all runs share commits; see ``storage.group_commit``."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agent_executor.errors import AgentExecutorError, LeaseLostError
from agent_executor.executor.conversations.conversation import RunEnd
from agent_executor.executor.conversations.runs_sqlite import begin_run, end_run
from agent_executor.executor.journal.journal import (
    EVERY_RUN,
    NO_RUNS,
    IdempotencyKey,
    RunFilter,
    RunRecord,
    known_run,
)
from agent_executor.executor.journal.journal_rows import (
    RUN_COLUMNS,
    RUN_NAMES,
    SUMMARY_NAMES,
    event_of,
    event_rows,
    filter_sql,
    in_turns,
    record_of,
    row_of,
    summary_of,
    summary_sql,
)
from agent_executor.executor.log.run_event import RunEvent
from agent_executor.executor.webhooks import runs_sqlite as webhooks
from agent_executor.executor.webhooks.delivery import Webhook
from agent_executor.storage.sqlite import SqliteDatabase

_INSERT_RUN: Final = f"INSERT INTO runs ({RUN_COLUMNS}) VALUES ({', '.join('?' * len(RUN_NAMES))})"  # noqa: S608 -- fixed column names, no input
_INSERT_EVENT: Final = "INSERT INTO run_events VALUES (?, ?, ?, ?)"
# The attempt fences a former owner; the sequence makes a gap or a repeat impossible.
_UPDATE_RUN: Final = (
    f"UPDATE runs SET ({', '.join(SUMMARY_NAMES)}) = ({summary_sql('?' * len(SUMMARY_NAMES))})"  # noqa: S608 -- fixed column names, no input
    " WHERE run_id = ? AND attempt = ? AND last_sequence = ?"
)
_TAKE: Final = "UPDATE runs SET owner = ?1, attempt = attempt + 1, wake_at_ms = 0"
_CAN_BE_CLAIMED: Final = (
    "ended_at_ms = 0 AND owner <> ?1 AND owner NOT IN ("
    " SELECT owner FROM executors WHERE lease_expires_at_ms > ?2)"
)
_DRIVEN: Final = "coalesce((SELECT value FROM json_each(?4) WHERE key = organization), 0)"
_CLAIM_RUNS: Final = (
    f"{_TAKE} WHERE run_id IN (SELECT run_id FROM ("  # noqa: S608 -- fixed column names, no input
    "  SELECT run_id, organization_id AS organization,"
    "   row_number() OVER (PARTITION BY organization_id ORDER BY run_id) AS turn"
    # Else it would read all runs that have ever ended, for they stand in the order of the turns.
    f"  FROM runs INDEXED BY runs_unfinished WHERE {_CAN_BE_CLAIMED} AND wake_at_ms <= ?2"
    f" ) ORDER BY turn + {_DRIVEN}, run_id LIMIT ?3) RETURNING {RUN_COLUMNS}"
)
_WAITING: Final = "ended_at_ms = 0 AND owner = '' AND wake_at_ms = 0"
# It looks up the first run of each organization and then, in the order of their turns, one run after
# the other: as many steps as runs are claimed, and not as many as wait.
_CLAIM_WAITING: Final = (
    "WITH RECURSIVE organizations (organization) AS ("  # noqa: S608 -- fixed column names, no input
    f"  SELECT min(organization_id) FROM runs WHERE {_WAITING} UNION ALL"
    f"  SELECT (SELECT min(organization_id) FROM runs WHERE {_WAITING}"
    "    AND organization_id > organization) FROM organizations WHERE organization IS NOT NULL"
    " ), found (organization, run_id, turn) AS ("
    f"  SELECT organization, (SELECT min(run_id) FROM runs WHERE {_WAITING}"
    f"    AND organization_id = organization), 1 + {_DRIVEN}"
    "   FROM organizations WHERE organization IS NOT NULL UNION ALL"
    f"  SELECT organization, (SELECT min(runs.run_id) FROM runs WHERE {_WAITING}"
    "    AND organization_id = organization AND runs.run_id > found.run_id), turn + 1"
    "   FROM found WHERE run_id IS NOT NULL ORDER BY 3, 2"
    # An organization of which no more runs wait takes one row to say so.
    "   LIMIT ?3 + (SELECT count(*) FROM organizations)"
    f" ) {_TAKE} WHERE run_id IN (SELECT run_id FROM found WHERE run_id IS NOT NULL"
    f"  ORDER BY turn, run_id LIMIT ?3) RETURNING {RUN_COLUMNS}"
)
_CLAIM_RUN: Final = f"{_TAKE} WHERE run_id = ?3 AND {_CAN_BE_CLAIMED} RETURNING {RUN_COLUMNS}"
_INSERT_KEY: Final = "INSERT INTO idempotency_keys VALUES (?, ?, ?, ?, ?)"
_FIND_KEY: Final = (
    "SELECT request_digest, run_id FROM idempotency_keys WHERE organization_id = ? AND key = ?"
)
_REQUEST_CANCEL: Final = (
    "UPDATE runs SET cancel_requested_at_ms = ?, cancel_user_id = ?, cancel_reason = ?,"
    " wake_at_ms = 0"
    " WHERE run_id = ? AND ended_at_ms = 0 AND cancel_requested_at_ms = 0"
)


class SqliteJournal:
    """A ``Journal`` in the executor's database. Several executors may share the file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def create(
        self,
        run: RunRecord,
        events: Sequence[RunEvent],
        key: IdempotencyKey | None = None,
        after_run_id: str = "",
        webhook: Webhook | None = None,
    ) -> str:
        """See ``Journal``."""
        row = row_of(run)
        rows = event_rows(run.run_id, events)
        name = (run.organization_id, key.key if key is not None else "")

        def write(connection: sqlite3.Connection) -> tuple[str, str] | AgentExecutorError | None:
            if key is not None:
                known: tuple[str, str] | None = connection.execute(_FIND_KEY, name).fetchone()
                if known is not None:
                    return known
            # Whatever refuses comes before whatever writes.
            if run.conversation_id:
                refusal = begin_run(connection, run, after_run_id)
                if refusal is not None:
                    return refusal
            if key is not None:
                new = (*name, key.request_digest, run.run_id, run.created_at_ms)
                connection.execute(_INSERT_KEY, new)
            connection.execute(_INSERT_RUN, row)
            connection.executemany(_INSERT_EVENT, rows)
            if webhook is not None:
                webhooks.begin_run(connection, run, webhook)
            return None

        known = await self._database.writer.submit(write)
        if isinstance(known, AgentExecutorError):
            raise known
        return run.run_id if known is None or key is None else known_run(key, *known)

    async def append(
        self, run: RunRecord, events: Sequence[RunEvent], end: RunEnd | None = None
    ) -> None:
        """See ``Journal``."""
        rows = event_rows(run.run_id, events)
        fence = (run.run_id, run.attempt, run.last_sequence - len(events))
        summary = (*summary_of(run), *fence)

        def write(connection: sqlite3.Connection) -> bool:
            if connection.execute(_UPDATE_RUN, summary).rowcount != 1:
                return False
            connection.executemany(_INSERT_EVENT, rows)
            if end is not None:
                end_run(connection, end)
            if run.has_webhook and run.ended_at_ms:
                webhooks.end_run(connection, run)
            return True

        if not await self._database.writer.submit(write):
            raise LeaseLostError(f"Run {run.run_id} is driven by another executor.")

    async def get(self, organization_id: str, run_id: str) -> RunRecord | None:
        """See ``Journal``."""

        def read(connection: sqlite3.Connection) -> RunRecord | None:
            row = connection.execute(
                f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ? AND organization_id = ?",  # noqa: S608 -- fixed column names, no input
                (run_id, organization_id),
            ).fetchone()
            return record_of(row) if row else None

        return await self._database.read(read)

    async def list_runs(
        self,
        organization_id: str,
        limit: int,
        *,
        before_run_id: str = "",
        run_filter: RunFilter = EVERY_RUN,
    ) -> list[RunRecord]:
        """See ``Journal``."""
        condition, values = filter_sql(run_filter, lambda number: f"?{number + 3}")
        statement = (
            f"SELECT {RUN_COLUMNS} FROM runs WHERE organization_id = ?1"  # noqa: S608 -- fixed column names, no input
            f" AND (?3 = '' OR run_id < ?3){condition} ORDER BY run_id DESC LIMIT ?2"
        )
        asked = (organization_id, limit, before_run_id, *values)

        def read(connection: sqlite3.Connection) -> list[RunRecord]:
            return [record_of(row) for row in connection.execute(statement, asked)]

        return await self._database.read(read)

    async def events(self, run_id: str, after_sequence: int = 0, limit: int = 0) -> list[RunEvent]:
        """See ``Journal``."""

        def read(connection: sqlite3.Connection) -> list[RunEvent]:
            rows = connection.execute(
                "SELECT sequence, created_at_ms, payload FROM run_events"
                " WHERE run_id = ? AND sequence > ? ORDER BY sequence LIMIT ?",
                # A negative limit is none.
                (run_id, after_sequence, limit or -1),
            )
            return [event_of(row) for row in rows]

        return await self._database.read(read)

    async def last_sequences(self, run_ids: Sequence[str]) -> dict[str, int]:
        """See ``Journal``."""
        wanted = msgspec.json.encode(run_ids).decode()

        def read(connection: sqlite3.Connection) -> dict[str, int]:
            return dict(
                connection.execute(
                    "SELECT run_id, last_sequence FROM runs"
                    " WHERE run_id IN (SELECT value FROM json_each(?))",
                    (wanted,),
                )
            )

        return await self._database.read(read)

    async def renew_lease(self, owner: str, expires_at_ms: int) -> None:
        """See ``Journal``."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO executors VALUES (?1, ?2)"
                " ON CONFLICT (owner) DO UPDATE SET lease_expires_at_ms = ?2",
                (owner, expires_at_ms),
            )

        await self._database.writer.submit(write)

    async def release_leases(self, worker: str) -> None:
        """See ``Journal``."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM executors WHERE substr(owner, 1, length(?1)) = ?1", (f"{worker}/",)
            )

        await self._database.writer.submit(write)

    async def claim(
        self,
        owner: str,
        now_ms: int,
        limit: int,
        *,
        waiting_only: bool = False,
        driven: Mapping[str, int] = NO_RUNS,
    ) -> list[RunRecord]:
        """See ``Journal``."""
        statement = _CLAIM_WAITING if waiting_only else _CLAIM_RUNS
        held = dict(driven)
        values = (owner, now_ms, limit, msgspec.json.encode(held).decode())

        def write(connection: sqlite3.Connection) -> list[RunRecord]:
            rows = connection.execute(statement, values).fetchall()
            return in_turns(map(record_of, rows), held)

        return await self._database.writer.submit(write)

    async def claim_run(self, owner: str, run_id: str, now_ms: int) -> RunRecord | None:
        """See ``Journal``."""

        def write(connection: sqlite3.Connection) -> RunRecord | None:
            row = connection.execute(_CLAIM_RUN, (owner, now_ms, run_id)).fetchone()
            return record_of(row) if row else None

        return await self._database.writer.submit(write)

    async def request_cancel(self, run: RunRecord) -> None:
        """See ``Journal``."""
        values = (
            run.cancel_requested_at_ms,
            run.cancel_user_id,
            run.cancel_reason,
            run.run_id,
        )
        await self._database.writer.submit(lambda it: it.execute(_REQUEST_CANCEL, values).rowcount)

    async def cancel_requested(self, owner: str) -> list[RunRecord]:
        """See ``Journal``."""

        def read(connection: sqlite3.Connection) -> list[RunRecord]:
            rows = connection.execute(
                f"SELECT {RUN_COLUMNS} FROM runs"  # noqa: S608 -- fixed column names, no input
                " WHERE owner = ? AND ended_at_ms = 0 AND cancel_requested_at_ms > 0",
                (owner,),
            )
            return [record_of(row) for row in rows]

        return await self._database.read(read)

    async def owned(self, owner: str) -> list[str]:
        """See ``Journal``."""

        def read(connection: sqlite3.Connection) -> list[str]:
            statement = "SELECT run_id FROM runs WHERE owner = ? AND ended_at_ms = 0"
            return [run_id for (run_id,) in connection.execute(statement, (owner,))]

        return await self._database.read(read)

    async def give_up(self, owner: str, run_ids: Sequence[str]) -> None:
        """See ``Journal``."""
        values = (owner, msgspec.json.encode(run_ids).decode())
        statement = (
            "UPDATE runs SET owner = '' WHERE owner = ? AND ended_at_ms = 0"
            " AND run_id IN (SELECT value FROM json_each(?))"
        )
        await self._database.writer.submit(lambda it: it.execute(statement, values).rowcount)

    async def count_waiting(self) -> dict[str, int]:
        """See ``Journal``."""

        def read(connection: sqlite3.Connection) -> dict[str, int]:
            return dict(
                connection.execute(
                    f"SELECT organization_id, count(*) FROM runs WHERE {_WAITING}"  # noqa: S608 -- fixed column names, no input
                    " GROUP BY organization_id"
                ).fetchall()
            )

        return await self._database.read(read)

    async def ended(self, run_ids: Sequence[str]) -> list[str]:
        """See ``Journal``."""
        asked = msgspec.json.encode(run_ids).decode()

        def read(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "SELECT run_id FROM runs WHERE run_id IN (SELECT value FROM json_each(?))"
                " AND ended_at_ms > 0",
                (asked,),
            )
            return [run_id for (run_id,) in rows]

        return await self._database.read(read)

    async def run_of_key(self, organization_id: str, key: IdempotencyKey) -> str | None:
        """See ``Journal``."""
        name = (organization_id, key.key)
        known = await self._database.read(lambda it: it.execute(_FIND_KEY, name).fetchone())
        return None if known is None else known_run(key, *known)

    async def forget_keys(self, before_ms: int) -> None:
        """See ``Journal``."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM idempotency_keys WHERE created_at_ms < ?", (before_ms,))

        await self._database.writer.submit(write)

    async def close(self) -> None:
        """See ``Journal``."""
        await self._database.close()

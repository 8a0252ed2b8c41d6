"""Runs in SQLite. Writes of all runs share commits; see ``storage.group_commit``."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from agent_executor.errors import LeaseLostError
from agent_executor.executor.journal import RunRecord
from agent_executor.executor.journal_rows import (
    RUN_COLUMNS,
    RUN_NAMES,
    SUMMARY_NAMES,
    event_of,
    event_rows,
    record_of,
    row_of,
    summary_of,
)
from agent_executor.executor.run_event import RunEvent
from agent_executor.storage.sqlite import SqliteDatabase

_INSERT_RUN: Final = f"INSERT INTO runs ({RUN_COLUMNS}) VALUES ({', '.join('?' * len(RUN_NAMES))})"  # noqa: S608 -- fixed column names, no input
_INSERT_EVENT: Final = "INSERT INTO run_events VALUES (?, ?, ?, ?)"
# The attempt fences a former owner; the sequence makes a gap or a repeat impossible.
_UPDATE_RUN: Final = (
    f"UPDATE runs SET {', '.join(f'{name} = ?' for name in SUMMARY_NAMES)}"  # noqa: S608 -- fixed column names, no input
    " WHERE run_id = ? AND attempt = ? AND last_sequence = ?"
)
_CLAIM_RUNS: Final = (
    "UPDATE runs SET owner = ?1, attempt = attempt + 1 WHERE run_id IN ("  # noqa: S608 -- fixed column names, no input
    " SELECT run_id FROM runs WHERE ended_at_ms = 0 AND owner <> ?1 AND owner NOT IN ("
    "  SELECT owner FROM executors WHERE lease_expires_at_ms > ?2)"
    " ORDER BY run_id LIMIT ?3) RETURNING " + RUN_COLUMNS
)


class SqliteJournal:
    """A ``Journal`` in the executor's database. Several executors may share the file."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def create(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        """See ``Journal``."""
        row = row_of(run)
        rows = event_rows(run.run_id, events)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT_RUN, row)
            connection.executemany(_INSERT_EVENT, rows)

        await self._database.writer.submit(write)

    async def append(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        """See ``Journal``."""
        rows = event_rows(run.run_id, events)
        fence = (run.run_id, run.attempt, run.last_sequence - len(events))
        summary = (*summary_of(run), *fence)

        def write(connection: sqlite3.Connection) -> bool:
            if connection.execute(_UPDATE_RUN, summary).rowcount != 1:
                return False
            connection.executemany(_INSERT_EVENT, rows)
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
        agent_id: str = "",
        state: str = "",
    ) -> list[RunRecord]:
        """See ``Journal``."""

        def read(connection: sqlite3.Connection) -> list[RunRecord]:
            rows = connection.execute(
                f"SELECT {RUN_COLUMNS} FROM runs WHERE organization_id = ?1"  # noqa: S608 -- fixed column names, no input
                " AND (?2 = '' OR run_id < ?2) AND (?3 = '' OR agent_id = ?3)"
                " AND (?4 = '' OR state = ?4) ORDER BY run_id DESC LIMIT ?5",
                (organization_id, before_run_id, agent_id, state, limit),
            )
            return [record_of(row) for row in rows]

        return await self._database.read(read)

    async def events(self, run_id: str, after_sequence: int = 0) -> list[RunEvent]:
        """See ``Journal``."""

        def read(connection: sqlite3.Connection) -> list[RunEvent]:
            rows = connection.execute(
                "SELECT sequence, created_at_ms, payload FROM run_events"
                " WHERE run_id = ? AND sequence > ? ORDER BY sequence",
                (run_id, after_sequence),
            )
            return [event_of(row) for row in rows]

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

    async def claim(self, owner: str, now_ms: int, limit: int) -> list[RunRecord]:
        """See ``Journal``."""

        def write(connection: sqlite3.Connection) -> list[RunRecord]:
            rows = connection.execute(_CLAIM_RUNS, (owner, now_ms, limit)).fetchall()
            return sorted((record_of(row) for row in rows), key=lambda run: run.run_id)

        return await self._database.writer.submit(write)

    async def close(self) -> None:
        """See ``Journal``."""
        await self._database.close()

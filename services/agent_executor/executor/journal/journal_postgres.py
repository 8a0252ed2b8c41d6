"""Runs in PostgreSQL, which several executors may share.

A run's attempt fences its former owner: an append finds no row of its attempt once the run was
claimed, and a claim waits for no append, since it skips what is locked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from agent_executor.errors import AgentExecutorError, LeaseLostError
from agent_executor.executor.conversations.conversation import RunEnd
from agent_executor.executor.conversations.runs_postgres import begin_run, end_run
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
from agent_executor.executor.webhooks import runs_postgres as webhooks
from agent_executor.executor.webhooks.delivery import Webhook
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.postgres_connection import PostgresConnection
from agent_executor.storage.postgres_writer import (
    PostgresTransaction,
)


def _places(first: int, count: int) -> str:
    return ", ".join(f"${number}" for number in range(first, first + count))


# S608: all parts of these statements are fixed names of columns; values are bound.
_EVENTS: Final = (
    "SELECT run_id, sequence, created_at_ms, payload"
    " FROM unnest($1::int[], $2::bigint[], $3::bytea[]) AS new (sequence, created_at_ms, payload)"
)
_CREATE: Final = (
    f"WITH written AS (INSERT INTO runs ({RUN_COLUMNS})"  # noqa: S608 -- see above
    f" VALUES ({_places(4, len(RUN_NAMES))}) RETURNING run_id)"
    f" INSERT INTO run_events (run_id, sequence, created_at_ms, payload) {_EVENTS}, written"
)
_FENCE: Final = 4 + len(SUMMARY_NAMES)
_SUMMARIZE: Final = (
    f"UPDATE runs SET ({', '.join(SUMMARY_NAMES)}) = ({_places(1, len(SUMMARY_NAMES))})"  # noqa: S608 -- see above
    f" WHERE run_id = ${_FENCE - 3} AND attempt = ${_FENCE - 2} AND last_sequence = ${_FENCE - 1}"
)
_APPEND: Final = (
    f"WITH written AS (UPDATE runs SET ({', '.join(SUMMARY_NAMES)})"  # noqa: S608 -- see above
    f" = ({summary_sql(_places(4, len(SUMMARY_NAMES)).split(', '))}) WHERE run_id = ${_FENCE} AND attempt = ${_FENCE + 1}"
    f" AND last_sequence = ${_FENCE + 2} RETURNING run_id)"
    f" INSERT INTO run_events (run_id, sequence, created_at_ms, payload) {_EVENTS}, written"
)
_TAKE: Final = "UPDATE runs SET owner = $1, attempt = attempt + 1, wake_at_ms = 0"
_CAN_BE_CLAIMED: Final = (
    "ended_at_ms = 0 AND owner <> $1 AND NOT EXISTS ("
    " SELECT 1 FROM executors WHERE owner = runs.owner AND lease_expires_at_ms > $2)"
)
_WAITING: Final = "ended_at_ms = 0 AND owner = '' AND wake_at_ms = 0"
_CLAIMABLE: Final = (
    "SELECT organization_id, run_id,"  # noqa: S608 -- see above
    " row_number() OVER (PARTITION BY organization_id ORDER BY run_id) AS turn"
    f" FROM runs WHERE {_CAN_BE_CLAIMED} AND wake_at_ms <= $2"
)
# It looks up each organization that has any, and of each no more runs than are asked for.
_CLAIMABLE_WAITING: Final = (
    "WITH RECURSIVE organizations (organization_id) AS ("  # noqa: S608 -- see above
    f" (SELECT organization_id FROM runs WHERE {_WAITING} ORDER BY organization_id LIMIT 1)"
    " UNION ALL"
    f" SELECT (SELECT runs.organization_id FROM runs WHERE {_WAITING}"
    "  AND runs.organization_id > organizations.organization_id ORDER BY organization_id LIMIT 1)"
    " FROM organizations WHERE organization_id IS NOT NULL)"
    " SELECT organization_id, run_id, turn FROM organizations CROSS JOIN LATERAL ("
    f" SELECT run_id, row_number() OVER (ORDER BY run_id) AS turn FROM runs WHERE {_WAITING}"
    "  AND runs.organization_id = organizations.organization_id ORDER BY run_id LIMIT $3) AS its_own"
)


def _claim(claimable: str) -> str:
    """Returns a statement that claims the first of the runs of a query.

    Rows that are being claimed by another executor, or written by their own, are left alone.
    """
    return (
        f"{_TAKE} WHERE run_id IN (SELECT run_id FROM runs WHERE run_id IN ("  # noqa: S608 -- see above
        f" SELECT run_id FROM ({claimable}) AS found"
        "  ORDER BY turn + coalesce(($4::jsonb ->> organization_id)::bigint, 0), run_id LIMIT $3"
        f" ) AND {_CAN_BE_CLAIMED} FOR UPDATE SKIP LOCKED) RETURNING {RUN_COLUMNS}"
    )


_CLAIM: Final = _claim(_CLAIMABLE)
_CLAIM_WAITING: Final = _claim(_CLAIMABLE_WAITING)
_CLAIM_RUN: Final = f"{_TAKE} WHERE run_id = $3 AND {_CAN_BE_CLAIMED} RETURNING {RUN_COLUMNS}"
_INSERT_KEY: Final = (
    "INSERT INTO idempotency_keys (organization_id, key, request_digest, run_id, created_at_ms)"
    " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
)
_FIND_KEY: Final = (
    "SELECT request_digest, run_id FROM idempotency_keys WHERE organization_id = $1 AND key = $2"
)
_DELETE_KEY: Final = "DELETE FROM idempotency_keys WHERE organization_id = $1 AND key = $2"
_REQUEST_CANCEL: Final = (
    "UPDATE runs SET cancel_requested_at_ms = $1, cancel_user_id = $2, cancel_reason = $3,"
    " wake_at_ms = 0"
    " WHERE run_id = $4 AND ended_at_ms = 0 AND cancel_requested_at_ms = 0"
)
_CANCEL_REQUESTED: Final = (
    f"SELECT {RUN_COLUMNS} FROM runs"  # noqa: S608 -- see above
    " WHERE owner = $1 AND ended_at_ms = 0 AND cancel_requested_at_ms > 0"
)
_OWNED: Final = "SELECT run_id FROM runs WHERE owner = $1 AND ended_at_ms = 0"
_GIVE_UP: Final = (
    "UPDATE runs SET owner = '' WHERE owner = $1 AND ended_at_ms = 0 AND run_id = ANY($2::text[])"
)
_COUNT_WAITING: Final = (
    f"SELECT organization_id, count(*) FROM runs WHERE {_WAITING} GROUP BY organization_id"  # noqa: S608 -- see above
)
_ENDED: Final = "SELECT run_id FROM runs WHERE run_id = ANY($1::text[]) AND ended_at_ms > 0"
_GET: Final = f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = $1 AND organization_id = $2"  # noqa: S608 -- see above
_LIST: Final = (
    f"SELECT {RUN_COLUMNS} FROM runs WHERE organization_id = $1"  # noqa: S608 -- see above
    " AND ($3 = '' OR run_id < $3)"
)
_READ_EVENTS: Final = (
    "SELECT sequence, created_at_ms, payload FROM run_events"
    " WHERE run_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"
)
_LAST_SEQUENCES: Final = "SELECT run_id, last_sequence FROM runs WHERE run_id = ANY($1::text[])"
_RENEW: Final = (
    "INSERT INTO executors (owner, lease_expires_at_ms) VALUES ($1, $2)"
    " ON CONFLICT (owner) DO UPDATE SET lease_expires_at_ms = excluded.lease_expires_at_ms"
)
_RELEASE: Final = "DELETE FROM executors WHERE starts_with(owner, $1)"
# How a statement that changed no row ends.
_NO_ROW: Final = " 0"


class PostgresJournal:
    """A ``Journal`` in the executors' database.

    PostgreSQL stores no NUL character: in its place stands U+FFFD, in what a run's record says of
    its input and answer. The events keep them as they are.
    """

    def __init__(self, database: PostgresDatabase) -> None:
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
        values = (*_columns_of(run.run_id, events), *_storable(row_of(run)))
        name = _storable((run.organization_id, key.key if key else ""))

        async def write(transaction: PostgresTransaction) -> Any:
            if key is not None:
                new = (*name, key.request_digest, run.run_id, run.created_at_ms)
                if (await transaction.execute(_INSERT_KEY, *new)).endswith(_NO_ROW):
                    return await transaction.fetchrow(_FIND_KEY, *name)
            if run.conversation_id:
                refusal = await begin_run(transaction, run, after_run_id)
                if refusal is not None:
                    if key is not None:
                        await transaction.execute(_DELETE_KEY, *name)
                    return refusal
            await transaction.execute(_CREATE, *values)
            if webhook is not None:
                await webhooks.begin_run(transaction, run, webhook)
            return None

        known = await self._database.writer.submit(write, key=name[1] or run.run_id)
        if isinstance(known, AgentExecutorError):
            raise known
        return run.run_id if known is None or key is None else known_run(key, *known)

    async def append(
        self, run: RunRecord, events: Sequence[RunEvent], end: RunEnd | None = None
    ) -> None:
        """See ``Journal``."""
        statement = _APPEND if events else _SUMMARIZE
        values = (
            *(_columns_of(run.run_id, events) if events else ()),
            *_storable(summary_of(run)),
            run.run_id,
            run.attempt,
            run.last_sequence - len(events),
        )

        async def write(transaction: PostgresTransaction) -> str:
            status = await transaction.execute(statement, *values)
            if status.endswith(_NO_ROW):
                return status
            if end is not None:
                await end_run(transaction, end)
            if run.has_webhook and run.ended_at_ms:
                await webhooks.end_run(transaction, run)
            return status

        status = await self._database.writer.submit(write, key=run.run_id)
        if status.endswith(_NO_ROW):
            raise LeaseLostError(f"Run {run.run_id} is driven by another executor.")

    async def get(self, organization_id: str, run_id: str) -> RunRecord | None:
        """See ``Journal``."""
        key = _storable((run_id, organization_id))
        row = await self._database.read_statement(
            lambda connection: connection.fetchrow(_GET, *key)
        )
        return record_of(row) if row else None

    async def list_runs(
        self,
        organization_id: str,
        limit: int,
        *,
        before_run_id: str = "",
        run_filter: RunFilter = EVERY_RUN,
    ) -> list[RunRecord]:
        """See ``Journal``."""
        condition, asked = filter_sql(run_filter, lambda number: f"${number + 3}")
        statement = f"{_LIST}{condition} ORDER BY run_id DESC LIMIT $2"
        values = _storable((organization_id, limit, before_run_id, *asked))
        rows = await self._database.read_statement(
            lambda connection: connection.fetch(statement, *values)
        )
        return [record_of(row) for row in rows]

    async def events(self, run_id: str, after_sequence: int = 0, limit: int = 0) -> list[RunEvent]:
        """See ``Journal``."""

        async def read(connection: PostgresConnection) -> list[Any]:
            return await connection.fetch(_READ_EVENTS, run_id, after_sequence, limit or None)

        return [event_of(row) for row in await self._database.read_statement(read)]

    async def last_sequences(self, run_ids: Sequence[str]) -> dict[str, int]:
        """See ``Journal``."""

        async def read(connection: PostgresConnection) -> list[Any]:
            return await connection.fetch(_LAST_SEQUENCES, list(run_ids))

        return {row[0]: row[1] for row in await self._database.read_statement(read)}

    async def renew_lease(self, owner: str, expires_at_ms: int) -> None:
        """See ``Journal``."""

        async def write(transaction: PostgresTransaction) -> None:
            await transaction.execute(_RENEW, owner, expires_at_ms)

        await self._database.writer.submit(write)

    async def release_leases(self, worker: str) -> None:
        """See ``Journal``."""

        async def write(transaction: PostgresTransaction) -> None:
            await transaction.execute(_RELEASE, f"{worker}/")

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
        statement = _CLAIM_WAITING if waiting_only else _CLAIM
        held = dict(zip(_storable(tuple(driven)), driven.values(), strict=True))
        values = (owner, now_ms, limit, msgspec.json.encode(held).decode())

        async def write(transaction: PostgresTransaction) -> list[Any]:
            return await transaction.fetch(statement, *values)

        rows = await self._database.writer.submit(write)
        return in_turns(map(record_of, rows), held)

    async def claim_run(self, owner: str, run_id: str, now_ms: int) -> RunRecord | None:
        """See ``Journal``."""

        async def write(transaction: PostgresTransaction) -> Any:
            return await transaction.fetchrow(_CLAIM_RUN, owner, now_ms, run_id)

        row = await self._database.writer.submit(write, key=run_id)
        return record_of(row) if row else None

    async def request_cancel(self, run: RunRecord) -> None:
        """See ``Journal``."""
        values = _storable(
            (run.cancel_requested_at_ms, run.cancel_user_id, run.cancel_reason, run.run_id)
        )

        async def write(transaction: PostgresTransaction) -> None:
            await transaction.execute(_REQUEST_CANCEL, *values)

        await self._database.writer.submit(write, key=run.run_id)

    async def cancel_requested(self, owner: str) -> list[RunRecord]:
        """See ``Journal``."""
        rows = await self._database.read_statement(
            lambda connection: connection.fetch(_CANCEL_REQUESTED, owner)
        )
        return [record_of(row) for row in rows]

    async def owned(self, owner: str) -> list[str]:
        """See ``Journal``."""
        rows = await self._database.read_statement(
            lambda connection: connection.fetch(_OWNED, owner)
        )
        return [run_id for (run_id,) in rows]

    async def give_up(self, owner: str, run_ids: Sequence[str]) -> None:
        """See ``Journal``."""
        given_up = list(run_ids)

        async def write(transaction: PostgresTransaction) -> None:
            await transaction.execute(_GIVE_UP, owner, given_up)

        await self._database.writer.submit(write)

    async def count_waiting(self) -> dict[str, int]:
        """See ``Journal``."""
        rows = await self._database.read_statement(
            lambda connection: connection.fetch(_COUNT_WAITING)
        )
        return {row["organization_id"]: row["count"] for row in rows}

    async def ended(self, run_ids: Sequence[str]) -> list[str]:
        """See ``Journal``."""
        asked = list(run_ids)
        rows = await self._database.read_statement(
            lambda connection: connection.fetch(_ENDED, asked)
        )
        return [run_id for (run_id,) in rows]

    async def run_of_key(self, organization_id: str, key: IdempotencyKey) -> str | None:
        """See ``Journal``."""
        name = _storable((organization_id, key.key))
        known = await self._database.read_statement(
            lambda connection: connection.fetchrow(_FIND_KEY, *name)
        )
        return None if known is None else known_run(key, *known)

    async def forget_keys(self, before_ms: int) -> None:
        """See ``Journal``."""

        async def write(transaction: PostgresTransaction) -> None:
            await transaction.execute(
                "DELETE FROM idempotency_keys WHERE created_at_ms < $1", before_ms
            )

        await self._database.writer.submit(write)

    async def close(self) -> None:
        """See ``Journal``."""
        await self._database.close()


def _columns_of(
    run_id: str, events: Sequence[RunEvent]
) -> tuple[list[int], list[int], list[bytes]]:
    rows = event_rows(run_id, events)
    return [row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows]


def _storable(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        value.replace("\0", "�") if isinstance(value, str) and "\0" in value else value
        for value in values
    )

"""Batches in any database that runs statements, beside the journal's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Update,
    and_,
    delete,
    exists,
    insert,
    literal_column,
    not_,
    select,
    update,
)

from agent_executor.executor.models.model import ModelAccess
from agent_executor.executor.models.model_batches import BatchOutcome
from agent_executor.executor.provider_batches.batch import Batch, BatchedCall, CallDetails
from agent_executor.executor.tables import PROVIDER_BATCH_CALLS, PROVIDER_BATCHES, RUNS
from agent_executor.storage.statements import Row, StatementRunner

_BATCHES: Final = PROVIDER_BATCHES.c
_CALLS: Final = PROVIDER_BATCH_CALLS.c
_OF_RUN: Final = RUNS.c.run_id == _CALLS.run_id
_IS_DRIVERS: Final = and_(_OF_RUN, RUNS.c.attempt == _CALLS.attempt)
# Written out, for a database looks into an index of a part only if it sees that it is that part.
_IS_WAITED_FOR: Final = and_(
    _CALLS.has_outcome == literal_column("1"), _CALLS.is_abandoned == literal_column("0")
)
_BATCH_COLUMNS: Final = tuple(_BATCHES)
_CALL_COLUMNS: Final = tuple(column for column in _CALLS if column.name != "batch_key")
# How many outcomes are stored in one transaction.
CHUNK: Final = 100


class SqlBatchStore:
    """A ``BatchStore`` over a ``StatementRunner``. Closing the database is its owner's task."""

    def __init__(self, statements: StatementRunner) -> None:
        self._statements = statements

    async def add(self, batch: Batch, calls: Sequence[BatchedCall]) -> list[str]:
        """See ``BatchStore``."""
        of_batch = _CALLS.batch_key == batch.key
        *_, rows = await self._statements.run(
            insert(PROVIDER_BATCHES).values(_row_of_batch(batch)),
            *(
                insert(PROVIDER_BATCH_CALLS).values(batch_key=batch.key, **_row_of_call(call))
                for call in calls
            ),
            # A claim that goes on has to end first, and its attempt is seen by what follows.
            select(RUNS.c.run_id)
            .where(exists(_CALLS.model_call_id).where(of_batch, _OF_RUN))
            .order_by(RUNS.c.run_id)
            .with_for_update(read=True),
            delete(PROVIDER_BATCH_CALLS).where(
                of_batch, not_(exists(RUNS.c.run_id).where(_IS_DRIVERS))
            ),
            delete(PROVIDER_BATCHES).where(
                _BATCHES.batch_key == batch.key, not_(exists(_CALLS.model_call_id).where(of_batch))
            ),
            select(_CALLS.model_call_id).where(of_batch),
        )
        return [row["model_call_id"] for row in rows]

    async def made(self, key: str, batch_id: str, look_at_ms: int) -> None:
        """See ``BatchStore``."""
        await self._statements.run(_changed(key, batch_id=batch_id, look_at_ms=look_at_ms))

    async def remove(self, key: str) -> None:
        """See ``BatchStore``."""
        await self._statements.run(
            delete(PROVIDER_BATCH_CALLS).where(_CALLS.batch_key == key),
            delete(PROVIDER_BATCHES).where(_BATCHES.batch_key == key),
        )

    async def due(self, now_ms: int, look_again_at_ms: int, limit: int) -> list[Batch]:
        """See ``BatchStore``."""
        found = (
            select(_BATCHES.batch_key)
            .where(_BATCHES.look_at_ms <= now_ms)
            .order_by(_BATCHES.look_at_ms, _BATCHES.batch_key)
            .limit(limit)
        )
        # Most looks find nothing, and a read costs no commit.
        [rows] = await self._statements.run(found)
        if not rows:
            return []
        taken = await self._statements.run(
            *(
                update(PROVIDER_BATCHES)
                .where(_BATCHES.batch_key == row["batch_key"], _BATCHES.look_at_ms <= now_ms)
                .values(look_at_ms=look_again_at_ms)
                .returning(*_BATCH_COLUMNS)
                for row in rows
            )
        )
        return [_batch(row) for rows in taken for row in rows]

    async def look_again(self, key: str, at_ms: int) -> None:
        """See ``BatchStore``."""
        await self._statements.run(_changed(key, look_at_ms=at_ms))

    async def batch_ids(self) -> set[str]:
        """See ``BatchStore``."""
        [rows] = await self._statements.run(
            select(_BATCHES.batch_id).where(_BATCHES.batch_id != literal_column("''"))
        )
        return {row["batch_id"] for row in rows}

    async def calls(self, key: str) -> list[BatchedCall]:
        """See ``BatchStore``."""
        [rows] = await self._statements.run(
            select(*_CALL_COLUMNS).where(_CALLS.batch_key == key).order_by(_CALLS.model_call_id)
        )
        return [_call(row) for row in rows]

    async def find(self, run_id: str, model_call_id: str) -> tuple[BatchedCall, Batch] | None:
        """See ``BatchStore``."""
        is_it = and_(_CALLS.model_call_id == model_call_id, _CALLS.run_id == run_id)
        calls, batches = await self._statements.run(
            select(*_CALL_COLUMNS).where(is_it),
            select(*_BATCH_COLUMNS)
            .select_from(
                PROVIDER_BATCHES.join(PROVIDER_BATCH_CALLS, _BATCHES.batch_key == _CALLS.batch_key)
            )
            .where(is_it),
        )
        return (_call(calls[0]), _batch(batches[0])) if calls and batches else None

    async def add_outcomes(self, key: str, outcomes: Mapping[str, BatchOutcome]) -> None:
        """See ``BatchStore``."""
        known = list(outcomes.items())
        for start in range(0, len(known), CHUNK):
            await self._statements.run(
                *(
                    update(PROVIDER_BATCH_CALLS)
                    .where(
                        _CALLS.model_call_id == model_call_id,
                        _CALLS.batch_key == key,
                        _CALLS.has_outcome == 0,
                    )
                    .values(outcome=msgspec.json.encode(outcome), has_outcome=1)
                    for model_call_id, outcome in known[start : start + CHUNK]
                )
            )

    async def collected(self, key: str) -> None:
        """See ``BatchStore``."""
        await self._statements.run(_changed(key, is_collected=1))

    async def abandon(self, model_call_id: str) -> None:
        """See ``BatchStore``."""
        others = PROVIDER_BATCH_CALLS.alias("others")
        of_batch = exists(_CALLS.model_call_id).where(
            _CALLS.batch_key == _BATCHES.batch_key, _CALLS.model_call_id == model_call_id
        )
        is_waited_for = exists(others.c.model_call_id).where(
            others.c.batch_key == _BATCHES.batch_key, others.c.is_abandoned == 0
        )
        await self._statements.run(
            update(PROVIDER_BATCH_CALLS)
            .where(_CALLS.model_call_id == model_call_id)
            .values(is_abandoned=1),
            update(PROVIDER_BATCHES)
            .where(of_batch, _BATCHES.batch_id != "", not_(is_waited_for))
            .values(look_at_ms=0),
        )

    async def cancelled(self, key: str) -> None:
        """See ``BatchStore``."""
        await self._statements.run(_changed(key, is_cancelled=1))

    async def forget(self, model_call_id: str) -> None:
        """See ``BatchStore``."""
        await self._statements.run(
            delete(PROVIDER_BATCH_CALLS).where(_CALLS.model_call_id == model_call_id)
        )

    async def forget_former(self, run_id: str, open_call_id: str) -> None:
        """See ``BatchStore``."""
        await self._statements.run(
            delete(PROVIDER_BATCH_CALLS).where(
                _CALLS.run_id == run_id,
                _CALLS.model_call_id != open_call_id,
                _CALLS.is_abandoned == 0,
            )
        )

    async def has_outcome(self, run_id: str) -> bool:
        """See ``BatchStore``."""
        [rows] = await self._statements.run(
            select(_CALLS.model_call_id).where(_CALLS.run_id == run_id, _IS_WAITED_FOR).limit(1)
        )
        return bool(rows)

    async def runs_to_wake(self, limit: int) -> list[str]:
        """See ``BatchStore``."""
        [rows] = await self._statements.run(
            select(RUNS.c.run_id)
            .select_from(PROVIDER_BATCH_CALLS.join(RUNS, _OF_RUN))
            .where(_IS_WAITED_FOR, RUNS.c.owner == "", RUNS.c.ended_at_ms == 0)
            .distinct()
            .order_by(RUNS.c.run_id)
            .limit(limit)
        )
        return [row["run_id"] for row in rows]


def _changed(key: str, **values: Any) -> Update:
    is_it: ColumnElement[bool] = _BATCHES.batch_key == key
    return update(PROVIDER_BATCHES).where(is_it).values(values)


def _row_of_batch(batch: Batch) -> Row:
    return {
        "batch_key": batch.key,
        "provider": batch.provider,
        "agent_id": batch.access.agent_id,
        "api_key_ciphertext": batch.access.api_key_ciphertext,
        "base_url": batch.access.base_url,
        "batch_id": batch.batch_id,
        "created_at_ms": batch.created_at_ms,
        "look_at_ms": batch.look_at_ms,
        "is_cancelled": int(batch.is_cancelled),
        "is_collected": int(batch.is_collected),
    }


def _batch(row: Row) -> Batch:
    return Batch(
        key=row["batch_key"],
        provider=row["provider"],
        access=ModelAccess(row["agent_id"], row["api_key_ciphertext"], row["base_url"]),
        batch_id=row["batch_id"],
        created_at_ms=row["created_at_ms"],
        look_at_ms=row["look_at_ms"],
        is_cancelled=bool(row["is_cancelled"]),
        is_collected=bool(row["is_collected"]),
    )


def _row_of_call(call: BatchedCall) -> Row:
    outcome = b"" if call.outcome is None else msgspec.json.encode(call.outcome)
    return {
        "model_call_id": call.model_call_id,
        "run_id": call.run_id,
        "organization_id": call.organization_id,
        "user_id": call.user_id,
        "attempt": call.attempt,
        "details": msgspec.json.encode(call.details),
        "is_abandoned": int(call.is_abandoned),
        "has_outcome": int(call.outcome is not None),
        "outcome": outcome,
    }


def _call(row: Row) -> BatchedCall:
    outcome = row["outcome"]
    return BatchedCall(
        model_call_id=row["model_call_id"],
        run_id=row["run_id"],
        organization_id=row["organization_id"],
        user_id=row["user_id"],
        attempt=row["attempt"],
        details=msgspec.json.decode(row["details"], type=CallDetails),
        is_abandoned=bool(row["is_abandoned"]),
        outcome=msgspec.json.decode(outcome, type=BatchOutcome) if outcome else None,
    )

"""The outbox in any database that runs statements, beside the journal's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Select, func, literal_column, select, update
from sqlalchemy.sql.selectable import ScalarSelect

from agent_executor.executor.tables import WEBHOOK_DELIVERIES as ROWS
from agent_executor.executor.webhooks.delivery import Delivery
from agent_executor.storage.statements import Row, StatementRunner

_COLUMNS: Final = [ROWS.c[name] for name in Delivery.__struct_fields__]
# Written out, for a database looks into an index of a part only if it sees that it is that part.
_IS_TO_COME: Final = ROWS.c.due_at_ms > literal_column("0")


def _first_due() -> Select[tuple[str, int]]:
    """Returns what looks up one receiver after the other in the index, and reads no other row."""
    first = select(func.min(ROWS.c.origin).label("origin")).where(_IS_TO_COME)
    origins = first.cte("origins", recursive=True)
    following: ScalarSelect[str] = (
        select(func.min(ROWS.c.origin))
        .where(_IS_TO_COME, ROWS.c.origin > origins.c.origin)
        .correlate(origins)
        .scalar_subquery()
    )
    origins = origins.union_all(select(following).where(origins.c.origin.is_not(None)))
    due_at_ms: ScalarSelect[int] = (
        select(func.min(ROWS.c.due_at_ms))
        .where(_IS_TO_COME, ROWS.c.origin == origins.c.origin)
        .correlate(origins)
        .scalar_subquery()
    )
    return select(origins.c.origin, due_at_ms.label("due_at_ms")).where(
        origins.c.origin.is_not(None)
    )


FIRST_DUE: Final = _first_due()


class SqlWebhookStore:
    """A ``WebhookStore`` over a ``StatementRunner``. Closing the database is its owner's task."""

    def __init__(self, statements: StatementRunner) -> None:
        self._statements = statements

    async def get(self, organization_id: str, run_id: str) -> Delivery | None:
        """See ``WebhookStore``."""
        [rows] = await self._statements.run(
            select(*_COLUMNS).where(
                ROWS.c.run_id == run_id, ROWS.c.organization_id == organization_id
            )
        )
        return _delivery(rows[0]) if rows else None

    async def first_due(self) -> Mapping[str, int]:
        """See ``WebhookStore``."""
        [rows] = await self._statements.run(FIRST_DUE)
        # What was concluded between the two look-ups has no time any more.
        return {row["origin"]: row["due_at_ms"] for row in rows if row["due_at_ms"] is not None}

    async def claim(
        self, origin: str, now_ms: int, lease_until_ms: int, limit: int
    ) -> list[Delivery]:
        """See ``WebhookStore``."""
        # As a table of its own it is read once; another executor's rows are passed by, not waited for.
        due = (
            select(ROWS.c.run_id)
            .where(ROWS.c.origin == origin, _IS_TO_COME, ROWS.c.due_at_ms <= now_ms)
            .order_by(ROWS.c.due_at_ms, ROWS.c.run_id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        [rows] = await self._statements.run(
            update(ROWS)
            .where(ROWS.c.run_id.in_(select(due.c.run_id)))
            .values(due_at_ms=lease_until_ms, attempts=ROWS.c.attempts + 1)
            .returning(*_COLUMNS)
        )
        return [_delivery(row) for row in rows]

    async def conclude(self, delivery: Delivery) -> bool:
        """See ``WebhookStore``."""
        [rows] = await self._statements.run(
            update(ROWS)
            .where(ROWS.c.run_id == delivery.run_id, ROWS.c.attempts == delivery.attempts)
            .values(
                state=delivery.state,
                status_code=delivery.status_code,
                error=delivery.error,
                due_at_ms=delivery.due_at_ms,
                secret_ciphertext=delivery.secret_ciphertext,
            )
            .returning(ROWS.c.run_id)
        )
        return bool(rows)


def _delivery(row: Row) -> Delivery:
    return Delivery(**row)

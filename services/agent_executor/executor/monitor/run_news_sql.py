"""News of runs in any database that runs statements, read from the journal's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, func, select

from agent_executor.executor.journal.journal_rows import event_of
from agent_executor.executor.monitor.run_news import RunChange, RunTail, WatchedRun
from agent_executor.executor.tables import RUN_EVENTS, RUNS
from agent_executor.storage.statements import Row, StatementRunner

_FACTS: Final = [RUNS.c[name] for name in WatchedRun.__struct_fields__]
_EVENT: Final = [RUN_EVENTS.c.sequence, RUN_EVENTS.c.created_at_ms, RUN_EVENTS.c.payload]


class SqlRunNews:
    """``RunNews`` over a ``StatementRunner``. Closing the database is its owner's task."""

    def __init__(self, statements: StatementRunner) -> None:
        self._statements = statements

    async def last_sequences(self, organization_id: str, ended_since_ms: int) -> dict[str, int]:
        """See ``RunNews``."""
        found = await self._statements.run(
            *(
                select(RUNS.c.run_id, RUNS.c.last_sequence).where(
                    RUNS.c.organization_id == organization_id, which
                )
                for which in _under_way_or_ended_since(ended_since_ms)
            )
        )
        return {row["run_id"]: row["last_sequence"] for rows in found for row in rows}

    async def tails(self, organization_id: str, after: Mapping[str, int]) -> list[RunTail]:
        """See ``RunNews``."""
        found = await self._statements.run(
            *(
                select(*_FACTS, *_EVENT)
                .select_from(RUNS.join(RUN_EVENTS, RUN_EVENTS.c.run_id == RUNS.c.run_id))
                .where(
                    RUNS.c.organization_id == organization_id,
                    RUNS.c.run_id == run_id,
                    RUN_EVENTS.c.sequence > sequence,
                )
                .order_by(RUN_EVENTS.c.sequence)
                for run_id, sequence in after.items()
            )
        )
        return [
            RunTail(
                _run_of(rows[0]),
                [event_of((row["sequence"], row["created_at_ms"], row["payload"])) for row in rows],
            )
            for rows in found
            if rows
        ]

    async def changed_since(
        self,
        organization_id: str,
        since_ms: int,
        limit: int,
        *,
        agent_id: str = "",
        run_id: str = "",
    ) -> list[RunChange]:
        """See ``RunNews``."""
        first = (
            select(func.min(RUN_EVENTS.c.sequence))
            .where(RUN_EVENTS.c.run_id == RUNS.c.run_id, RUN_EVENTS.c.created_at_ms >= since_ms)
            .scalar_subquery()
        )
        statements = []
        for which in _under_way_or_ended_since(since_ms):
            statement = select(*_FACTS, first.label("first_sequence")).where(
                RUNS.c.organization_id == organization_id, which, first.is_not(None)
            )
            if agent_id:
                statement = statement.where(RUNS.c.agent_id == _text(agent_id))
            if run_id:
                statement = statement.where(RUNS.c.run_id == _text(run_id))
            statements.append(statement.order_by(RUNS.c.run_id).limit(limit))
        found = await self._statements.run(*statements)
        rows = sorted((row for rows in found for row in rows), key=lambda row: str(row["run_id"]))
        return [RunChange(_run_of(row), row["first_sequence"]) for row in rows[:limit]]


def _under_way_or_ended_since(since_ms: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Returns what to ask of runs, in two parts, for each of which an index is made."""
    return RUNS.c.ended_at_ms == 0, RUNS.c.ended_at_ms >= since_ms


def _run_of(row: Row) -> WatchedRun:
    return msgspec.convert(row, WatchedRun)


def _text(value: str) -> str:
    # PostgreSQL stores no NUL character, and so has none to find.
    return value.replace("\0", "\ufffd")

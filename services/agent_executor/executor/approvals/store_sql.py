"""Approvals in any database that runs statements, beside the journal's tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, and_, exists, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from agent_executor.executor.approvals.approval import EXPIRED, Approval, Decision
from agent_executor.executor.approvals.store import Position
from agent_executor.executor.tables import APPROVALS, RUNS
from agent_executor.storage.statements import Row, StatementRunner

_COLUMNS: Final = [APPROVALS.c[name] for name in Approval.__struct_fields__]
_OF_RUN: Final = RUNS.c.run_id == APPROVALS.c.run_id
_RUN_GOES_ON: Final = exists(RUNS.c.run_id).where(
    _OF_RUN, RUNS.c.ended_at_ms == 0, RUNS.c.cancel_requested_at_ms == 0
)
# Written out, for a database looks into an index of a part only if it sees that it is that part.
_IS_OPEN: Final = APPROVALS.c.is_taken_up == literal_column("0")
_IS_PENDING: Final = APPROVALS.c.state == literal_column("'pending'")
_IS_DECIDED: Final = APPROVALS.c.state != literal_column("'pending'")
_RUN_HAS_ENDED: Final = exists(RUNS.c.run_id).where(_OF_RUN, RUNS.c.ended_at_ms > 0)


def can_be_decided(now_ms: int) -> ColumnElement[bool]:
    """Returns the condition of the approvals that a person can decide now."""
    return and_(_IS_OPEN, _IS_PENDING, APPROVALS.c.expires_at_ms > now_ms, _RUN_GOES_ON)


class SqlApprovalStore:
    """An ``ApprovalStore`` over a ``StatementRunner``. Closing the database is its owner's task.

    PostgreSQL stores no NUL character: in its place stands U+FFFD.
    """

    def __init__(self, statements: StatementRunner) -> None:
        self._statements = statements

    async def request(self, approvals: Sequence[Approval], now_ms: int) -> None:
        """See ``ApprovalStore``."""
        tidy = (
            update(APPROVALS)
            .where(_IS_OPEN, APPROVALS.c.expires_at_ms < now_ms, _RUN_HAS_ENDED)
            .values(is_taken_up=1)
        )
        new = [
            insert(APPROVALS)
            .values(is_taken_up=0, **_storable(msgspec.structs.asdict(approval)))
            .on_conflict_do_nothing()
            for approval in approvals
        ]
        await self._statements.run(tidy, *new)

    async def get(self, organization_id: str, run_id: str, tool_call_id: str) -> Approval | None:
        """See ``ApprovalStore``."""
        is_it = _is(organization_id, run_id, tool_call_id)
        [rows] = await self._statements.run(select(*_COLUMNS).where(is_it))
        return _approval(rows[0]) if rows else None

    async def list_pending(
        self,
        organization_id: str,
        limit: int,
        now_ms: int,
        *,
        after: Position | None = None,
        run_id: str = "",
        agent_id: str = "",
    ) -> list[Approval]:
        """See ``ApprovalStore``."""
        statement = (
            select(*_COLUMNS)
            .where(
                APPROVALS.c.organization_id == organization_id,
                can_be_decided(now_ms),
            )
            .order_by(APPROVALS.c.created_at_ms, APPROVALS.c.tool_call_id)
            .limit(limit)
        )
        if after is not None:
            created_at_ms, tool_call_id = after
            statement = statement.where(
                or_(
                    APPROVALS.c.created_at_ms > created_at_ms,
                    and_(
                        APPROVALS.c.created_at_ms == created_at_ms,
                        APPROVALS.c.tool_call_id > _text(tool_call_id),
                    ),
                )
            )
        if run_id:
            statement = statement.where(APPROVALS.c.run_id == _text(run_id))
        if agent_id:
            statement = statement.where(APPROVALS.c.agent_id == _text(agent_id))
        [rows] = await self._statements.run(statement)
        return [_approval(row) for row in rows]

    async def decide(
        self, organization_id: str, run_id: str, tool_call_id: str, decision: Decision
    ) -> Approval | None:
        """See ``ApprovalStore``."""
        is_it = _is(organization_id, run_id, tool_call_id)
        decide = (
            update(APPROVALS)
            .where(
                is_it,
                _IS_PENDING,
                APPROVALS.c.expires_at_ms > decision.decided_at_ms,
                _RUN_GOES_ON,
            )
            .values(_storable(msgspec.structs.asdict(decision)))
        )
        _, rows = await self._statements.run(decide, select(*_COLUMNS).where(is_it))
        return _approval(rows[0]) if rows else None

    async def expire(self, run_id: str, now_ms: int) -> None:
        """See ``ApprovalStore``."""
        await self._statements.run(
            update(APPROVALS)
            .where(
                APPROVALS.c.run_id == run_id,
                _IS_PENDING,
                APPROVALS.c.expires_at_ms <= now_ms,
            )
            .values(state=EXPIRED, decided_at_ms=now_ms)
        )

    async def decided(self, run_id: str) -> list[Approval]:
        """See ``ApprovalStore``."""
        [rows] = await self._statements.run(
            select(*_COLUMNS)
            .where(
                APPROVALS.c.run_id == run_id,
                _IS_OPEN,
                _IS_DECIDED,
            )
            .order_by(APPROVALS.c.created_at_ms, APPROVALS.c.tool_call_id)
        )
        return [_approval(row) for row in rows]

    async def take_up(self, run_id: str, tool_call_ids: Sequence[str]) -> None:
        """See ``ApprovalStore``."""
        await self._statements.run(
            *(
                update(APPROVALS)
                .where(APPROVALS.c.run_id == run_id, APPROVALS.c.tool_call_id == tool_call_id)
                .values(is_taken_up=1)
                for tool_call_id in tool_call_ids
            )
        )

    async def runs_to_wake(self, limit: int) -> list[str]:
        """See ``ApprovalStore``."""
        [rows] = await self._statements.run(
            select(RUNS.c.run_id)
            .select_from(APPROVALS.join(RUNS, _OF_RUN))
            .where(
                _IS_OPEN,
                _IS_DECIDED,
                RUNS.c.owner == "",
                RUNS.c.ended_at_ms == 0,
            )
            .distinct()
            .order_by(RUNS.c.run_id)
            .limit(limit)
        )
        return [row["run_id"] for row in rows]


def _is(organization_id: str, run_id: str, tool_call_id: str) -> ColumnElement[bool]:
    return and_(
        APPROVALS.c.run_id == _text(run_id),
        APPROVALS.c.tool_call_id == _text(tool_call_id),
        APPROVALS.c.organization_id == organization_id,
    )


def _approval(row: Row) -> Approval:
    return msgspec.convert(row, Approval)


def _text(value: str) -> str:
    return value.replace("\0", "\ufffd")


def _storable(values: Row) -> Row:
    return {
        name: _text(value) if isinstance(value, str) else value for name, value in values.items()
    }

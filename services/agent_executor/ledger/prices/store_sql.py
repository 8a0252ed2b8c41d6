"""Cards of organizations in a database."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import ColumnElement, and_, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from agent_executor.ledger.prices.organization_card import OrganizationCard
from agent_executor.ledger.tables import ORGANIZATION_CARDS
from agent_executor.storage.statements import Row, StatementRunner

_COLUMN: Final = ORGANIZATION_CARDS.c
_FIELDS: Final = (_COLUMN.body, _COLUMN.withdrawn_at_ms)
_DECODER: Final = msgspec.json.Decoder(OrganizationCard)


class SqlOrganizationCardStore:
    """``OrganizationCardStore`` in the ledger's database."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    async def add(self, card: OrganizationCard, *, cards_max: int) -> bool:
        """See ``OrganizationCardStore``."""
        row = {
            "organization_id": card.organization_id,
            "id": card.id,
            "model": card.model,
            "tool_name": card.tool_name,
            "valid_from_ms": card.valid_from_ms,
            "valid_until_ms": card.valid_until_ms,
            "created_at_ms": card.created_at_ms,
            "body": msgspec.json.encode(card),
        }
        is_there = select(_COLUMN.id).where(_is_key(card.organization_id, card.id))
        others = select(func.count()).where(
            _COLUMN.organization_id == card.organization_id, _COLUMN.withdrawn_at_ms.is_(None)
        )
        # Processes that insert at the same instant may go past the limit by as many.
        values = select(
            *(literal(value, _COLUMN[name].type).label(name) for name, value in row.items())
        ).where(or_(is_there.exists(), others.scalar_subquery() < cards_max))
        statement = insert(ORGANIZATION_CARDS).from_select(list(row), values)
        _, there = await self._runner.run(statement.on_conflict_do_nothing(), is_there)
        return bool(there)

    async def find(self, organization_id: str, card_id: str) -> OrganizationCard | None:
        """See ``OrganizationCardStore``."""
        (rows,) = await self._runner.run(select(*_FIELDS).where(_is_key(organization_id, card_id)))
        return _card_of(rows[0]) if rows else None

    async def list_cards(
        self,
        organization_id: str,
        limit: int,
        *,
        model: str = "",
        tool_name: str = "",
        before_id: str = "",
    ) -> list[OrganizationCard]:
        """See ``OrganizationCardStore``."""
        statement = select(*_FIELDS).where(_COLUMN.organization_id == organization_id)
        if model:
            statement = statement.where(_COLUMN.model == model)
        if tool_name:
            statement = statement.where(_COLUMN.tool_name == tool_name)
        if before_id:
            before = select(_COLUMN.sequence).where(_is_key(organization_id, before_id))
            statement = statement.where(_COLUMN.sequence < before.scalar_subquery())
        (rows,) = await self._runner.run(statement.order_by(_COLUMN.sequence.desc()).limit(limit))
        return [_card_of(row) for row in rows]

    async def withdraw(
        self, organization_id: str, card_id: str, now_ms: int
    ) -> OrganizationCard | None:
        """See ``OrganizationCardStore``."""
        is_card = _is_key(organization_id, card_id)
        first = func.coalesce(_COLUMN.withdrawn_at_ms, now_ms)
        statement = update(ORGANIZATION_CARDS).where(is_card).values(withdrawn_at_ms=first)
        (rows,) = await self._runner.run(statement.returning(*_FIELDS))
        return _card_of(rows[0]) if rows else None

    async def not_withdrawn(self, organization_id: str) -> list[OrganizationCard]:
        """See ``OrganizationCardStore``."""
        statement = (
            select(*_FIELDS)
            .where(_COLUMN.organization_id == organization_id, _COLUMN.withdrawn_at_ms.is_(None))
            .order_by(_COLUMN.sequence.desc())
        )
        (rows,) = await self._runner.run(statement)
        return [_card_of(row) for row in rows]

    async def version(self) -> tuple[int, ...]:
        """See ``OrganizationCardStore``."""
        # Rows are never deleted, and a withdrawal is never undone, so the counts only grow.
        statement = select(
            func.count().label("cards"), func.count(_COLUMN.withdrawn_at_ms).label("withdrawn")
        )
        (rows,) = await self._runner.run(statement.select_from(ORGANIZATION_CARDS))
        return rows[0]["cards"], rows[0]["withdrawn"]


def _is_key(organization_id: str, card_id: str) -> ColumnElement[bool]:
    return and_(_COLUMN.organization_id == organization_id, _COLUMN.id == card_id)


def _card_of(row: Row) -> OrganizationCard:
    card = _DECODER.decode(row["body"])
    return msgspec.structs.replace(card, withdrawn_at_ms=row["withdrawn_at_ms"])

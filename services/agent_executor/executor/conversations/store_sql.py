"""Conversations in any database that runs statements."""

from __future__ import annotations

from sqlalchemy import and_, delete, exists, func, not_, or_, select
from sqlalchemy.sql.elements import ColumnElement

from agent_executor.executor.conversations.conversation import Conversation, ConversationPart
from agent_executor.executor.conversations.rows import conversation_of, part_of
from agent_executor.executor.conversations.store import ConversationPlace
from agent_executor.executor.tables import CONVERSATION_PARTS, CONVERSATIONS
from agent_executor.storage.statements import StatementRunner


class SqlConversationStore:
    """A ``ConversationStore`` over a ``StatementRunner``; the journals write what it reads."""

    def __init__(self, statements: StatementRunner) -> None:
        self._statements = statements

    async def get(self, organization_id: str, conversation_id: str) -> Conversation | None:
        """See ``ConversationStore``."""
        statement = select(CONVERSATIONS).where(_is_it(organization_id, conversation_id))
        [rows] = await self._statements.run(statement)
        return conversation_of(rows[0]) if rows else None

    async def list_conversations(
        self,
        organization_id: str,
        limit: int,
        *,
        before: ConversationPlace | None = None,
        agent_id: str = "",
        user_id: str = "",
    ) -> list[Conversation]:
        """See ``ConversationStore``."""
        columns = CONVERSATIONS.c
        statement = (
            select(CONVERSATIONS)
            .where(columns.organization_id == organization_id)
            .order_by(columns.updated_at_ms.desc(), columns.conversation_id.desc())
            .limit(limit)
        )
        if before is not None:
            statement = statement.where(
                or_(
                    columns.updated_at_ms < before.updated_at_ms,
                    and_(
                        columns.updated_at_ms == before.updated_at_ms,
                        columns.conversation_id < before.conversation_id,
                    ),
                )
            )
        if agent_id:
            statement = statement.where(columns.agent_id == agent_id)
        if user_id:
            statement = statement.where(columns.user_id == user_id)
        [rows] = await self._statements.run(statement)
        return [conversation_of(row) for row in rows]

    async def parts(
        self,
        organization_id: str,
        conversation_id: str,
        *,
        first_index: int,
        end_index: int,
        max_bytes: int,
    ) -> list[ConversationPart]:
        """See ``ConversationStore``."""
        columns = CONVERSATION_PARTS.c
        total_bytes = func.sum(columns.size_bytes).over(order_by=columns.number.desc())
        wanted = (
            select(columns.number, total_bytes.label("total_bytes"))
            .where(
                columns.organization_id == organization_id,
                columns.conversation_id == conversation_id,
                columns.first_index < end_index,
                columns.end_index > first_index,
            )
            .subquery()
        )
        fitting = select(wanted.c.number).where(wanted.c.total_bytes <= max_bytes)
        statement = (
            select(CONVERSATION_PARTS)
            .where(
                columns.organization_id == organization_id,
                columns.conversation_id == conversation_id,
                columns.first_index < end_index,
                or_(columns.number == 1, columns.number.in_(fitting)),
            )
            .order_by(columns.number)
        )
        [rows] = await self._statements.run(statement)
        return [part_of(row) for row in rows]

    async def delete(self, organization_id: str, conversation_id: str, last_run_id: str) -> bool:
        """See ``ConversationStore``."""
        gone = (
            delete(CONVERSATIONS)
            .where(
                _is_it(organization_id, conversation_id),
                CONVERSATIONS.c.last_run_id == last_run_id,
            )
            .returning(CONVERSATIONS.c.last_run_id)
        )
        is_left = exists().where(_is_it(organization_id, conversation_id))
        parts = delete(CONVERSATION_PARTS).where(
            CONVERSATION_PARTS.c.organization_id == organization_id,
            CONVERSATION_PARTS.c.conversation_id == conversation_id,
            not_(is_left),
        )
        rows, _ = await self._statements.run(gone, parts)
        return bool(rows)


def _is_it(organization_id: str, conversation_id: str) -> ColumnElement[bool]:
    return and_(
        CONVERSATIONS.c.organization_id == organization_id,
        CONVERSATIONS.c.conversation_id == conversation_id,
    )

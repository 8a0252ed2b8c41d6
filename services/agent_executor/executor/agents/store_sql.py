"""Agents in any database that runs statements; the executor's PostgreSQL."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import Executable, and_, delete, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.agents.store import known_agent
from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.executor.tables import AGENT_KEYS, AGENT_VERSIONS, AGENTS
from agent_executor.storage.statements import StatementRunner

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(AgentVersion)

_CURRENT: Final = AGENTS.join(
    AGENT_VERSIONS,
    and_(
        AGENTS.c.organization_id == AGENT_VERSIONS.c.organization_id,
        AGENTS.c.agent_id == AGENT_VERSIONS.c.agent_id,
        AGENTS.c.version == AGENT_VERSIONS.c.version,
    ),
)


class SqlAgentStore:
    """An ``AgentStore`` over a ``StatementRunner``. Closing the database is its owner's task."""

    def __init__(self, statements: StatementRunner) -> None:
        self._statements = statements

    async def add_version(self, version: AgentVersion) -> bool:
        """See ``AgentStore``."""
        key = {
            "organization_id": version.organization_id,
            "agent_id": version.agent_id,
            "version": version.version,
        }
        body = _ENCODER.encode(version)
        is_before = and_(
            AGENTS.c.organization_id == version.organization_id,
            AGENTS.c.agent_id == version.agent_id,
            AGENTS.c.version == version.version - 1,
        )
        if version.version == 1:
            added = insert(AGENT_VERSIONS).values(**key, body=body)
            moved: Executable = insert(AGENTS).values(**key, deleted=0).on_conflict_do_nothing()
        else:
            row = [literal(value) for value in (*key.values(), body)]
            added = insert(AGENT_VERSIONS).from_select(
                [*key, "body"], select(*row).select_from(AGENTS).where(is_before)
            )
            moved = update(AGENTS).where(is_before).values(version=version.version)
        # Who writes a version first has it: another waits for that commit, and then adds no row.
        rows, _ = await self._statements.run(
            added.on_conflict_do_nothing().returning(AGENT_VERSIONS.c.version), moved
        )
        return bool(rows)

    async def create(self, agent: AgentVersion, key: IdempotencyKey) -> AgentVersion:
        """See ``AgentStore``."""
        name = {"organization_id": agent.organization_id, "key": key.key}
        facts = {
            "request_digest": key.request_digest,
            "agent_id": agent.agent_id,
            "created_at_ms": agent.created_at_ms,
        }
        is_named = and_(*(AGENT_KEYS.c[column] == value for column, value in name.items()))
        is_ours = and_(is_named, AGENT_KEYS.c.agent_id == agent.agent_id)
        row = {"organization_id": agent.organization_id, "agent_id": agent.agent_id, "version": 1}
        body = _ENCODER.encode(agent)
        is_of_key = and_(
            AGENT_VERSIONS.c.organization_id == AGENT_KEYS.c.organization_id,
            AGENT_VERSIONS.c.agent_id == AGENT_KEYS.c.agent_id,
            AGENT_VERSIONS.c.version == 1,
        )
        # Who writes a key first has it: another waits for that commit, and then adds no agent.
        *_, rows = await self._statements.run(
            insert(AGENT_KEYS).values(**name, **facts).on_conflict_do_nothing(),
            insert(AGENT_VERSIONS).from_select(
                [*row, "body"], select(*map(literal, (*row.values(), body))).where(is_ours)
            ),
            insert(AGENTS).from_select(
                [*row, "deleted"], select(*map(literal, (*row.values(), 0))).where(is_ours)
            ),
            select(AGENT_KEYS.c.request_digest, AGENT_VERSIONS.c.body)
            .select_from(AGENT_KEYS.join(AGENT_VERSIONS, is_of_key))
            .where(is_named),
        )
        if not rows:
            # The key was forgotten just now.
            return await self.create(agent, key)
        return known_agent(key, rows[0]["request_digest"], _DECODER.decode(rows[0]["body"]))

    async def forget_keys(self, before_ms: int) -> None:
        """See ``AgentStore``."""
        await self._statements.run(delete(AGENT_KEYS).where(AGENT_KEYS.c.created_at_ms < before_ms))

    async def get(
        self, organization_id: str, agent_id: str, version: int = 0
    ) -> AgentVersion | None:
        """See ``AgentStore``."""
        if version:
            statement = select(AGENT_VERSIONS.c.body).where(
                AGENT_VERSIONS.c.organization_id == organization_id,
                AGENT_VERSIONS.c.agent_id == agent_id,
                AGENT_VERSIONS.c.version == version,
            )
        else:
            statement = (
                select(AGENT_VERSIONS.c.body)
                .select_from(_CURRENT)
                .where(
                    AGENTS.c.organization_id == organization_id,
                    AGENTS.c.agent_id == agent_id,
                    AGENTS.c.deleted == 0,
                )
            )
        [rows] = await self._statements.run(statement)
        return _DECODER.decode(rows[0]["body"]) if rows else None

    async def list_agents(
        self, organization_id: str, limit: int, before_agent_id: str = ""
    ) -> list[AgentVersion]:
        """See ``AgentStore``."""
        statement = (
            select(AGENT_VERSIONS.c.body)
            .select_from(_CURRENT)
            .where(AGENTS.c.organization_id == organization_id, AGENTS.c.deleted == 0)
            .order_by(AGENTS.c.agent_id.desc())
            .limit(limit)
        )
        if before_agent_id:
            statement = statement.where(AGENTS.c.agent_id < before_agent_id)
        [rows] = await self._statements.run(statement)
        return [_DECODER.decode(row["body"]) for row in rows]

    async def delete(self, organization_id: str, agent_id: str) -> bool:
        """See ``AgentStore``."""
        statement = (
            update(AGENTS)
            .where(
                AGENTS.c.organization_id == organization_id,
                AGENTS.c.agent_id == agent_id,
                AGENTS.c.deleted == 0,
            )
            .values(deleted=1)
            .returning(AGENTS.c.agent_id)
        )
        [rows] = await self._statements.run(statement)
        return bool(rows)

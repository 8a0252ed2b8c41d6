"""Agents in SQLite."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.agents.store import known_agent
from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.storage.sqlite import SqliteDatabase

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(AgentVersion)

_FIND_KEY: Final = (
    "SELECT request_digest, body FROM agent_keys JOIN agent_versions"
    " USING (organization_id, agent_id) WHERE organization_id = ? AND key = ? AND version = 1"
)


class SqliteAgentStore:
    """An ``AgentStore`` in the executor's database. Closing the database is its owner's task."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def add_version(self, version: AgentVersion) -> bool:
        """See ``AgentStore``."""
        body = _ENCODER.encode(version)

        def write(connection: sqlite3.Connection) -> bool:
            key = (version.organization_id, version.agent_id, version.version)
            if version.version == 1:
                changed = connection.execute(
                    "INSERT INTO agents (organization_id, agent_id, version) VALUES (?, ?, ?)"
                    " ON CONFLICT DO NOTHING",
                    key,
                ).rowcount
            else:
                changed = connection.execute(
                    "UPDATE agents SET version = ?3"
                    " WHERE organization_id = ?1 AND agent_id = ?2 AND version = ?3 - 1",
                    key,
                ).rowcount
            if changed != 1:
                return False
            connection.execute("INSERT INTO agent_versions VALUES (?, ?, ?, ?)", (*key, body))
            return True

        return await self._database.writer.submit(write)

    async def create(self, agent: AgentVersion, key: IdempotencyKey) -> AgentVersion:
        """See ``AgentStore``."""
        body = _ENCODER.encode(agent)
        name = (agent.organization_id, key.key)

        def write(connection: sqlite3.Connection) -> tuple[str, bytes]:
            known: tuple[str, bytes] | None = connection.execute(_FIND_KEY, name).fetchone()
            if known is not None:
                return known
            organization_id, agent_id = agent.organization_id, agent.agent_id
            connection.execute(
                "INSERT INTO agent_keys VALUES (?, ?, ?, ?, ?)",
                (*name, key.request_digest, agent_id, agent.created_at_ms),
            )
            connection.execute(
                "INSERT INTO agents (organization_id, agent_id, version) VALUES (?, ?, 1)",
                (organization_id, agent_id),
            )
            connection.execute(
                "INSERT INTO agent_versions VALUES (?, ?, 1, ?)", (organization_id, agent_id, body)
            )
            return key.request_digest, body

        request_digest, found = await self._database.writer.submit(write)
        return known_agent(key, request_digest, _DECODER.decode(found))

    async def forget_keys(self, before_ms: int) -> None:
        """See ``AgentStore``."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM agent_keys WHERE created_at_ms < ?", (before_ms,))

        await self._database.writer.submit(write)

    async def get(
        self, organization_id: str, agent_id: str, version: int = 0
    ) -> AgentVersion | None:
        """See ``AgentStore``."""

        def read(connection: sqlite3.Connection) -> AgentVersion | None:
            if version:
                row = connection.execute(
                    "SELECT body FROM agent_versions"
                    " WHERE organization_id = ? AND agent_id = ? AND version = ?",
                    (organization_id, agent_id, version),
                ).fetchone()
            else:
                row = connection.execute(
                    "SELECT body FROM agents JOIN agent_versions"
                    " USING (organization_id, agent_id, version)"
                    " WHERE organization_id = ? AND agent_id = ? AND deleted = 0",
                    (organization_id, agent_id),
                ).fetchone()
            return _DECODER.decode(row[0]) if row else None

        # Every execution of an agent reads it by its primary key, which takes microseconds from
        # the page cache; a hop to a reader thread would cost ten times that.
        return self._database.read_inline(read)

    async def list_agents(
        self, organization_id: str, limit: int, before_agent_id: str = ""
    ) -> list[AgentVersion]:
        """See ``AgentStore``."""

        def read(connection: sqlite3.Connection) -> list[AgentVersion]:
            rows = connection.execute(
                "SELECT body FROM agents JOIN agent_versions"
                " USING (organization_id, agent_id, version)"
                " WHERE organization_id = ?1 AND deleted = 0 AND (?2 = '' OR agent_id < ?2)"
                " ORDER BY agent_id DESC LIMIT ?3",
                (organization_id, before_agent_id, limit),
            )
            return [_DECODER.decode(body) for (body,) in rows]

        return await self._database.read(read)

    async def delete(self, organization_id: str, agent_id: str) -> bool:
        """See ``AgentStore``."""

        def write(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(
                "UPDATE agents SET deleted = 1"
                " WHERE organization_id = ? AND agent_id = ? AND deleted = 0",
                (organization_id, agent_id),
            ).rowcount
            return changed == 1

        return await self._database.writer.submit(write)

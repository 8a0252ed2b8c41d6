"""Agents in memory, for the library and for tests."""

from __future__ import annotations

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.agents.store import known_agent
from agent_executor.executor.journal.journal import IdempotencyKey


class MemoryAgentStore:
    """An ``AgentStore`` that lives as long as its process."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], list[AgentVersion]] = {}
        self._deleted: set[tuple[str, str]] = set()
        self._keys: dict[tuple[str, str], tuple[str, AgentVersion]] = {}

    async def add_version(self, version: AgentVersion) -> bool:
        """See ``AgentStore``."""
        versions = self._versions.setdefault((version.organization_id, version.agent_id), [])
        if version.version != len(versions) + 1:
            return False
        versions.append(version)
        return True

    async def create(self, agent: AgentVersion, key: IdempotencyKey) -> AgentVersion:
        """See ``AgentStore``."""
        name = (agent.organization_id, key.key)
        if name in self._keys:
            return known_agent(key, *self._keys[name])
        self._keys[name] = (key.request_digest, agent)
        self._versions[agent.organization_id, agent.agent_id] = [agent]
        return agent

    async def forget_keys(self, before_ms: int) -> None:
        """See ``AgentStore``."""
        for name, (_, agent) in list(self._keys.items()):
            if agent.created_at_ms < before_ms:
                del self._keys[name]

    async def get(
        self, organization_id: str, agent_id: str, version: int = 0
    ) -> AgentVersion | None:
        """See ``AgentStore``."""
        key = (organization_id, agent_id)
        versions = self._versions.get(key, [])
        if version:
            return versions[version - 1] if version <= len(versions) else None
        return versions[-1] if versions and key not in self._deleted else None

    async def list_agents(
        self, organization_id: str, limit: int, before_agent_id: str = ""
    ) -> list[AgentVersion]:
        """See ``AgentStore``."""
        found = [
            versions[-1]
            for (organization, agent_id), versions in self._versions.items()
            if organization == organization_id
            and (organization, agent_id) not in self._deleted
            and (not before_agent_id or agent_id < before_agent_id)
        ]
        return sorted(found, key=lambda agent: agent.agent_id, reverse=True)[:limit]

    async def delete(self, organization_id: str, agent_id: str) -> bool:
        """See ``AgentStore``."""
        key = (organization_id, agent_id)
        if key not in self._versions or key in self._deleted:
            return False
        self._deleted.add(key)
        return True

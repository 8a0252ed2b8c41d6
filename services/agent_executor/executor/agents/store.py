"""The port to where agents are kept."""

from __future__ import annotations

from typing import Protocol

from agent_executor.executor.agents.agent import AgentVersion


class AgentStore(Protocol):
    """Keeps every version of every agent. All methods see one organization only.

    A write is durable, and seen by every later read, once its method has returned.
    """

    async def add_version(self, version: AgentVersion) -> bool:
        """Stores a version.

        Returns:
            False, and stores nothing, if the version exists already: somebody else changed the
            agent in between.
        """
        ...

    async def get(
        self, organization_id: str, agent_id: str, version: int = 0
    ) -> AgentVersion | None:
        """Returns a version, 0 meaning the newest; None if there is none or it was deleted.

        A deleted agent's versions are still returned when asked for by number, since the runs
        that are bound to them go on.
        """
        ...

    async def list_agents(
        self, organization_id: str, limit: int, before_agent_id: str = ""
    ) -> list[AgentVersion]:
        """Returns the newest versions of agents that are not deleted, newest agent first.

        Args:
            organization_id: Whose agents.
            limit: How many at most.
            before_agent_id: Only agents made before this one; empty: all.
        """
        ...

    async def delete(self, organization_id: str, agent_id: str) -> bool:
        """Deletes an agent; returns False if there is none."""
        ...

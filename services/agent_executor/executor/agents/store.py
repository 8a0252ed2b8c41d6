"""The port to where agents are kept."""

from __future__ import annotations

from typing import Protocol

from agent_executor.errors import IdempotencyConflictError
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.journal.journal import IdempotencyKey


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

    async def create(self, agent: AgentVersion, key: IdempotencyKey) -> AgentVersion:
        """Stores the first version of an agent, unless one was created under the key before.

        Args:
            agent: The agent, whose id is new.
            key: Of the request; known by its organization and its text.

        Returns:
            The agent that was created under the key, as it was then.

        Raises:
            IdempotencyConflictError: The key was used for another request.
        """
        ...

    async def forget_keys(self, before_ms: int) -> None:
        """Forgets the keys of agents that were created before a time."""
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


def known_agent(key: IdempotencyKey, request_digest: str, agent: AgentVersion) -> AgentVersion:
    """Returns the agent that was created under a key, for a repeat of its request.

    Raises:
        IdempotencyConflictError: The key was used for another request.
    """
    if request_digest != key.request_digest:
        raise IdempotencyConflictError(
            "The idempotency key was used before for another request.",
            metadata={"agentId": agent.agent_id},
        )
    return agent

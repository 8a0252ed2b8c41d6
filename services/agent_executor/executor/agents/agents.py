"""What can be done with agents. Every method acts within the caller's organization."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from typing import Any

from agent_executor.errors import AgentNotFoundError, ConflictError
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.agents.agent_models import AgentModels
from agent_executor.executor.agents.store import AgentStore
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.executor.models.model_choice import ModelChoice
from agent_executor.serving.security import SecurityContext
from agent_executor.storage.encryption import Encryption

_LOGGER = logging.getLogger(__name__)

PERMISSION_READ = "agent:read"
PERMISSION_WRITE = "agent:write"


class Agents:
    """Creates, reads, changes and deletes agents.

    Args:
        store: Where they are kept.
        encryption: Of their API keys.
        now_ms: The time in milliseconds since 1970-01-01 UTC.
        models: What agents may say about their models. Default: those of the mock.
    """

    def __init__(
        self,
        store: AgentStore,
        encryption: Encryption,
        now_ms: Callable[[], int],
        models: AgentModels | None = None,
    ) -> None:
        self._store = store
        self._encryption = encryption
        self._now_ms = now_ms
        self._models = models or AgentModels()

    async def create(
        self,
        fields: Mapping[str, Any],
        api_key: str,
        security: SecurityContext,
        key: IdempotencyKey | None = None,
    ) -> AgentVersion:
        """Creates an agent at version 1.

        The repeat of a call, known by its key, returns the same agent as it was created.

        Args:
            fields: Fields of ``AgentVersion`` by name; those left out have their defaults.
            api_key: The agent's own key for its model provider; empty for none.
            security: Who creates it.
            key: Makes a repeat of the call known as such; None if it has none.

        Raises:
            PermissionDeniedError: Without ``agent:write``.
            InvalidArgumentError: Its fields contradict each other.
            IdempotencyConflictError: The key was used for another request.
        """
        security.require(PERMISSION_WRITE)
        agent_id = new_id()
        now_ms = self._now_ms()
        agent = AgentVersion(
            agent_id=agent_id,
            organization_id=security.organization_id,
            version=1,
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
            api_key_ciphertext=self._encryption.encrypt(api_key, agent_id),
            **fields,
        )
        agent.check()
        self._models.check(agent)
        if key is None:
            await self._store.add_version(agent)
        else:
            agent = await self._store.create(agent, key)
        if agent.agent_id == agent_id:
            self._tell_warnings(agent)
        return agent

    async def get(self, agent_id: str, security: SecurityContext, version: int = 0) -> AgentVersion:
        """Returns a version of an agent, 0 meaning the newest.

        Raises:
            PermissionDeniedError: Without ``agent:read``.
            AgentNotFoundError: There is none in the organization.
        """
        security.require(PERMISSION_READ)
        return await self.load(agent_id, security, version)

    async def load(
        self, agent_id: str, security: SecurityContext, version: int = 0
    ) -> AgentVersion:
        """Returns a version of an agent for use by the executor itself.

        Raises:
            AgentNotFoundError: There is none in the organization.
        """
        agent = await self._store.get(security.organization_id, agent_id, version)
        if agent is None:
            raise _not_found(agent_id)
        return agent

    async def list_agents(
        self, security: SecurityContext, limit: int, before_agent_id: str = ""
    ) -> list[AgentVersion]:
        """Returns agents, newest first.

        Raises:
            PermissionDeniedError: Without ``agent:read``.
        """
        security.require(PERMISSION_READ)
        return await self._store.list_agents(security.organization_id, limit, before_agent_id)

    async def update(
        self,
        agent_id: str,
        changes: Mapping[str, Any],
        api_key: str | None,
        security: SecurityContext,
    ) -> AgentVersion:
        """Makes the next version of an agent.

        Args:
            agent_id: The agent.
            changes: Fields of ``AgentVersion`` by name.
            api_key: A new key, the empty string to remove the key, None to leave it.
            security: Who changes it.

        Raises:
            PermissionDeniedError: Without ``agent:write``.
            AgentNotFoundError: There is none in the organization.
            InvalidArgumentError: Its fields would contradict each other.
            ConflictError: Somebody else changed it at the same time.
        """
        security.require(PERMISSION_WRITE)
        agent = await self.load(agent_id, security)
        changed = dict(changes)
        if api_key is not None:
            changed["api_key_ciphertext"] = self._encryption.encrypt(api_key, agent_id)
        updated = agent.changed(changed, self._now_ms())
        updated.check()
        self._models.check(updated, agent, sets_key=api_key is not None)
        if not await self._store.add_version(updated):
            raise ConflictError(f"Agent {agent_id} was changed by somebody else; read it again.")
        if updated.model != agent.model:
            self._tell_warnings(updated)
        return updated

    async def delete(self, agent_id: str, security: SecurityContext) -> None:
        """Deletes an agent. Its runs stay.

        Raises:
            PermissionDeniedError: Without ``agent:write``.
            AgentNotFoundError: There is none in the organization.
        """
        security.require(PERMISSION_WRITE)
        if not await self._store.delete(security.organization_id, agent_id):
            raise _not_found(agent_id)

    async def forget_keys(self, before_ms: int) -> None:
        """Forgets the idempotency keys of agents that were created before a time."""
        await self._store.forget_keys(before_ms)

    def warnings_of(self, agent: AgentVersion) -> tuple[str, ...]:
        """Returns what an agent's maker should know, as of today."""
        today = dt.datetime.fromtimestamp(self._now_ms() / 1000, dt.UTC).date()
        return self._models.warnings(agent, today)

    def select_model(
        self, agent: AgentVersion, text: str, history_bytes: int = 0
    ) -> ModelChoice | None:
        """Returns the model of a run that begins; None if its agent names one. See ``AgentModels``."""
        return self._models.select(agent, text, history_bytes)

    def require_batches(self, agent: AgentVersion) -> None:
        """Checks that an agent's model calls can be batched; see ``AgentModels``."""
        self._models.require_batches(agent)

    def _tell_warnings(self, agent: AgentVersion) -> None:
        for warning in self.warnings_of(agent):
            _LOGGER.warning("Agent %s: %s", agent.agent_id, warning)


def _not_found(agent_id: str) -> AgentNotFoundError:
    return AgentNotFoundError(f"Agent {agent_id} does not exist.", metadata={"agentId": agent_id})

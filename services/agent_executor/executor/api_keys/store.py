"""The port to the keys: of each its facts and the digest of its secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agent_executor.executor.api_keys.api_key import ApiKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyQuery:
    """Which keys are listed.

    Attributes:
        organization_id: Whose.
        limit: How many at most.
        now_ms: When, by which keys are active or expired.
        before: Only keys older than that of this id; empty for the newest.
        user_id: Only keys that act for this user; empty for all.
        state: Only keys that stand so, as ``ApiKey.state``; empty for all.
    """

    organization_id: str
    limit: int
    now_ms: int
    before: str = ""
    user_id: str = ""
    state: str = ""


class ApiKeyStore(Protocol):
    """Keeps keys. What a method has written is durable once it has returned."""

    async def create(self, key: ApiKey, active_max: int, ended_before_ms: int) -> bool:
        """Adds a key, and deletes those of its user that ended before a time.

        Args:
            key: The new key.
            active_max: How many of its user may be active when it is made, it included. Processes
                that create at the same instant may go past it by as many.
            ended_before_ms: Keys that were revoked or have expired before that are deleted.

        Returns:
            Whether it was added: not if the user has enough.
        """
        ...

    async def find(self, digest: bytes) -> ApiKey | None:
        """Returns the key of a secret, of whatever organization; None if there is none."""
        ...

    async def get(self, organization_id: str, key_id: str) -> ApiKey | None:
        """Returns a key; None if the organization has none of this id."""
        ...

    async def list_keys(self, query: ApiKeyQuery) -> list[ApiKey]:
        """Returns keys, the newest first."""
        ...

    async def revoke(self, organization_id: str, key_id: str, now_ms: int) -> ApiKey | None:
        """Revokes a key unless it is revoked already, and returns it; None if there is none."""
        ...

    async def note_use(self, key_id: str, now_ms: int, unless_since_ms: int) -> None:
        """Notes that a key was used, unless that was noted at or after a time."""
        ...

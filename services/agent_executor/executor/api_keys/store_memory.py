"""Keys in memory, for tests."""

from __future__ import annotations

import msgspec

from agent_executor.executor.api_keys.api_key import ApiKey
from agent_executor.executor.api_keys.store import ApiKeyQuery


class MemoryApiKeyStore:
    """An ``ApiKeyStore`` that lives as long as its process."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}

    async def create(self, key: ApiKey, active_max: int, ended_before_ms: int) -> bool:
        """See ``ApiKeyStore``."""
        of_user = [
            stored
            for stored in self._keys.values()
            if (stored.organization_id, stored.user_id) == (key.organization_id, key.user_id)
        ]
        for stored in of_user:
            if (stored.revoked_at_ms or stored.expires_at_ms) < ended_before_ms:
                del self._keys[stored.key_id]
        active = [each for each in of_user if each.state(key.created_at_ms) == "active"]
        if len(active) >= active_max:
            return False
        self._keys[key.key_id] = key
        return True

    async def find(self, digest: bytes) -> ApiKey | None:
        """See ``ApiKeyStore``."""
        return next((key for key in self._keys.values() if key.digest == digest), None)

    async def get(self, organization_id: str, key_id: str) -> ApiKey | None:
        """See ``ApiKeyStore``."""
        key = self._keys.get(key_id)
        return key if key is not None and key.organization_id == organization_id else None

    async def list_keys(self, query: ApiKeyQuery) -> list[ApiKey]:
        """See ``ApiKeyStore``."""
        found = [
            key
            for key in self._keys.values()
            if key.organization_id == query.organization_id
            and (not query.before or key.key_id < query.before)
            and query.user_id in {"", key.user_id}
            and query.state in {"", key.state(query.now_ms)}
        ]
        return sorted(found, key=lambda key: key.key_id, reverse=True)[: query.limit]

    async def revoke(self, organization_id: str, key_id: str, now_ms: int) -> ApiKey | None:
        """See ``ApiKeyStore``."""
        key = await self.get(organization_id, key_id)
        if key is None or key.revoked_at_ms:
            return key
        self._keys[key_id] = msgspec.structs.replace(key, revoked_at_ms=now_ms)
        return self._keys[key_id]

    async def note_use(self, key_id: str, now_ms: int, unless_since_ms: int) -> None:
        """See ``ApiKeyStore``."""
        key = self._keys.get(key_id)
        if key is not None and key.last_used_at_ms < unless_since_ms:
            self._keys[key_id] = msgspec.structs.replace(key, last_used_at_ms=now_ms)

"""Results that several tool-runners have in common, in Redis: encrypted, and gone after their time."""

from __future__ import annotations

import logging
from typing import Final

from cryptography.exceptions import InvalidTag

from agent_executor.errors import UnavailableError
from agent_executor.storage.encryption import Encryption
from agent_executor.storage.redis_client import RedisClient
from agent_executor.tool_runner.calls.result_cache import CacheKey, SharedResult
from agent_executor.tool_runner.calls.tool_call import sha256_hex

# Larger ones are kept in the process that had them.
SHARED_RESULT_BYTES_MAX: Final = 262_144
KEY_PREFIX: Final = "agent_executor:1:result:"

_LOGGER = logging.getLogger(__name__)


class RedisResults:
    """See ``SharedResults``. A result is bound to its key, so that none can stand for another.

    Args:
        client: The connection.
        encryption: By a key that all tool-runners have.
    """

    def __init__(self, client: RedisClient, encryption: Encryption) -> None:
        self._client = client
        self._encryption = encryption

    async def get(self, key: CacheKey) -> SharedResult | None:
        """Returns a result; None if there is none, or Redis is away."""
        if not self._client.is_up:
            return None
        name = _name_of(key)
        value, rest = self._client.run("GET", name), self._client.run("PTTL", name)
        try:
            ciphertext, rest_ms = await value, await rest
        except UnavailableError:
            return None
        if ciphertext is None or rest_ms <= 0:
            return None
        try:
            result_json = self._encryption.decrypt(ciphertext, name)
        except (InvalidTag, ValueError):
            _LOGGER.warning("a result in Redis was encrypted with another key, or changed")
            return None
        return SharedResult(result_json, rest_ms / 1000)

    def put(self, key: CacheKey, result_json: str, ttl_seconds: float) -> None:
        """Begins to share a result that is not too large."""
        if not self._client.is_up or len(result_json) > SHARED_RESULT_BYTES_MAX:
            return
        name = _name_of(key)
        ciphertext = self._encryption.encrypt(result_json, name)
        if len(ciphertext) <= SHARED_RESULT_BYTES_MAX:
            self._client.run("SET", name, ciphertext, "PX", max(1, int(ttl_seconds * 1000)))


def _name_of(key: CacheKey) -> str:
    # No part holds a NUL character, which names of organizations and tools cannot have.
    return KEY_PREFIX + sha256_hex("\0".join(key).encode("utf-8", "surrogatepass"))

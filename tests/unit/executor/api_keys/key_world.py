"""Executors that share a store of keys, and the services that verify what they hand out."""

from __future__ import annotations

import json
import time
from pathlib import Path

from agent_executor.cli.keys import ensure_keys
from agent_executor.executor.api_keys.api_keys import ApiKeys
from agent_executor.executor.api_keys.exchange import KeyExchange
from agent_executor.executor.api_keys.store_memory import MemoryApiKeyStore
from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.key_sets import FileKeySet
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.settings import LOCAL_ISSUER
from agent_executor.serving.token_signing import TokenSigner


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class CountingStore(MemoryApiKeyStore):
    """Counts how often a key is looked up."""

    looked_up = 0

    async def find(self, digest: bytes):  # type: ignore[no-untyped-def]  # as the method it extends
        self.looked_up += 1
        return await super().find(digest)


class KeyWorld:
    """One store, any number of executors, and a service with the usual clock skew."""

    def __init__(self, folder: Path) -> None:
        self.keys = ensure_keys(folder)
        self.store = CountingStore()
        self.exchange, self.api_keys = self.executor()
        self.service = self.new_service()

    def executor(self) -> tuple[KeyExchange, ApiKeys]:
        """Returns one more executor's parts."""
        exchange = KeyExchange(self.store, TokenSigner.from_file(self.keys.token), now_ms)
        return exchange, ApiKeys(self.store, exchange, now_ms)

    def new_service(self, clock_skew_seconds: float = 30) -> TokenVerifier:
        """Returns what verifies tokens in a service."""
        return TokenVerifier(
            {LOCAL_ISSUER: FileKeySet(self.keys.jwks)}, clock_skew_seconds=clock_skew_seconds
        )

    def shown(self) -> str:
        """Returns all that is stored, as text."""
        return json.dumps([str(key) for key in self.store._keys.values()])


def caller(
    *permissions: str, user: str = "ada", expires_at: float = 2e10, api_key_id: str = ""
) -> SecurityContext:
    return SecurityContext(
        "acme", user, frozenset(permissions or ("*",)), api_key_id=api_key_id, expires_at=expires_at
    )

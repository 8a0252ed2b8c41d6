"""How long a caller may watch: as long as what it has shown holds."""

from __future__ import annotations

from collections.abc import Callable

from agent_executor.errors import UnauthenticatedError
from agent_executor.executor.api_keys.exchange import TOKEN_SECONDS
from agent_executor.executor.api_keys.store import ApiKeyStore
from agent_executor.serving.security import SecurityContext


class CallerValidity:
    """Ends the watching of a caller whose token ends, or whose key or session is revoked.

    The tokens that keys and sessions are exchanged for end after seconds; then it is looked whether
    the key still holds, so that a revoked one is as dead here as it is elsewhere.

    Args:
        security: The caller.
        keys: The keys and sessions.
        now_ms: The time in milliseconds since 1970-01-01 UTC.
        clock_skew_seconds: How far the clock of the token's issuer may be off.
    """

    def __init__(
        self,
        security: SecurityContext,
        keys: ApiKeyStore,
        now_ms: Callable[[], int],
        clock_skew_seconds: float,
    ) -> None:
        self._security = security
        self._keys = keys
        self._now_ms = now_ms
        self._until_ms = security.expires_at * 1000
        if not security.api_key_id:
            self._until_ms += clock_skew_seconds * 1000

    @property
    def remaining_seconds(self) -> float:
        """After how long it has to be checked again; infinite for a caller that showed no token."""
        return max(0.0, (self._until_ms - self._now_ms()) / 1000)

    async def check(self) -> None:
        """Passes if the caller may still watch.

        Raises:
            UnauthenticatedError: It may not.
            UnavailableError: That cannot be looked up at present.
        """
        now_ms = self._now_ms()
        if now_ms < self._until_ms:
            return
        security = self._security
        if not security.api_key_id:
            raise UnauthenticatedError("The token has expired.")
        key = await self._keys.get(security.organization_id, security.api_key_id)
        if key is None or key.state(now_ms) != "active":
            raise UnauthenticatedError("The key or session has expired or is revoked.")
        self._until_ms = min(now_ms + TOKEN_SECONDS * 1000, key.expires_at_ms)

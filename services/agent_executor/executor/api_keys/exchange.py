"""Exchanges a key for a token of a few seconds, which every service accepts.

Services know no keys, so a key that is revoked is dead when the last token made of it is. That takes
at most ``TOKEN_SECONDS``, since the token that is handed out again for ``REUSED_SECONDS`` was made
when the key was last looked up, and the difference of clocks that services allow for such a token,
twice (``API_KEY_CLOCK_SKEW_SECONDS``, if the service's clock really is off by as much): 25 s.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Callable
from typing import Final, NamedTuple

from pydantic import SecretStr

from agent_executor.errors import UnauthenticatedError, UnavailableError
from agent_executor.executor.api_keys.api_key import SESSION, ApiKey, Kind
from agent_executor.executor.api_keys.secret import digest_of, kind_of
from agent_executor.executor.api_keys.store import ApiKeyStore
from agent_executor.executor.api_keys.wrong_keys import WrongKeys
from agent_executor.serving.token_signing import API_KEY_CLAIM, TokenSigner
from agent_executor.serving.verified_cache import VerifiedCache

TOKEN_SECONDS: Final = 15
REUSED_SECONDS: Final = 10.0
MAX_TOKENS: Final = 4_096
USE_NOTED_EVERY_MS: Final = 300_000


class ShortToken(NamedTuple):
    """A token that was made of a key.

    Attributes:
        token: Itself. Never to be logged.
        expires_at: When it ends, in seconds since 1970-01-01 UTC.
    """

    token: str
    expires_at: float

    def __repr__(self) -> str:
        """Shows everything but the token."""
        return f"ShortToken(expires_at={self.expires_at})"


class KeyExchange:
    """Knows for some seconds which keys hold.

    Attributes:
        on_revoked: Called with the digest of a key that was revoked here, in hexadecimal, to tell
            other executors.

    Args:
        store: Where keys are kept.
        signer: Signs tokens; None if there is no key to sign with, so that nothing is exchanged.
        now_ms: The time in milliseconds since 1970-01-01 UTC.
    """

    def __init__(
        self, store: ApiKeyStore, signer: TokenSigner | None, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._signer = signer
        self._now_ms = now_ms
        self._tokens: VerifiedCache[bytes, ShortToken] = VerifiedCache(MAX_TOKENS)
        self._wrong_keys = WrongKeys()
        self._revocations = 0
        self.on_revoked: Callable[[str], None] = lambda _: None

    async def exchange(self, secret: SecretStr, kind: Kind, client: str) -> ShortToken:
        """Returns a token for a secret.

        Args:
            secret: What was shown.
            kind: What it has to be of: a session's opens nothing as a key, nor a key as a session.
            client: Who showed it, by which wrong ones are counted.

        Raises:
            LimitExceededError: The client has shown too many wrong secrets.
            UnauthenticatedError: The secret is of nothing that holds.
            UnavailableError: There is nothing to sign with, or the store failed.
        """
        if self._signer is None:
            raise UnavailableError(
                "API keys and sessions are not accepted: the executor has no key to sign tokens "
                "with (EXECUTOR_TOKEN_KEY_FILE)."
            )
        if kind_of(secret) != kind:
            raise UnauthenticatedError(f"What was shown is no {_named(kind)}.")
        digest, now = digest_of(secret), self._now_ms() / 1000
        known = self._tokens.get(digest, now)
        if known is not None:
            return known
        self._wrong_keys.admit(client, digest, now)
        revocations = self._revocations
        key = await self._store.find(digest)
        why_not = _why_not(key, digest, kind, self._now_ms())
        if key is None or why_not:
            self._wrong_keys.add(client, digest, why_not, now)
            raise UnauthenticatedError(why_not)
        self._wrong_keys.note_right(digest, now)
        token = self._mint(self._signer, key, now)
        # A key that was looked up just before it was revoked is not kept.
        if revocations == self._revocations:
            self._tokens.put(digest, token, min(now + REUSED_SECONDS, key.expires_at_ms / 1000))
        await self._note_use(key)
        return token

    def forget(self, key: ApiKey) -> None:
        """Takes a key that was revoked for what it is, at once."""
        self._revocations += 1
        self._tokens.discard(key.digest)
        self.on_revoked(key.digest.hex())

    def forget_digest(self, digest: str) -> None:
        """Looks a key up again that another executor has revoked.

        Raises:
            ValueError: The digest is not hexadecimal.
        """
        self._revocations += 1
        self._tokens.discard(bytes.fromhex(digest))

    def forget_all(self) -> None:
        """Looks every key up again, for others may have revoked some."""
        self._revocations += 1
        self._tokens.clear()

    @staticmethod
    def _mint(signer: TokenSigner, key: ApiKey, now: float) -> ShortToken:
        issued_at = int(now)
        expires_at = min(issued_at + TOKEN_SECONDS, key.expires_at_ms // 1000)
        token = signer.sign(
            {
                "sub": key.user_id,
                "org": key.organization_id,
                "permissions": list(key.permissions),
                API_KEY_CLAIM: key.key_id,
                "iat": issued_at,
                "exp": expires_at,
            }
        )
        return ShortToken(token, expires_at)

    async def _note_use(self, key: ApiKey) -> None:
        now_ms = self._now_ms()
        since_ms = now_ms - USE_NOTED_EVERY_MS
        if key.last_used_at_ms < since_ms:
            # Who shows a key that holds is let in; that it was used is noted when it can be.
            with contextlib.suppress(UnavailableError):
                await self._store.note_use(key.key_id, now_ms, since_ms)


def _why_not(key: ApiKey | None, digest: bytes, kind: Kind, now_ms: int) -> str:
    """Returns why a key opens nothing, in one sentence; empty if it does.

    Whoever is told that it is revoked has shown the whole secret.
    """
    if key is None or not hmac.compare_digest(key.digest, digest) or key.kind != kind:
        return f"There is no such {_named(kind)}."
    state = key.state(now_ms)
    if state == "active":
        return ""
    return f"The {_named(kind)} {'is revoked' if state == 'revoked' else 'has expired'}."


def _named(kind: Kind) -> str:
    return "session" if kind == SESSION else "API key"

"""What callers do with keys: make, see and revoke them, and sign browsers in and out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from agent_executor.errors import (
    ApiKeyNotFoundError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from agent_executor.executor.api_keys.api_key import (
    ACTIVE_KEYS_MAX,
    KEY,
    SESSION,
    ApiKey,
    Kind,
    not_to_give,
    why_not_permissions,
)
from agent_executor.executor.api_keys.exchange import KeyExchange
from agent_executor.executor.api_keys.secret import digest_of, hint_of, new_secret
from agent_executor.executor.api_keys.store import ApiKeyQuery, ApiKeyStore
from agent_executor.executor.identifiers import new_id
from agent_executor.serving.security import SecurityContext

READ: Final = "api_key:read"
WRITE: Final = "api_key:write"
ADMIN: Final = "api_key:admin"

DEFAULT_TTL_SECONDS: Final = 7_776_000
DEFAULT_SESSION_SECONDS: Final = 43_200.0
# How long keys that have ended are shown, for people to look back.
ENDED_KEPT_MS: Final = 90 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """What a new key is to be.

    Attributes:
        name: What it is for.
        permissions: What it may do; none for all that the caller may.
        ttl_seconds: How long it is valid; 0 for the default.
        user_id: The user that it acts for; empty for the caller.
    """

    name: str
    permissions: tuple[str, ...] = ()
    ttl_seconds: int = 0
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made, and its secret, which is nowhere else."""

    key: ApiKey
    secret: SecretStr


class ApiKeys:
    """The keys and sessions of all organizations.

    Args:
        store: Where they are kept.
        exchange: What is told of a key that is revoked.
        now_ms: The time in milliseconds since 1970-01-01 UTC.
        session_seconds: How long a browser's session lasts.
    """

    def __init__(
        self,
        store: ApiKeyStore,
        exchange: KeyExchange,
        now_ms: Callable[[], int],
        session_seconds: float = DEFAULT_SESSION_SECONDS,
    ) -> None:
        self._store = store
        self._exchange = exchange
        self._now_ms = now_ms
        self._session_ms = round(session_seconds * 1000)

    async def create(self, request: KeyRequest, security: SecurityContext) -> NewKey:
        """Makes a key.

        Without a time of its own it ends with the caller's credential, at the latest.

        Raises:
            InvalidArgumentError: The user or the permissions cannot be.
            LimitExceededError: The user has enough keys.
            PermissionDeniedError: It would do what the caller may not, or outlive it.
            UnauthenticatedError: The caller's own key is not valid any more.
        """
        security.require(WRITE)
        user_id = request.user_id or security.user_id
        _check_texts(request.name, user_id)
        if user_id != security.user_id:
            security.require(ADMIN)
        permissions = request.permissions or tuple(security.permissions)
        if denied := not_to_give(security, permissions):
            raise PermissionDeniedError(
                f'The caller cannot give a key the permission "{denied[0]}", which it lacks.',
                metadata={"permission": denied[0]},
            )
        now_ms = self._now_ms()
        expires_at_ms = now_ms + (request.ttl_seconds or DEFAULT_TTL_SECONDS) * 1000
        own_end_ms = await self._end_of(security, now_ms)
        if expires_at_ms > own_end_ms and not security.allows(ADMIN):
            if request.ttl_seconds:
                raise PermissionDeniedError(
                    "The key would outlive the caller's own credential, for which the caller lacks "
                    f'the permission "{ADMIN}".',
                    metadata={"permission": ADMIN},
                )
            expires_at_ms = own_end_ms
        return await self._make(KEY, request.name, user_id, permissions, expires_at_ms, security)

    async def list_keys(
        self, security: SecurityContext, limit: int, *, before: str, user_id: str, state: str
    ) -> list[ApiKey]:
        """Returns keys that the caller may see, the newest first; see ``ApiKeyQuery``.

        Raises:
            PermissionDeniedError: The caller may see none.
        """
        security.require(READ)
        if not security.allows(ADMIN):
            if user_id not in {"", security.user_id}:
                return []
            user_id = security.user_id
        return await self._store.list_keys(
            ApiKeyQuery(
                organization_id=security.organization_id,
                limit=limit,
                now_ms=self._now_ms(),
                before=before,
                user_id=user_id,
                state=state,
            )
        )

    async def get(self, key_id: str, security: SecurityContext) -> ApiKey:
        """Returns a key.

        Raises:
            ApiKeyNotFoundError: There is none that the caller may see.
            PermissionDeniedError: The caller may see none.
        """
        security.require(READ)
        return await self._visible(key_id, security)

    async def revoke(self, key_id: str, security: SecurityContext) -> ApiKey:
        """Ends a key for good.

        Raises:
            ApiKeyNotFoundError: There is none that the caller may revoke.
            PermissionDeniedError: The caller may revoke none.
        """
        security.require(WRITE)
        await self._visible(key_id, security)
        return await self._revoke(key_id, security)

    async def begin_session(self, security: SecurityContext) -> NewKey:
        """Makes a session that may do what the caller may, as long as the caller at the most.

        Raises:
            InvalidArgumentError: The caller holds more permissions than a session can.
            LimitExceededError: The user has enough keys and sessions.
            UnauthenticatedError: The caller's own key is not valid any more.
        """
        now_ms = self._now_ms()
        expires_at_ms = min(now_ms + self._session_ms, await self._end_of(security, now_ms))
        permissions = tuple(security.permissions)
        user_id = security.user_id
        _check_texts("", user_id)
        return await self._make(SESSION, "browser", user_id, permissions, expires_at_ms, security)

    async def end_session(self, security: SecurityContext) -> None:
        """Ends the session that the caller shows; nothing happens if it shows another credential."""
        if not security.api_key_id:
            return
        shown = await self._store.get(security.organization_id, security.api_key_id)
        if shown is not None and shown.kind == SESSION:
            await self._revoke(shown.key_id, security)

    def now_ms(self) -> int:
        """Returns the time by which keys are active or expired."""
        return self._now_ms()

    async def _visible(self, key_id: str, security: SecurityContext) -> ApiKey:
        key = await self._store.get(security.organization_id, key_id)
        if key is None or not (key.user_id == security.user_id or security.allows(ADMIN)):
            raise _not_found(key_id)
        return key

    async def _revoke(self, key_id: str, security: SecurityContext) -> ApiKey:
        revoked = await self._store.revoke(security.organization_id, key_id, self._now_ms())
        if revoked is None:
            raise _not_found(key_id)
        self._exchange.forget(revoked)
        return revoked

    async def _end_of(self, security: SecurityContext, now_ms: int) -> int:
        """Returns when the caller's own credential ends: the key's end, not its short token's.

        A key that was revoked a moment ago makes no others in the seconds that its token lives on.
        """
        if not security.api_key_id:
            expires_at = security.expires_at
            return 2**53 if math.isinf(expires_at) else int(expires_at * 1000)
        own = await self._store.get(security.organization_id, security.api_key_id)
        if own is None or own.state(now_ms) != "active":
            raise UnauthenticatedError("The caller's own API key is revoked or has expired.")
        return own.expires_at_ms

    async def _make(
        self,
        kind: Kind,
        name: str,
        user_id: str,
        permissions: tuple[str, ...],
        expires_at_ms: int,
        security: SecurityContext,
    ) -> NewKey:
        if why_not := why_not_permissions(set(permissions)):
            raise InvalidArgumentError(why_not, field_violations=(("permissions", why_not),))
        now_ms, secret = self._now_ms(), new_secret(kind)
        key = ApiKey(
            key_id=new_id(),
            organization_id=security.organization_id,
            user_id=user_id,
            name=name,
            digest=digest_of(secret),
            hint=hint_of(secret),
            permissions=tuple(sorted(set(permissions))),
            kind=kind,
            created_by=security.user_id,
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
        )
        if not await self._store.create(key, ACTIVE_KEYS_MAX, now_ms - ENDED_KEPT_MS):
            raise LimitExceededError(
                f"The user has {ACTIVE_KEYS_MAX} active keys and sessions, which is the most there "
                "can be: revoke some.",
                metadata={"limit": str(ACTIVE_KEYS_MAX)},
            )
        return NewKey(key, secret)


def _check_texts(name: str, user_id: str) -> None:
    for field, text in (("name", name), ("user_id", user_id)):
        if "\0" in text:
            message = f"{field} holds a NUL character."
            raise InvalidArgumentError(message, field_violations=((field, message),))
    if not user_id.strip():
        message = "user_id is blank."
        raise InvalidArgumentError(message, field_violations=(("user_id", message),))


def _not_found(key_id: str) -> ApiKeyNotFoundError:
    return ApiKeyNotFoundError(f'There is no API key "{key_id}".')

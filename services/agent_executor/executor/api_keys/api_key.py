"""A long-lived credential that can be revoked, and what it may be given."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal, TypeAlias

import msgspec

from agent_executor.serving.security import EVERY_PERMISSION, SecurityContext

KEY: Final = "key"
SESSION: Final = "session"

Kind: TypeAlias = Literal["key", "session"]
State: TypeAlias = Literal["active", "expired", "revoked"]

ACTIVE_KEYS_MAX: Final = 1_000
"""How many keys and sessions of one user may be active at a time."""

PERMISSIONS_MAX: Final = 256
PERMISSION_BYTES_MAX: Final = 128
# They go into a token, which may have 16 KiB, beside a name and a user of 128 bytes each.
PERMISSIONS_BYTES_MAX: Final = 8_192


class ApiKey(msgspec.Struct, frozen=True):
    """What is kept of a key or a session; its secret is not.

    Attributes:
        key_id: Unique; not a secret. Ids sort by the time they were made.
        organization_id: Whose data it opens.
        user_id: The user that it acts for.
        name: What it is for, in a person's words.
        digest: The SHA-256 of the secret.
        hint: How the secret begins, for people to tell keys apart.
        permissions: What it may do, sorted.
        kind: ``key``, or ``session`` for that of a browser.
        created_by: The user who made it.
        created_at_ms: When, in milliseconds since 1970-01-01 UTC, as all times here.
        expires_at_ms: When it ends by itself.
        last_used_at_ms: When it was last used, to five minutes; 0 if never.
        revoked_at_ms: When it was revoked; 0 if it was not.
    """

    key_id: str
    organization_id: str
    user_id: str
    name: str
    digest: bytes
    hint: str
    permissions: tuple[str, ...]
    kind: str
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    last_used_at_ms: int = 0
    revoked_at_ms: int = 0

    def state(self, now_ms: int) -> State:
        """Returns how it stands: one that was revoked stays so when its time is over."""
        if self.revoked_at_ms:
            return "revoked"
        return "active" if now_ms < self.expires_at_ms else "expired"


def not_to_give(security: SecurityContext, permissions: Iterable[str]) -> list[str]:
    """Returns, sorted, those of the permissions that a caller cannot give away.

    A caller can give what it holds, itself or by a wildcard, and a wildcard only if it holds all
    that the wildcard stands for.
    """
    return sorted(each for each in set(permissions) if not _holds(security, each))


def _holds(security: SecurityContext, permission: str) -> bool:
    # As a permission of its own kind, "*" would be held by whoever holds "*:*", which is nothing.
    if permission == EVERY_PERMISSION:
        return EVERY_PERMISSION in security.permissions
    return security.allows(permission)


def why_not_permissions(permissions: Collection[str]) -> str:
    """Returns what is wrong with a key's permissions, in one sentence; empty if nothing is."""
    if len(permissions) > PERMISSIONS_MAX:
        return f"A key holds at most {PERMISSIONS_MAX} permissions."
    sizes = [len(permission.encode()) for permission in permissions]
    if any(size > PERMISSION_BYTES_MAX for size in sizes):
        return f"A permission has at most {PERMISSION_BYTES_MAX} bytes."
    if sum(sizes) > PERMISSIONS_BYTES_MAX:
        return f"A key's permissions have at most {PERMISSIONS_BYTES_MAX} bytes together."
    if any(not permission.strip() for permission in permissions):
        return "A permission is not blank."
    return ""

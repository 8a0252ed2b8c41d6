"""On whose behalf a call is made, and what it may do."""

from __future__ import annotations

import math
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from agent_executor.errors import PermissionDeniedError

EVERY_PERMISSION: Final = "*"


@dataclass(frozen=True, slots=True)
class SecurityContext:
    """A caller, as a verified token or grant names it; never made from a request's body.

    Attributes:
        organization_id: The organization whose data may be touched. Never empty.
        user_id: The person or program acting. Never empty.
        permissions: What may be done, as ``kind:name``. ``kind:*`` holds every permission of the
            kind, ``*`` holds everything.
        api_key_id: The API key or session that was shown; empty for a token of its own. Like
            ``expires_at``, which changes every few seconds, it is no part of who the caller is.
        expires_at: When the token ends, in seconds since 1970-01-01 UTC; infinite for a caller that
            showed none. Behind an API key it is the short token's end, not the key's.
    """

    organization_id: str
    user_id: str
    permissions: frozenset[str]
    api_key_id: str = field(default="", compare=False)
    expires_at: float = field(default=math.inf, compare=False)

    def allows(self, permission: str) -> bool:
        """Tells whether the caller holds the permission, itself or by a wildcard."""
        held = self.permissions
        if permission in held or EVERY_PERMISSION in held:
            return True
        kind, _, _ = permission.partition(":")
        return f"{kind}:*" in held

    def require(self, permission: str) -> None:
        """Passes if the caller holds the permission.

        Raises:
            PermissionDeniedError: It does not; ``permission`` in the metadata names what it lacks.
        """
        if not self.allows(permission):
            raise PermissionDeniedError(
                f'The caller lacks the permission "{permission}".',
                metadata={"permission": permission},
            )


current_security_context: Final[ContextVar[SecurityContext]] = ContextVar("security_context")
"""The caller of the call that the running task serves; set by the pipeline, without a default."""

"""Grants for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.serving.grants import ServiceKey

AUDIENCE = "tool-runner"
NOW = 1_800_000_000.0
ARGUMENTS_JSON = '{"operation": "add", "a": 15, "b": 27}'


def service_key(fill: bytes = b"k") -> ServiceKey:
    """Returns a key; another byte makes another key."""
    return ServiceKey(fill * 32)


def grant(
    *,
    audience: str = AUDIENCE,
    organization_id: str = "organization-1",
    user_id: str = "user-1",
    permissions: Sequence[str] = ("tool:*",),
    expires_at: float = NOW + 30,
) -> grant_pb2.Grant:
    """Returns a grant that holds, but for what the arguments change."""
    return grant_pb2.Grant(
        audience=audience,
        security_context=grant_pb2.SecurityContext(
            organization_id=organization_id, user_id=user_id, permissions=permissions
        ),
        expires_at_unix_ms=int(expires_at * 1000),
    )


def bound_grant(tool_call_id: str = "toolu_1", tool_name: str = "calculator") -> grant_pb2.Grant:
    """Returns a grant for one tool call with ``ARGUMENTS_JSON``."""
    bound = grant()
    bound.tool_call_id = tool_call_id
    bound.tool_name = tool_name
    bound.arguments_digest = hashlib.sha256(ARGUMENTS_JSON.encode()).digest()
    return bound

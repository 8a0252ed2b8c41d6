from __future__ import annotations

import pytest

from agent_executor.errors import PermissionDeniedError
from agent_executor.serving.security import SecurityContext


def caller(*permissions: str) -> SecurityContext:
    return SecurityContext("organization-1", "user-1", frozenset(permissions))


@pytest.mark.parametrize(
    ("held", "asked", "is_allowed"),
    [
        ("tool:calculator", "tool:calculator", True),
        ("tool:calculator", "tool:http_request", False),
        ("tool:*", "tool:http_request", True),
        ("tool:*", "tool:mcp:search", True),
        ("tool:*", "run:execute", False),
        ("tool:*", "tools:read", False),
        ("*", "ledger:admin", True),
        ("ledger:read", "ledger:admin", False),
        ("*:read", "ledger:read", False),
        ("tool:", "tool:calculator", False),
    ],
)
def test_a_permission_or_a_wildcard_allows(held: str, asked: str, *, is_allowed: bool) -> None:
    assert caller(held).allows(asked) is is_allowed


def test_a_caller_without_permissions_may_do_nothing() -> None:
    assert not caller().allows("agent:read")


def test_what_is_required_and_not_held_is_refused_by_name() -> None:
    with pytest.raises(PermissionDeniedError, match='"agent:write"') as refusal:
        caller("agent:read").require("agent:write")
    assert refusal.value.metadata == {"permission": "agent:write"}


def test_what_is_required_and_held_passes() -> None:
    caller("agent:*").require("agent:write")

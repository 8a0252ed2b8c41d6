from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.tool_runner.policy.security_mapping import parse_security_context

MAPPING: dict[str, Any] = {
    "user_id": "user-uuid",
    "organization_id": "org-uuid",
    "permissions": ["tool:calculator", "tool:http_request"],
    "rate_limit": {"calculator": 100, "http_request": 50},
    "sandbox": True,
}


def test_as_the_documentation_shows_it() -> None:
    security, rate_limits = parse_security_context(MAPPING)
    assert (security.organization_id, security.user_id) == ("org-uuid", "user-uuid")
    assert security.permissions == {"tool:calculator", "tool:http_request"}
    assert rate_limits == {"calculator": 100, "http_request": 50}


def test_what_is_left_out_is_none() -> None:
    security, rate_limits = parse_security_context({"user_id": "ada", "organization_id": "acme"})
    assert security.permissions == frozenset()
    assert rate_limits == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": 5}, "user_id"),
        ({"user_id": "x" * 129}, "user_id"),
        ({"organization_id": "\ud800"}, "organization_id"),
        ({"permissions": "tool:calculator"}, "permissions"),
        ({"permissions": [1]}, "permissions"),
        ({"permissions": None}, "permissions"),
        ({"rate_limit": 100}, "rate_limit"),
        ({"rate_limit": {"calculator": -1}}, "rate_limit.calculator"),
        ({"rate_limit": {"calculator": True}}, "rate_limit.calculator"),
        ({"rate_limit": {"calculator": 1.5}}, "rate_limit.calculator"),
        ({"rate_limit": {5: 1}}, "rate_limit"),
        ({"sandbox": False}, "cannot be switched off"),
        ({"sandbox": 1}, "cannot be switched off"),
        ({"rate_limits": {}}, 'no key "rate_limits"'),
        ({5: 5}, 'no key "5"'),
    ],
)
def test_what_is_wrong_is_named(changes: dict[Any, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        parse_security_context({**MAPPING, **changes})


@pytest.mark.parametrize("missing", ["user_id", "organization_id"])
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(InvalidArgumentError, match=missing):
        parse_security_context({key: MAPPING[key] for key in MAPPING if key != missing})


def test_what_is_no_mapping_is_refused() -> None:
    for value in (None, "ada", [("user_id", "ada")]):
        with pytest.raises(InvalidArgumentError, match="mapping"):
            parse_security_context(value)  # type: ignore[arg-type]  # that is what is tested

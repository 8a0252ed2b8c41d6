from __future__ import annotations

from typing import Any

import pytest

from agent_executor.tool_runner.custom.custom_tool import CustomTool

FIELDS: dict[str, Any] = {
    "organization_id": "acme",
    "name": "greeter",
    "class_name": "Greeter",
    "source": "x = 1",
    "description": "Greets.",
    "input_schema_json": '{"type":"object","properties":{}}',
    "effect": "unsafe",
    "timeout_seconds": 0.0,
    "cache_ttl_seconds": 0,
    "allowed_origins": ("https://a.example", "https://b.example"),
    "findings": (),
    "created_at_ms": 1,
}


def version(**changes: Any) -> str:
    return CustomTool.of(**FIELDS | changes).version


def test_a_version_is_a_digest_that_stays() -> None:
    # A change of it would make every tool that is registered look new.
    assert version() == "2ce071c8bc76216088cb72cfe220428b6315d6f70fd70a73f7eafc213c294b74"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "greeter2"},
        {"class_name": "Other"},
        {"source": "x = 2"},
        {"source": "x = 1 "},
        {"description": "Greets"},
        {"input_schema_json": '{"type":"object","properties":{"a":{}}}'},
        {"effect": "read_only"},
        {"timeout_seconds": 1.0},
        {"cache_ttl_seconds": 1},
        {"allowed_origins": ("https://a.example",)},
        {"requires_approval": True},
    ],
    ids=str,
)
def test_other_content_is_another_version(changes: dict[str, Any]) -> None:
    assert version(**changes) != version()


@pytest.mark.parametrize(
    "changes",
    [
        {"organization_id": "other"},
        {"requires_approval": False},
        {"findings": ("line 1: odd",)},
        {"created_at_ms": 2},
        {"timeout_seconds": 0},
        {"input_schema_json": '{"properties": {}, "type": "object"}'},
        {"allowed_origins": ("https://b.example", "https://a.example")},
    ],
    ids=str,
)
def test_what_is_no_content_does_not_matter(changes: dict[str, Any]) -> None:
    assert version(**changes) == version()

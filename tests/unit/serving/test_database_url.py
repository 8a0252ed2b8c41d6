from __future__ import annotations

import pytest

from agent_executor.serving.database_url import database_url_of


@pytest.mark.parametrize(
    ("shared", "own_schema"),
    [
        ("postgresql://u:p%3F@h:1/d", "postgresql://u:p%3F@h:1/d?search_path=tool_runner"),
        (
            "postgresql://a:1,b:2/d?sslmode=require&search_path=x",
            "postgresql://a:1,b:2/d?sslmode=require&search_path=tool_runner",
        ),
        (
            "postgresql:///d?host=/run/postgresql",
            "postgresql:///d?host=%2Frun%2Fpostgresql&search_path=tool_runner",
        ),
    ],
)
def test_a_shared_database_has_a_schema_for_each_service(shared: str, own_schema: str) -> None:
    assert database_url_of("tool-runner", "", shared) == own_schema


def test_a_service_s_own_database_wins() -> None:
    own = "postgresql://h/own"
    assert database_url_of("ledger", own, "postgresql://h/shared") == own
    assert database_url_of("ledger", "", "") == ""

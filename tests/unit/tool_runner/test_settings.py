from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from agent_executor.errors import RateLimitExceededError
from agent_executor.serving.startup import StartupError
from agent_executor.tool_runner.bootstrap import sandbox_of
from agent_executor.tool_runner.settings import ToolRunnerSettings
from tests.unit.tool_runner.tools_of_tests import ADA, EVE


def test_variables_have_the_services_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_RUNNER_DATA_DIR", "data")
    monkeypatch.setenv("TOOL_RUNNER_CALL_TIMEOUT_SECONDS", "5")
    monkeypatch.setenv("TOOL_RUNNER_MAX_ARGUMENTS_BYTES", "1000")
    settings = ToolRunnerSettings()
    assert settings.database_file == Path("data/tool_runner/tool_runner.sqlite3")
    assert (settings.call_timeout_seconds, settings.max_arguments_bytes) == (5, 1_000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("call_timeout_seconds", 0),
        ("max_concurrent_calls", 0),
        ("max_blocking_calls", 0),
        ("max_arguments_bytes", 1_048_577),
        ("max_result_bytes", 1_048_577),
        ("user_calls_per_minute", -1),
        ("tool_calls_per_minute", 2**31),
    ],
)
def test_what_is_out_of_range_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValidationError):
        ToolRunnerSettings(**{name: value})  # type: ignore[arg-type]  # one name of several


def test_the_url_of_a_database_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://ada:s3cret@db.internal/tools"
    monkeypatch.setenv("TOOL_RUNNER_DATABASE_URL", url)
    settings = ToolRunnerSettings.load()
    assert settings.database_url.get_secret_value() == url
    assert "s3cret" not in repr(settings)
    monkeypatch.setenv("TOOL_RUNNER_DATABASE_URL", "mysql://ada:s3cret@db.internal/tools")
    with pytest.raises(StartupError, match="TOOL_RUNNER_DATABASE_URL") as refused:
        ToolRunnerSettings.load()
    assert "s3cret" not in str(refused.value)


def test_by_default_calls_are_not_limited() -> None:
    sandbox = sandbox_of(ToolRunnerSettings())
    for _ in range(10_000):
        sandbox.count_call("calculator", ADA)


def test_limits_are_for_users_organizations_and_tools() -> None:
    def calls_until_refused(**settings: int) -> list[int]:
        sandbox = sandbox_of(ToolRunnerSettings(**settings))  # type: ignore[arg-type]  # one name of several
        counts = []
        for security in (ADA, EVE):
            for number in range(10):
                try:
                    sandbox.count_call("calculator", security)
                except RateLimitExceededError:
                    counts.append(number)
                    break
        return counts

    assert calls_until_refused(user_calls_per_minute=3) == [3, 3]
    assert calls_until_refused(organization_calls_per_minute=4) == [4, 4]
    assert calls_until_refused(tool_calls_per_minute=5) == [5, 0]


@pytest.mark.parametrize("url", ["redis://:s3cret/x@host", "http://s3cret", "s3cret"])
def test_what_is_no_url_of_redis_is_refused_without_showing_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(StartupError, match="REDIS_URL") as refused:
        ToolRunnerSettings.load()
    assert "s3cret" not in str(refused.value)


def test_the_url_of_redis_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://user:s3cret@host:6380/1")
    settings = ToolRunnerSettings.load()
    assert "s3cret" not in repr(settings)
    assert settings.redis_url.get_secret_value().endswith("host:6380/1")

from __future__ import annotations

import os
import socket
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from agent_executor.cli.environment import inherited_environment
from agent_executor.cli.main import app

runner = CliRunner()


def test_token_prints_nothing_but_a_token(tmp_path: Path) -> None:
    result = runner.invoke(app, ["token", "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 0
    claims = jwt.decode(result.stdout.removesuffix("\n"), options={"verify_signature": False})
    assert claims["org"] == "default"
    assert claims["permissions"] == ["*"]
    assert result.stderr == ""


def test_token_takes_permissions(tmp_path: Path) -> None:
    options = ["--organization", "acme", "--user", "ada", "--ttl", "60"]
    permissions = ["--permission", "run:read", "--permission", "tool:calculator"]
    result = runner.invoke(app, ["token", "--data-dir", str(tmp_path), *options, *permissions])
    claims = jwt.decode(result.stdout.strip(), options={"verify_signature": False})
    assert (claims["org"], claims["sub"]) == ("acme", "ada")
    assert claims["permissions"] == ["run:read", "tool:calculator"]
    assert claims["exp"] - claims["iat"] == 60


def test_a_token_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["token", "--data-dir", str(tmp_path), "--ttl", "0"])
    assert result.exit_code == 2


@pytest.mark.parametrize("command", ["up", "token", "demo", "serve"])
def test_every_command_shows_an_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"agent-executor {command}" in result.stdout


def test_a_taken_port_is_named_with_its_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = runner.invoke(app, ["up", "--http-port", str(port)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"Port {port} is taken; choose another with --http-port." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAY_REQUEST_MAX_BYTES", "many")
    result = runner.invoke(app, ["up"])
    assert result.exit_code == 1
    assert "request_max_bytes" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("service", "module"),
    [
        ("executor", "agent_executor.executor"),
        ("tool-runner", "agent_executor.tool_runner"),
        ("ledger", "agent_executor.ledger"),
    ],
)
def test_serve_becomes_the_service(
    service: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, arguments: became.append(arguments))
    assert runner.invoke(app, ["serve", service]).exit_code == 0
    assert [arguments[1:] for arguments in became] == [["-m", module]]


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("EXECUTOR_LOG_LEVEL=debug\nLEDGER_LOG_FORMAT=json\nEMPTY\n")
    monkeypatch.setenv("EXECUTOR_LOG_LEVEL", "error")
    environment = inherited_environment(file, for_people=True)
    assert environment["EXECUTOR_LOG_LEVEL"] == "error"
    assert environment["LEDGER_LOG_FORMAT"] == "json"
    assert environment["TOOL_RUNNER_LOG_FORMAT"] == "console"
    assert "EMPTY" not in environment
    assert "TOOL_RUNNER_LOG_FORMAT" not in inherited_environment(file)

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_executor.errors import FailedPreconditionError
from agent_executor.serving.startup import StartupError
from agent_executor.tool_runner.builtin.slack_workspace import SlackWorkspace
from agent_executor.tool_runner.builtin.smtp_server import SmtpServer
from agent_executor.tool_runner.messaging_settings import MessagingSettings
from agent_executor.tool_runner.settings import ToolRunnerSettings


def test_the_variables_describe_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "EMAIL_SMTP_HOST": "mail.example",
        "EMAIL_SMTP_PORT": "465",
        "EMAIL_SMTP_TLS": "implicit",
        "EMAIL_SMTP_CA_FILE": "ca.pem",
        "EMAIL_SMTP_USERNAME": "agent",
        "EMAIL_CREDENTIAL_NAME": "mail",
        "EMAIL_SMTP_PASSWORD_FILE": "password",
        "EMAIL_SENDER": "agent@Example.com",
        "EMAIL_TIMEOUT_SECONDS": "5",
        "SLACK_BASE_URL": "https://slack.example/api/",
        "SLACK_CREDENTIAL_NAME": "team",
        "SLACK_TOKEN_FILE": "token",
        "SLACK_GROUP_MENTIONS": "true",
        "SLACK_TIMEOUT_SECONDS": "6",
    }.items():
        monkeypatch.setenv(f"TOOL_RUNNER_{name}", value)
    for settings in (ToolRunnerSettings(), MessagingSettings.of_environment("email")):
        assert settings.smtp_server == SmtpServer(
            host="mail.example",
            port=465,
            tls="implicit",
            ca_file=Path("ca.pem"),
            username="agent",
            credential_name="mail",
            password_file=Path("password"),
            sender="agent@example.com",
            timeout_seconds=5,
        )
        assert settings.slack_workspace == SlackWorkspace(
            base_url="https://slack.example/api/",
            credential_name="team",
            token_file=Path("token"),
            group_mentions=True,
            timeout_seconds=6,
        )


def test_by_default_there_is_no_mail_server_and_nobody_to_write_to() -> None:
    settings = ToolRunnerSettings()
    assert settings.smtp_server is None
    assert settings.slack_workspace == SlackWorkspace()
    email, slack = settings.email_tool(), settings.slack_tool()
    arguments: dict[str, Any] = {"to": "a@example.com", "subject": "x", "body": "x"}
    assert email.execute(arguments)["code"] == "FAILED_PRECONDITION"
    assert slack.execute({"channel": "#x", "text": "x"})["code"] == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMAIL_SMTP_PORT", "0"),
        ("EMAIL_SMTP_TLS", "maybe"),
        ("EMAIL_SENDER", "secretive"),
        ("EMAIL_SENDER", ""),
        ("EMAIL_TIMEOUT_SECONDS", "0"),
        ("EMAIL_ALLOWED_RECIPIENTS", '["secretive"]'),
        ("EMAIL_ALLOWED_RECIPIENTS", "secretive"),
        ("SLACK_ALLOWED_CHANNELS", '["secretive channel"]'),
        ("SLACK_BASE_URL", "http://secretive.example"),
        ("SCREENING", '{"email": "secretive"}'),
    ],
)
def test_a_wrong_variable_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_HOST", "mail.example")
    monkeypatch.setenv("TOOL_RUNNER_EMAIL_SENDER", "agent@example.com")
    monkeypatch.setenv(f"TOOL_RUNNER_{name}", value)
    if not value:
        monkeypatch.delenv(f"TOOL_RUNNER_{name}")
    with pytest.raises(StartupError, match=f"TOOL_RUNNER_{name}") as raised:
        ToolRunnerSettings.load()
    assert "secretive" not in str(raised.value)
    if name != "SCREENING":
        with pytest.raises(FailedPreconditionError, match=r"are wrong") as failed:
            MessagingSettings.of_environment("email")
        assert "secretive" not in failed.value.message


def test_a_login_without_encryption_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_TLS", "none")
    monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_USERNAME", "agent")
    with pytest.raises(StartupError, match=r"TOOL_RUNNER_EMAIL_SMTP_USERNAME.*needs encryption"):
        ToolRunnerSettings.load()

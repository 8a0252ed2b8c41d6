"""The documentation's examples of tools that reach the outside: e-mail, Slack and HTTP.

Word for word but for the package's name in the imports, the thread in which an example runs beside
its server, and the address of the HTTP server, which stands on this machine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent_executor import (
    AgentExecutor,
    EmailTool,
    HTTPRequestTool,
    LLMModel,
    SlackTool,
    ToolSandbox,
)
from agent_executor.tool_runner.egress_settings import EgressSettings
from tests.integration.tool_runner import mail_servers, slack_server
from tests.integration.tool_runner.mail_servers import MailServer
from tests.integration.tool_runner.slack_server import SlackServer
from tests.web_server import HOST, WebServer, running_web_server

ERROR_FIELDS = {"success", "error", "tool_name", "code", "timestamp"}
MESSAGE_TIMESTAMP = "1712345678.123456"
HTTP_EXAMPLE = """
{
  "method": "GET",
  "url": "https://api.example.com/data",
  "headers": {
    "Authorization": "Bearer token"
  },
  "timeout": 10
}
"""


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is configured, unless a test does it."""
    for name in (
        *("EMAIL_SMTP_HOST", "EMAIL_ALLOWED_RECIPIENTS", "EMAIL_SENDER", "EGRESS_ALLOWED_CIDRS"),
        *("SLACK_ALLOWED_CHANNELS", "SLACK_TOKEN_FILE", "SLACK_BASE_URL"),
    ):
        monkeypatch.delenv(f"TOOL_RUNNER_{name}", raising=False)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with running_web_server() as server:
        yield server


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine may be reached, as an operator admits it."""
    monkeypatch.setenv("TOOL_RUNNER_EGRESS_ALLOWED_CIDRS", '["127.0.0.0/8", "::1/128"]')


def send_email() -> dict[str, Any]:
    email_tool = EmailTool()
    result = email_tool.execute({
        "to": "user@example.com",
        "subject": "Test Email",
        "body": "This is a test email from the agent system."
    })  # fmt: skip
    return result  # noqa: RET504 -- the example's own words


def post_to_slack(thread_ts: str) -> dict[str, Any]:
    slack_tool = SlackTool()
    result = slack_tool.execute({
        "channel": "#general",
        "text": "Hello from the agent system!",
        "thread_ts": thread_ts
    })  # fmt: skip
    return result  # noqa: RET504 -- the example's own words


def get_data(tool: HTTPRequestTool, url: str) -> dict[str, Any]:
    return tool.execute({**json.loads(HTTP_EXAMPLE), "url": url})


def assert_is_failure(result: dict[str, Any], tool_name: str, code: str, words: str) -> None:
    assert result.keys() == ERROR_FIELDS
    assert result["success"] is False
    assert (result["tool_name"], result["code"]) == (tool_name, code), result
    assert words in result["error"]
    assert result["timestamp"].endswith("Z")


async def test_the_e_mail_example(monkeypatch: pytest.MonkeyPatch) -> None:
    async with mail_servers.running(MailServer()) as server:
        monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_HOST", "127.0.0.1")
        monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_PORT", str(server.port))
        monkeypatch.setenv("TOOL_RUNNER_EMAIL_SMTP_TLS", "none")
        monkeypatch.setenv("TOOL_RUNNER_EMAIL_SENDER", "agent@example.com")
        monkeypatch.setenv("TOOL_RUNNER_EMAIL_ALLOWED_RECIPIENTS", '["@example.com"]')
        result = await asyncio.to_thread(send_email)
        assert result["success"] is True, result
        assert result["result"]["accepted"] == ["user@example.com"]
        (received,) = server.received
        assert (received.sender, received.recipients) == ("agent@example.com", ["user@example.com"])
        assert received.message["Subject"] == "Test Email"
        assert received.message["To"] == "user@example.com"
        text = received.message.get_content()
        assert text.strip() == "This is a test email from the agent system."


def test_the_e_mail_example_without_a_mail_server() -> None:
    result = send_email()
    assert_is_failure(result, "email", "FAILED_PRECONDITION", "TOOL_RUNNER_EMAIL_SMTP_HOST")


async def test_the_slack_example(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    token_file = tmp_path_factory.mktemp("slack") / "token"
    token_file.write_text("xoxb-1-2-abc\n")
    async with slack_server.running(SlackServer()) as server:
        monkeypatch.setenv("TOOL_RUNNER_SLACK_BASE_URL", server.url)
        monkeypatch.setenv("TOOL_RUNNER_SLACK_TOKEN_FILE", str(token_file))
        monkeypatch.setenv("TOOL_RUNNER_SLACK_ALLOWED_CHANNELS", '["#general"]')
        result = await asyncio.to_thread(post_to_slack, MESSAGE_TIMESTAMP)
        # The example's own "timestamp" stands for one and is none.
        placeholder = await asyncio.to_thread(post_to_slack, "timestamp")
    assert result["success"] is True, result
    assert result["result"] == {"channel": "C0123456789", "ts": "1.2"}
    (request,) = server.requests
    assert request.path == "/api/chat.postMessage"
    assert request.headers["authorization"] == "Bearer xoxb-1-2-abc"
    assert request.body["text"] == "Hello from the agent system!"
    assert request.body["thread_ts"] == MESSAGE_TIMESTAMP
    assert_is_failure(placeholder, "slack", "INVALID_ARGUMENT", "thread_ts")


def test_the_slack_example_without_a_token() -> None:
    result = post_to_slack(MESSAGE_TIMESTAMP)
    words = "TOOL_RUNNER_SLACK_ALLOWED_CHANNELS"
    assert_is_failure(result, "slack", "PERMISSION_DENIED", words)


def test_the_http_example_against_a_server(web: WebServer, admitted: None) -> None:
    sandbox = ToolSandbox()
    sandbox.add_allowed_domain(HOST)
    tool = EgressSettings.of_environment("http_request").http_request_tool(sandbox)
    result = get_data(tool, f"{web.origin}/data")
    assert result["success"] is True, result
    assert result["result"]["status_code"] == 200
    (request,) = web.requests
    assert (request.method, request.path) == ("GET", "/data")
    assert request.headers["authorization"] == "Bearer token"


def test_the_http_example_without_an_allowed_domain() -> None:
    result = HTTPRequestTool().execute(json.loads(HTTP_EXAMPLE))
    assert_is_failure(result, "http_request", "PERMISSION_DENIED", "add_allowed_domain")


def test_the_allowed_domains_and_rate_limits_of_an_agent_s_requests(
    web: WebServer, admitted: None
) -> None:
    sandbox = ToolSandbox()
    sandbox.set_rate_limit("http_request", max_calls=2, window_seconds=60)
    sandbox.add_allowed_domain("jsonplaceholder.typicode.com")
    agent_config = {"name": "Reader", "tools": {"http_request": True}}
    security_context = {
        "user_id": "user-uuid",
        "organization_id": "org-uuid",
        "permissions": ["tool:calculator", "tool:http_request"],
        "rate_limit": {"calculator": 100, "http_request": 50},
        "sandbox": True,
    }
    executor = AgentExecutor(
        agent_config,
        LLMModel.CLAUDE_SONNET_4,
        sandbox=sandbox,
        security_context=security_context,
    )
    codes = []
    for number in range(3):
        (result,) = executor.execute(f"GET {web.origin}/{number}")["tool_results"]
        codes.append(result["code"])
        sandbox.add_allowed_domain(HOST)
    executor.close()
    assert codes == ["PERMISSION_DENIED", "", "RATE_LIMIT_EXCEEDED"]
    assert [request.path for request in web.requests] == ["/1"]

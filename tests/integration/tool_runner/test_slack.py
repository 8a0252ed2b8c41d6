"""The Slack tool against a local server that speaks Slack's API; what it received is what counts."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from agent_executor import SlackTool
from agent_executor.errors import (
    AgentExecutorError,
    FailedPreconditionError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitExceededError,
    ToolExecutionError,
)
from agent_executor.tool_runner.builtin.slack_workspace import SlackWorkspace
from agent_executor.tool_runner.calls.context import CallContext, current_call
from agent_executor.tool_runner.credentials.credential import Credential
from agent_executor.tool_runner.credentials.secret import Secret
from tests.integration.tool_runner.slack_server import SlackServer, running
from tests.unit.tool_runner.vault import Vault

TOKEN = "xoxb-12345678-abcdefgh"
ARGUMENTS = {"channel": "#general", "text": "Hello from the agent system!"}


def tool(server: SlackServer, *, token: str = TOKEN, **workspace: Any) -> SlackTool:
    return SlackTool(
        SlackWorkspace(base_url=server.url, **workspace),
        token=Secret(token) if token else None,
        allowed_channels=("#general", "C0123456789"),
    )


async def post(slack: SlackTool, **arguments: Any) -> dict[str, Any]:
    result: dict[str, Any] = await slack._execute_impl({**ARGUMENTS, **arguments})
    json.dumps(result)
    return result


async def test_a_message_is_posted_with_nothing_but_what_was_asked_for() -> None:
    async with running(SlackServer()) as server:
        result = await post(tool(server), thread_ts="1712345678.123456", text="Grüße & <ok> 👋")
    assert result == {"channel": "C0123456789", "ts": "1.2"}
    [request] = server.requests
    assert request.path == "/api/chat.postMessage"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.body == {
        "channel": "#general",
        "text": "Grüße & <ok> 👋",
        "thread_ts": "1712345678.123456",
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }
    assert TOKEN not in json.dumps(request.body)


async def test_whole_channels_and_groups_are_mentioned_only_if_that_is_allowed() -> None:
    text = "<!channel> <!here|here> <!everyone> <!subteam^S1|@x> <@U1> <!date^1^{date}|then>"
    async with running(SlackServer()) as server:
        await post(tool(server), text=text)
        await post(tool(server, group_mentions=True), text=text)
    harmless, loud = (request.body["text"] for request in server.requests)
    assert harmless == (
        "&lt;!channel> &lt;!here|here> &lt;!everyone> &lt;!subteam^S1|@x> <@U1> "
        "<!date^1^{date}|then>"
    )
    assert loud == text


async def test_the_token_comes_from_the_vault_of_the_organization() -> None:
    vault = Vault(Credential("team", Secret(TOKEN)))
    async with running(SlackServer()) as server:
        slack = tool(server, token="", credential_name="team")
        token = current_call.set(CallContext("acme", "slack", "1", credentials=vault))
        await post(slack)
        current_call.reset(token)
        token = current_call.set(CallContext("other", "slack", "1", credentials=vault))
        with pytest.raises(FailedPreconditionError, match="needs a token"):
            await post(slack)
        current_call.reset(token)
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    ("credential", "error"),
    [
        (Credential("slack", Secret(TOKEN), tools=frozenset({"email"})), PermissionDeniedError),
        (
            Credential("slack", Secret(TOKEN), allowed_origins=frozenset({"https://slack.com"})),
            PermissionDeniedError,
        ),
        (Credential("slack", Secret("xoxb bad\ntoken")), FailedPreconditionError),
    ],
)
async def test_a_credential_for_something_else_is_not_used(
    credential: Credential, error: type[AgentExecutorError]
) -> None:
    context = CallContext("acme", "slack", "1", credentials=Vault(credential))
    token = current_call.set(context)
    async with running(SlackServer()) as server:
        with pytest.raises(error):
            await post(tool(server, token=""))
    current_call.reset(token)
    assert server.connections == 0


async def test_a_file_with_the_token_is_read_for_each_message(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with running(SlackServer()) as server:
        slack = tool(server, token="", token_file=file)
        with pytest.raises(FailedPreconditionError, match="cannot be read"):
            await post(slack)
        for value in ("xoxb-first-token", "xoxb-second-token"):
            file.write_text(f"{value}\n")
            await post(slack)
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer xoxb-first-token",
        "Bearer xoxb-second-token",
    ]


@pytest.mark.parametrize(
    "channel", ["#random", "general-2", "C9999999999", "U0123456789", "#genera1"]
)
async def test_other_channels_are_refused(channel: str) -> None:
    async with running(SlackServer()) as server:
        with pytest.raises(PermissionDeniedError, match="SLACK_ALLOWED_CHANNELS"):
            await post(tool(server), channel=channel)
    assert server.connections == 0


@pytest.mark.parametrize("channel", ["general", "#General", "C0123456789"])
async def test_a_channel_has_several_spellings(channel: str) -> None:
    async with running(SlackServer()) as server:
        await post(tool(server), channel=channel)
    assert server.requests[0].body["channel"] in {"#general", "C0123456789"}


async def test_what_slack_refuses_is_a_failure_with_its_code() -> None:
    async with running(SlackServer(answer={"ok": False, "error": "channel_not_found"})) as server:
        with pytest.raises(ToolExecutionError, match=r"channel_not_found\. Nothing") as raised:
            await post(tool(server))
    assert not isinstance(raised.value, OutcomeUnknownError)
    assert raised.value.metadata == {"slackError": "channel_not_found"}


async def test_no_other_words_of_the_answer_are_passed_on() -> None:
    answer = {"ok": False, "error": f"Bearer {TOKEN}", "detail": TOKEN}
    async with running(SlackServer(answer=answer)) as server:
        with pytest.raises(ToolExecutionError, match="unknown_error") as raised:
            await post(tool(server))
    assert TOKEN not in str(vars(raised.value))


@pytest.mark.parametrize(
    ("status", "answer"),
    [(429, "slow down"), (429, {"ok": False}), (200, {"ok": False, "error": "ratelimited"})],
)
async def test_slacks_rate_limit_says_when_to_come_back(status: int, answer: Any) -> None:
    server = SlackServer(status=status, answer=answer, headers={"Retry-After": "30"})
    async with running(server):
        with pytest.raises(RateLimitExceededError, match="Retry after 30 s") as raised:
            await post(tool(server))
    assert raised.value.retry_after_seconds == 30
    assert len(server.requests) == 1


async def test_a_rate_limit_without_a_time_has_none() -> None:
    async with running(SlackServer(status=429, headers={"Retry-After": "soon"})) as server:
        with pytest.raises(RateLimitExceededError) as raised:
            await post(tool(server))
    assert raised.value.retry_after_seconds is None


@pytest.mark.parametrize(
    "server",
    [
        SlackServer(behaviour="cut"),
        SlackServer(behaviour="half"),
        SlackServer(behaviour="hang"),
        SlackServer(behaviour="drip"),
        SlackServer(status=500, answer="oops"),
        SlackServer(status=503),
        SlackServer(answer={"ok": False, "error": "internal_error"}),
        SlackServer(answer={"ok": False, "error": "fatal_error"}),
        SlackServer(answer="no JSON"),
        SlackServer(answer="[]"),
        SlackServer(answer={"ok": True, "channel": "C1", "ts": "1.2", "x": "x" * 1_100_000}),
    ],
    ids=lambda server: f"{server.behaviour}-{server.status}-{str(server.answer)[:30]}",
)
async def test_when_nobody_knows_it_is_an_unknown_outcome_and_not_repeated(
    server: SlackServer,
) -> None:
    async with running(server), asyncio.timeout(60):
        with pytest.raises(OutcomeUnknownError, match="posted is not known"):
            await post(tool(server, timeout_seconds=0.7))
    assert len(server.requests) == server.connections == 1


async def test_a_redirect_is_not_followed_and_gets_no_token() -> None:
    async with running(SlackServer()) as other:
        server = SlackServer(status=302, headers={"Location": f"{other.url}chat.postMessage"})
        async with running(server):
            with pytest.raises(ToolExecutionError, match="HTTP status 302"):
                await post(tool(server))
    assert other.connections == 0


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(SlackServer()) as proxy, running(SlackServer()) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await post(tool(server))
    assert proxy.connections == 0
    assert len(server.requests) == 1


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    async with running(SlackServer()) as server:
        slack = tool(server)
    with pytest.raises(ToolExecutionError, match=r"failed\. Nothing was posted\.$") as raised:
        await post(slack)
    assert not isinstance(raised.value, OutcomeUnknownError)


async def test_a_caller_that_is_cancelled_cuts_the_connection_and_ends_the_thread() -> None:
    async with running(SlackServer(behaviour="hang")) as server:
        task = asyncio.create_task(post(tool(server)))
        await server.arrived.wait()
        [thread] = [each for each in threading.enumerate() if each.name == "slack"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(60):
            await server.gone.wait()
            await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()


async def test_nothing_of_a_message_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(SlackServer()) as server:
        await post(tool(server), text="a private matter")
        server.behaviour = "cut"
        with pytest.raises(OutcomeUnknownError):
            await post(tool(server), text="a private matter")
    assert "private" not in caplog.text
    assert TOKEN not in caplog.text


def test_the_documented_example_posts_or_says_why_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)

    def run(thread_ts: str) -> dict[str, Any]:
        slack_tool = SlackTool()
        return slack_tool.execute(
            {
                "channel": "#general",
                "text": "Hello from the agent system!",
                "thread_ts": thread_ts,
            }
        )

    async def example() -> tuple[SlackServer, dict[str, Any], dict[str, Any]]:
        async with running(SlackServer()) as server:
            monkeypatch.setenv("TOOL_RUNNER_SLACK_BASE_URL", server.url)
            monkeypatch.setenv("TOOL_RUNNER_SLACK_TOKEN_FILE", str(tmp_path / "token"))
            monkeypatch.setenv("TOOL_RUNNER_SLACK_ALLOWED_CHANNELS", '["#general"]')
            literal = await asyncio.to_thread(run, "timestamp")
            return server, literal, await asyncio.to_thread(run, "1712345678.123456")

    server, literal, posted = asyncio.run(example())
    # The example's "timestamp" stands for one, and Slack would refuse it as well.
    assert not literal["success"]
    assert literal["code"] == "INVALID_ARGUMENT"
    assert "1712345678.123456" in literal["error"]
    assert posted["success"], posted
    assert [request.body["thread_ts"] for request in server.requests] == ["1712345678.123456"]

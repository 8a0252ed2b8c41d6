"""Agents as tools of an official MCP client, through the gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from mcp.client.client import Client as McpClient
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, CallToolResult, RequestParamsMeta

from agent_executor.web.mcp.agent_tools import IDEMPOTENCY_KEY
from tests.e2e.agent_protocols import MCP_HEADERS, bearer, mcp_client, rpc, url_of
from tests.e2e.agents_and_runs import SUM, THREE_SUMS, create_agent, get_run, pages
from tests.e2e.approving import agent_that_asks, approvals, resolved
from tests.e2e.cancelling import holding_source
from tests.e2e.custom_tools import create_custom_agent, register
from tests.e2e.error_shape import assert_is_timestamp
from tests.platforms import Client, RunningPlatform, until

MODES = ("legacy", "auto")
SLOW = "Test the custom_tool tool"


def tool_of(agent_id: str) -> str:
    return f"any_name_{agent_id.replace('-', '')}"


def keyed(key: str) -> RequestParamsMeta:
    return RequestParamsMeta(**{IDEMPOTENCY_KEY: key})  # type: ignore[typeddict-unknown-key] # is open


def code_of(result: CallToolResult) -> str:
    """Returns the code of a call that was refused, whose answer has the platform's error shape."""
    assert result.is_error
    body: dict[str, Any] = result.structured_content
    assert body.keys() == {"success", "error", "tool_name", "code", "timestamp"}
    assert body["success"] is False
    assert_is_timestamp(body["timestamp"])
    code: str = body["code"]
    return code


def only_run(client: Client) -> dict[str, Any]:
    [run] = pages(client, "/api/v1/runs", "runs")
    return run


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_is_a_tool_that_tells_its_progress(
    platform: RunningPlatform, client: Client, mode: str
) -> None:
    agent_id = create_agent(client, name="Bob's Math (β)", description="Does sums.")
    told: list[tuple[float, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with mcp_client(platform, client, mode) as mcp:
        listed = await mcp.list_tools()
        [tool] = [tool for tool in listed.tools if tool.name not in {"get_run", "cancel_run"}]
        assert tool.name == f"bob_s_math_{agent_id.replace('-', '')}"
        assert (tool.title, tool.description) == ("Bob's Math (β)", "Does sums.")
        result = await mcp.call_tool(tool.name, {"input": SUM}, progress_callback=tell)
    assert not result.is_error
    run = only_run(client)
    assert result.structured_content == {
        "task_id": run["id"],
        "state": "completed",
        "response": run["output"]["response"],
        "tokens_used": run["tokens_used"],
        "cost_usd": run["cost_usd"],
    }
    assert result.content[0].text == run["output"]["response"]  # type: ignore[union-attr] # a text
    assert [progress for progress, _ in told] == sorted({progress for progress, _ in told})
    messages = [message or "" for _, message in told]
    assert "Calls the tool calculator." in messages
    answer = messages[messages.index("The tool calculator has answered.") + 1 :]
    assert "".join(answer) == run["output"]["response"]


async def test_calls_continue_a_conversation(platform: RunningPlatform, client: Client) -> None:
    tool = tool_of(create_agent(client))
    async with mcp_client(platform, client) as mcp:
        await mcp.call_tool(tool, {"input": SUM, "conversation_id": "talk"})
        result = await mcp.call_tool(
            tool, {"input": "Multiply that by 2.", "conversation_id": "talk"}
        )
    assert "84" in result.structured_content["response"]
    assert result.structured_content["conversation_id"] == "talk"


@pytest.mark.parametrize("mode", MODES)
async def test_a_repeat_under_a_key_is_the_same_run(
    platform: RunningPlatform, client: Client, mode: str
) -> None:
    tool = tool_of(create_agent(client))
    async with mcp_client(platform, client, mode) as mcp:

        async def call(text: str) -> CallToolResult:
            return await mcp.call_tool(tool, {"input": text}, meta=keyed("once"))

        first, again = await call(SUM), await call(SUM)
        assert first.structured_content == again.structured_content
        assert code_of(await call(THREE_SUMS)) == "IDEMPOTENCY_CONFLICT"
    assert only_run(client)["id"] == first.structured_content["task_id"]


async def test_another_organization_has_neither_tools_nor_runs(
    platform: RunningPlatform, client: Client
) -> None:
    tool = tool_of(create_agent(client))
    stranger = platform.client(platform.token("organization-of-strangers"))
    async with mcp_client(platform, client) as mcp, mcp_client(platform, stranger) as other:
        result = await mcp.call_tool(tool, {"input": SUM})
        names = [tool.name for tool in (await other.list_tools()).tools]
        assert names == ["get_run", "cancel_run"]
        assert code_of(await other.call_tool(tool, {"input": SUM})) == "AGENT_NOT_FOUND"
        run = {"task_id": result.structured_content["task_id"]}
        assert code_of(await other.call_tool("get_run", run)) == "RUN_NOT_FOUND"
        assert code_of(await other.call_tool("cancel_run", run)) == "RUN_NOT_FOUND"
        found = await mcp.call_tool("get_run", run)
    assert found.structured_content == result.structured_content


async def test_what_a_caller_may_do_is_in_the_token(
    platform: RunningPlatform, client: Client, organization: str
) -> None:
    tool = tool_of(create_agent(client))
    reader = platform.client(platform.token(organization, permissions=["agent:read"]))
    runner = platform.client(platform.token(organization, permissions=["run:execute", "tool:*"]))
    async with mcp_client(platform, reader) as mcp:
        assert len((await mcp.list_tools()).tools) == 3
        assert code_of(await mcp.call_tool(tool, {"input": SUM})) == "PERMISSION_DENIED"
    async with mcp_client(platform, runner, "legacy") as mcp:
        with pytest.raises(MCPError) as refused:
            await mcp.list_tools()
        assert refused.value.error.data["code"] == "PERMISSION_DENIED"
    # The official client lists the tools before it believes an answer.
    body = rpc("tools/call", {"name": tool, "arguments": {"input": SUM}})
    headers = {**bearer(runner), **MCP_HEADERS}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        answer = await http.post(url_of(platform, "/mcp"), json=body)
    assert '"state":"completed"' in answer.text


async def test_an_api_key_opens_as_much_as_it_was_given(
    platform: RunningPlatform, client: Client
) -> None:
    tool = tool_of(create_agent(client))
    created = client.post("/api/v1/api-keys", {"name": "desktop", "permissions": ["agent:read"]})
    async with mcp_client(platform, platform.client(created.body["key"])) as mcp:
        assert len((await mcp.list_tools()).tools) == 3
        assert code_of(await mcp.call_tool(tool, {"input": SUM})) == "PERMISSION_DENIED"


async def test_bad_calls_are_told_what_is_wrong(platform: RunningPlatform, client: Client) -> None:
    inactive = tool_of(create_agent(client, is_active=False))
    tool = tool_of(create_agent(client))
    async with mcp_client(platform, client) as mcp:
        names = [tool.name for tool in (await mcp.list_tools()).tools]
        assert len(names) == 3, "the inactive agent is no tool"
        assert code_of(await mcp.call_tool(inactive, {"input": SUM})) == "AGENT_INACTIVE"
        for arguments in (None, {"input": 1}, {"input": ""}, {"input": SUM, "more": 1}):
            assert code_of(await mcp.call_tool(tool, arguments)) == "INVALID_ARGUMENT"
        key = await mcp.call_tool(tool, {"input": SUM}, meta=keyed("é"))
        assert code_of(key) == "INVALID_ARGUMENT"
        for name in ("nothing", "nothing_123", ""):
            with pytest.raises(MCPError) as unknown:
                await mcp.call_tool(name, {"input": SUM})
            assert unknown.value.error.code == INVALID_PARAMS
        with pytest.raises(MCPError) as cursor:
            await mcp.list_tools(cursor="nowhere")
        assert cursor.value.error.code == INVALID_PARAMS


async def test_a_budget_that_is_exceeded_is_an_error_with_its_run(
    platform: RunningPlatform, client: Client
) -> None:
    tool = tool_of(create_agent(client))
    assert client.put("/api/v1/budgets/small", {"limit_usd": 0}).status == 200
    async with mcp_client(platform, client) as mcp:
        result = await mcp.call_tool(tool, {"input": SUM})
    assert result.is_error
    content = result.structured_content
    assert (content["state"], content["code"]) == ("budget_exceeded", "BUDGET_EXCEEDED")
    assert content["task_id"] == only_run(client)["id"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_is_answered_when_its_run_waits_for_a_person(
    platform: RunningPlatform, client: Client, mode: str
) -> None:
    tool = tool_of(agent_that_asks(client))
    async with mcp_client(platform, client, mode) as mcp:

        async def call() -> CallToolResult:
            return await mcp.call_tool(tool, {"input": SUM}, meta=keyed("asked"))

        waiting = await call()
        content = waiting.structured_content
        assert (content["state"], waiting.is_error) == ("waiting", False)
        assert "Sums are sent to a person." in content["waits_for"]
        [approval] = approvals(client, content["task_id"])
        resolved(client, approval, "approve")
        # The repeat is told of the wait, too, and knows that it is over.
        ended = await call()
        assert ended.structured_content["state"] == "completed"
        run = {"task_id": content["task_id"]}
        assert (await mcp.call_tool("get_run", run)).structured_content == ended.structured_content


async def test_many_calls_at_once(platform: RunningPlatform, client: Client) -> None:
    tool = tool_of(create_agent(client))
    async with mcp_client(platform, client) as mcp:
        results = await asyncio.gather(
            *(mcp.call_tool(tool, {"input": f"What is {number} + 1?"}) for number in range(20))
        )
    for number, result in enumerate(results):
        assert str(number + 1) in result.structured_content["response"]
    assert len({result.structured_content["task_id"] for result in results}) == 20


@pytest.fixture
def slow_tool(client: Client) -> str:
    register(client, holding_source())
    return tool_of(create_custom_agent(client))


async def begin_call(mcp: McpClient, tool: str) -> asyncio.Task[CallToolResult]:
    """Calls a slow tool, and returns once its run is at work."""
    at_work = asyncio.Event()

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        if message == "Calls the tool custom_tool.":
            at_work.set()

    call = asyncio.create_task(mcp.call_tool(tool, {"input": SLOW}, progress_callback=tell))
    await asyncio.wait_for(at_work.wait(), 30)
    return call


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_cancels_its_call_cancels_the_run(
    platform: RunningPlatform, client: Client, slow_tool: str, mode: str
) -> None:
    async with mcp_client(platform, client, mode) as mcp:
        call = await begin_call(mcp, slow_tool)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.to_thread(until, lambda: only_run(client)["state"] == "cancelled")
        # The connection is as good as before.
        assert len((await mcp.list_tools()).tools) == 3


async def test_before_2026_a_lost_connection_leaves_the_run(
    platform: RunningPlatform, client: Client, slow_tool: str
) -> None:
    body = rpc("tools/call", {"name": slow_tool, "arguments": {"input": SLOW}})
    body["params"]["_meta"] = {"progressToken": "p"}
    headers = {**bearer(client), **MCP_HEADERS, "mcp-protocol-version": "2025-06-18"}
    async with (
        httpx.AsyncClient(headers=headers) as http,
        http.stream("POST", url_of(platform, "/mcp"), json=body, timeout=60) as answer,
    ):
        async for line in answer.aiter_lines():
            if "Calls the tool" in line:
                break
    async with mcp_client(platform, client) as mcp:
        run_id = only_run(client)["id"]
        state = (await mcp.call_tool("get_run", {"task_id": run_id})).structured_content["state"]
        assert state == "running"
        cancelled = await mcp.call_tool("cancel_run", {"task_id": run_id})
    assert cancelled.structured_content["state"] == "cancelled"
    assert get_run(client, run_id)["state"] == "cancelled"


LIST = rpc("tools/list")
REQUESTS: list[tuple[str, dict[str, Any], int]] = [
    ("no-token", {"json": LIST, "without_token": True}, 401),
    ("foreign-page", {"json": LIST, "headers": {"origin": "http://evil.example"}}, 403),
    ("rebound-page", {"json": LIST, "headers": {"origin": "http://x.test", "host": "x.test"}}, 403),
    ("opaque-page", {"json": LIST, "headers": {"origin": "null"}}, 403),
    ("own-page", {"json": LIST, "headers": {"origin": "http://localhost:3000"}}, 200),
    ("no-json", {"content": b'{"a'}, 400),
    ("no-rpc", {"json": {}}, 400),
    ("batch", {"json": [LIST, LIST]}, 400),
    ("nested", {"content": b"[" * 100_000}, 400),
    ("bad-utf8", {"content": b'"\xff"'}, 400),
    ("no-json-type", {"json": LIST, "headers": {"content-type": "text/plain"}}, 400),
    ("no-version", {"json": LIST, "headers": {"mcp-protocol-version": "1999-01-01"}}, 400),
    ("large", {"content": b" " * 2_000_000}, 413),
    ("no-metadata", {"json": LIST, "headers": {"tracestate": b"\xc3\xa9"}}, 200),
]


@pytest.mark.parametrize(
    ("request_", "status"),
    [pytest.param(request, status, id=name) for name, request, status in REQUESTS],
)
def test_bad_and_hostile_requests(
    platform: RunningPlatform, client: Client, request_: dict[str, Any], status: int
) -> None:
    request = dict(request_)
    token = {} if request.pop("without_token", False) else bearer(client)
    headers = {**token, **MCP_HEADERS, **request.pop("headers", {})}
    answer = httpx.post(url_of(platform, "/mcp"), headers=headers, timeout=60, **request)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text
    assert "-32603" not in answer.text
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_there_are_no_streams_and_no_sessions_of_the_servers_own(
    platform: RunningPlatform, client: Client, method: str
) -> None:
    answer = httpx.request(method, url_of(platform, "/mcp"), headers=bearer(client))
    assert answer.status_code == 405

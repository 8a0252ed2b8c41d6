"""Tools of external MCP servers, as agents use them on a running platform."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.agents_and_runs import create_agent, execute, get_run, pages, start_run, wait_for_end
from tests.e2e.custom_tools import call
from tests.e2e.error_shape import assert_is_error
from tests.e2e.rpc import METHODS, channel_to
from tests.e2e.rpc import call as rpc_call
from tests.mcp_servers import HOST, WAIT_SECONDS, RunningMcpServer, running_mcp_server
from tests.platforms import Client, RunningPlatform, until

SERVER = "/api/v1/mcp-servers/weather"
FORECAST = "weather__forecast"
SECRET = "sk-12345678-very-secret"


@pytest.fixture(scope="module")
def external() -> Iterator[RunningMcpServer]:
    """A real MCP server; its tests leave it as it is."""
    with running_mcp_server() as server:
        yield server


def register(client: Client, server: RunningMcpServer, **fields: Any) -> dict[str, Any]:
    """Allows the server's domain, registers it as `weather` and returns it."""
    assert client.post("/api/v1/allowed-domains", {"domain": HOST}).status == 200
    answer = client.put(SERVER, {"url": server.url, **fields})
    assert answer.status == 200, answer.content
    registered: dict[str, Any] = answer.body
    return registered


def agent_with(client: Client, tool_name: str, **fields: Any) -> str:
    return create_agent(client, tools={tool_name: True}, **fields)


def test_an_agent_uses_a_tool_of_a_server(client: Client, external: RunningMcpServer) -> None:
    server = register(client, external, allowed_tools=["forecast", "mark"], trusts_hints=True)
    assert (server["server_title"], server["findings"]) == ("Weather", [])
    assert [(tool["name"], tool["effect"]) for tool in server["tools"]] == [
        ("weather__forecast", "read_only"),
        ("weather__mark", "idempotent"),
    ]
    assert client.get(SERVER).body == server
    assert client.get("/api/v1/mcp-servers").body["mcp_servers"] == [server]

    tool = client.get(f"/api/v1/tools/{FORECAST}").body
    assert (tool["mcp_server"], tool["built_in"], len(tool["version"])) == ("weather", False, 64)
    assert tool["description"] == "Forecasts the weather of a city."
    listed = client.get("/api/v1/tools").body["tools"]
    assert tool in listed
    assert [each["name"] for each in listed] == sorted(each["name"] for each in listed)
    assert [each["name"] for each in listed if each["mcp_server"]] == [FORECAST, "weather__mark"]

    agent_id = agent_with(client, FORECAST)
    assert client.get(f"/api/v1/agents/{agent_id}/tools").body["tools"] == [
        {"name": FORECAST, "description": tool["description"], "enabled": True}
    ]
    run = execute(client, agent_id, f"Use {FORECAST} with city Rome")
    (result,) = run["output"]["tool_results"]
    assert (result["tool_name"], result["success"]) == (FORECAST, True), result
    assert result["result"]["structured"] == {"city": "Rome", "degrees": 21}
    (event,) = pages(client, f"/api/v1/audit-events?run_id={run['task_id']}", "audit_events")
    assert (event["tool_name"], event["decision"], event["outcome"]) == (
        FORECAST,
        "allowed",
        "success",
    )
    assert event["tool_version"] == tool["version"]
    entries = list(pages(client, f"/api/v1/usage/entries?run_id={run['task_id']}", "entries"))
    assert sum(int(entry["cost_nano_usd"]) for entry in entries) == int(run["cost_nano_usd"])


def test_the_permission_and_the_schema_and_the_rate_limit_hold(
    platform: RunningPlatform, client: Client, organization: str, external: RunningMcpServer
) -> None:
    register(client, external)
    agent_id = agent_with(client, FORECAST)
    text = f"Test the {FORECAST} tool"
    permissions = ["run:execute", "tool:weather__mark"]
    caller = platform.client(platform.token(organization, permissions=permissions))
    calls = len(external.messages("tools/call"))
    assert call(caller, agent_id, text)["code"] == "PERMISSION_DENIED"
    limit = {"max_calls": 0, "window_seconds": 60}
    assert client.put(f"/api/v1/tools/{FORECAST}/rate-limit", limit).status == 200
    assert call(client, agent_id, text)["code"] == "RATE_LIMIT_EXCEEDED"
    client.delete(f"/api/v1/tools/{FORECAST}/rate-limit")
    large = agent_with(client, "weather__large")
    method = METHODS["ToolCallService/ExecuteToolCall"]
    bad = method.request(
        tool_call_id="bad", tool_name="weather__large", arguments_json='{"characters": "many"}'
    )
    with channel_to(platform, method.process) as channel:
        (refused,) = rpc_call(channel, method, bad, client.token)
    assert (refused.success, refused.code) == (False, "INVALID_ARGUMENT"), refused
    assert len(external.messages("tools/call")) == calls
    too_much = call(client, large, "Use weather__large with characters 700000")
    assert (too_much["success"], too_much["code"]) == (False, "LIMIT_EXCEEDED"), too_much


def test_a_tool_that_fails_says_why(client: Client, external: RunningMcpServer) -> None:
    register(client, external)
    result = call(client, agent_with(client, "weather__fail"), "Test the weather__fail tool")
    assert (result["success"], result["code"]) == (False, "TOOL_EXECUTION_ERROR")
    assert result["error"] == "no such city"


def test_a_cancelled_run_cancels_the_call_at_the_server(client: Client) -> None:
    with running_mcp_server(is_old=True) as server:
        register(client, server)
        run_id = start_run(
            client, agent_with(client, "weather__slow"), "Test the weather__slow tool"
        )
        assert server.started.wait(WAIT_SECONDS)
        assert client.post(f"/api/v1/runs/{run_id}/cancel", {}).status == 200
        assert server.cancelled.wait(WAIT_SECONDS)
        assert wait_for_end(client, run_id)["state"] == "cancelled"


def test_a_call_ends_in_its_time(client: Client) -> None:
    with running_mcp_server() as server:
        register(client, server, timeout_seconds=0.5, effect="read_only")
        result = call(client, agent_with(client, "weather__slow"), "Test the weather__slow tool")
        assert (result["success"], result["code"]) == (False, "DEADLINE_EXCEEDED")
        assert server.cancelled.wait(WAIT_SECONDS)


def test_a_tool_may_wait_for_a_person(client: Client, external: RunningMcpServer) -> None:
    register(client, external, requires_approval=True)
    run_id = start_run(client, agent_with(client, FORECAST), f"Test the {FORECAST} tool")
    until(lambda: get_run(client, run_id)["state"] == "waiting")
    (approval,) = client.get("/api/v1/approvals").body["approvals"]
    path = f"/api/v1/runs/{run_id}/approvals/{approval['tool_call_id']}"
    assert client.post(path, {"decision": "approve"}).status == 200
    (result,) = wait_for_end(client, run_id)["output"]["tool_results"]
    assert result["success"], result


def test_a_credential_is_attached_and_seen_by_nobody(
    platform: RunningPlatform, client: Client, external: RunningMcpServer
) -> None:
    fields = {"secret": SECRET, "allowed_origins": [external.origin]}
    assert client.put("/api/v1/credentials/key", fields).status == 200
    register(client, external, credential_name="key")
    agent_id = agent_with(client, "weather__mark")
    before = len(external.requests)
    result = call(client, agent_id, f"Use weather__mark with city {SECRET}")
    assert external.requests[before].headers["authorization"] == f"Bearer {SECRET}"
    assert result["result"]["text"] == "Marked **********."
    client.delete("/api/v1/credentials/key")
    assert call(client, agent_id, "Test the weather__mark tool")["code"] == "CREDENTIAL_NOT_FOUND"
    assert SECRET not in platform.log


def test_a_run_keeps_the_version_that_it_began_with(client: Client) -> None:
    with running_mcp_server() as server:
        first = register(client, server)
        version = client.get(f"/api/v1/tools/{FORECAST}").body["version"]
        run_id = start_run(
            client, agent_with(client, "weather__slow"), "Test the weather__slow tool"
        )
        assert server.started.wait(WAIT_SECONDS)
        # What a person changes is a new version, and so is what the server changes.
        register(client, server, effect="idempotent")
        newer = client.get(f"/api/v1/tools/{FORECAST}").body["version"]
        assert newer != version
        assert client.get(f"/api/v1/tools/{FORECAST}?version={version}").body["effect"] == "unsafe"
        assert client.post(f"/api/v1/runs/{run_id}/cancel", {}).status == 200
        refreshed = client.post(f"{SERVER}/refresh", {})
        assert refreshed.status == 200, refreshed.content
        assert client.get(f"/api/v1/tools/{FORECAST}").body["version"] == newer
        assert [tool["name"] for tool in first["tools"]] == [
            tool["name"] for tool in refreshed.body["tools"]
        ]
        # A tool that may not be used any more is gone, in every version.
        register(client, server, allowed_tools=["mark"])
        for path in ("", f"?version={version}"):
            answer = client.get(f"/api/v1/tools/{FORECAST}{path}")
            assert_is_error(answer, 404, "TOOL_NOT_FOUND", FORECAST)


def test_what_cannot_be_registered_says_why(client: Client, external: RunningMcpServer) -> None:
    body = {"url": external.url}
    refused = client.put(SERVER, body)
    assert_is_error(refused, 400, "INVALID_ARGUMENT")
    assert "not an allowed domain" in refused.body["error"]
    client.post("/api/v1/allowed-domains", {"domain": HOST})
    assert_is_error(
        client.put(SERVER, {**body, "credential_name": "none"}), 404, "CREDENTIAL_NOT_FOUND"
    )
    missing = client.put(SERVER, {**body, "allowed_tools": ["forecast", "telescope"]})
    assert_is_error(missing, 400, "INVALID_ARGUMENT")
    assert "telescope" in missing.body["error"]
    away = client.put(SERVER, {"url": f"http://{HOST}:1/mcp"})
    assert_is_error(away, 503, "UNAVAILABLE")
    assert_is_error(client.get(SERVER), 404, "MCP_SERVER_NOT_FOUND")


def test_another_organization_neither_sees_nor_calls_it(
    platform: RunningPlatform, client: Client, external: RunningMcpServer
) -> None:
    register(client, external)
    stranger = platform.client(platform.token(f"strangers-{uuid.uuid4()}"))
    assert stranger.get("/api/v1/mcp-servers").body["mcp_servers"] == []
    assert_is_error(stranger.get(f"/api/v1/tools/{FORECAST}"), 404, "TOOL_NOT_FOUND", FORECAST)
    agent_id = agent_with(stranger, FORECAST)
    answer = stranger.post(f"/api/v1/agents/{agent_id}/execute", {"input": "Hello"})
    assert_is_error(answer, 404, "TOOL_NOT_FOUND", FORECAST)


def test_a_deleted_server_takes_its_tools_along(client: Client, external: RunningMcpServer) -> None:
    register(client, external)
    agent_id = agent_with(client, FORECAST)
    assert call(client, agent_id, f"Test the {FORECAST} tool")["success"]
    assert client.delete(SERVER).status == 200
    assert_is_error(client.delete(SERVER), 404, "MCP_SERVER_NOT_FOUND")
    answer = client.post(f"/api/v1/agents/{agent_id}/execute", {"input": "Hello"})
    assert_is_error(answer, 404, "TOOL_NOT_FOUND", FORECAST)

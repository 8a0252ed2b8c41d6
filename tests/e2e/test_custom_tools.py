"""Custom tools as an organization meets them: registered, listed, run, replaced, retired."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.agents_and_runs import SUM, create_agent, execute, start_run, wait_for_end
from tests.e2e.custom_tools import (
    DOCUMENTED_SOURCE,
    LOOPBACK_ADMITTED,
    NAME,
    call,
    call_source,
    create_custom_agent,
    register,
    source_of,
)
from tests.e2e.error_shape import assert_is_error
from tests.platforms import Client, RunningPlatform, running_platform
from tests.web_server import HOST, WebServer, running_web_server


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform whose tools may reach this machine."""
    with running_platform(**LOOPBACK_ADMITTED) as running:  # type: ignore[arg-type]  # no variable is called workers
        yield running


@pytest.fixture
def web() -> Iterator[WebServer]:
    with running_web_server() as server:
        yield server


def test_the_documented_custom_tool_is_registered_and_called(client: Client) -> None:
    tool = register(client)
    assert (tool["name"], tool["class_name"]) == (NAME, "CustomTool")
    assert tool["source"] == DOCUMENTED_SOURCE
    assert tool["description"] == "Custom tool description"
    assert (tool["effect"], tool["built_in"], tool["findings"]) == ("unsafe", False, [])
    assert len(bytes.fromhex(tool["version"])) == 32
    assert client.get(f"/api/v1/tools/{NAME}").body == tool
    listed = client.get("/api/v1/tools").body["tools"]
    assert [each["name"] for each in listed] == sorted(
        {"calculator", "email", "http_request", "slack", NAME}
    )
    assert {**tool, "source": ""} in listed

    agent_id = create_custom_agent(client)
    assert client.get(f"/api/v1/agents/{agent_id}/tools").body["tools"] == [
        {"name": NAME, "description": "Custom tool description", "enabled": True}
    ]
    run = execute(client, agent_id, "Test the custom_tool tool")
    (result,) = run["output"]["tool_results"]
    assert (result["tool_name"], result["success"]) == (NAME, True)
    assert result["result"] == {"result": "success"}
    assert run["output"]["response"].startswith("Test successful")


def test_the_same_content_is_the_same_version(client: Client) -> None:
    first = register(client)
    other = register(client, DOCUMENTED_SOURCE + "# Another one.\n")
    assert other["version"] != first["version"]
    assert register(client) == first


def test_arguments_reach_the_tool_and_are_held_to_its_schema(client: Client) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 8}},
        "required": ["city"],
    }
    register(client, source_of("return f'It rains in {arguments[\"city\"]}.'"), input_schema=schema)
    agent_id = create_custom_agent(client)
    good = call(client, agent_id, "Use custom_tool with city Paris")
    assert good["result"] == "It rains in Paris."
    bad = call(client, agent_id, "Use custom_tool with city Constantinople")
    assert (bad["success"], bad["code"]) == (False, "INVALID_ARGUMENT")


def test_a_run_that_is_under_way_keeps_its_version(client: Client, web: WebServer) -> None:
    client.post("/api/v1/allowed-domains", {"domain": HOST})
    source = source_of(f"self.http.request('GET', '{web.origin}/held/first')\nreturn 'the first'")
    first = register(client, source, allowed_origins=[web.origin])
    agent_id = create_custom_agent(client)
    run_id = start_run(client, agent_id, "Test the custom_tool tool")
    web.wait_for("/held/first")
    second = register(client, source_of("return 'the second'"))
    assert call(client, agent_id)["result"] == "the second"
    web.release()
    run = wait_for_end(client, run_id)
    assert run["state"] == "completed", run
    (result,) = run["output"]["tool_results"]
    assert (result["success"], result["result"]) == (True, "the first"), result
    events = client.get(f"/api/v1/audit-events?tool_name={NAME}").body["audit_events"]
    # The newest comes first: the run with the first version has ended last.
    assert [each["tool_version"] for each in events] == [first["version"], second["version"]]


def test_an_agent_may_stay_with_an_older_version(client: Client) -> None:
    old = register(client, source_of("return 'the old one'"))
    register(client, source_of("return 'the new one'"))
    use = {"class": "CustomTool", "enabled": True, "version": old["version"]}
    agent_id = create_agent(client, tools={}, custom_tools={NAME: use})
    assert call(client, agent_id)["result"] == "the old one"
    assert call(client, create_custom_agent(client))["result"] == "the new one"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (DOCUMENTED_SOURCE.replace("return {", "return {{"), "(line 12)"),
        (DOCUMENTED_SOURCE + "\nnonsense\n", "NameError: name 'nonsense' is not defined (line 14)"),
        (DOCUMENTED_SOURCE + "\nimport numpy\n", "(line 14)"),
        ("class CustomTool:\n    pass\n", "CustomTool is not a subclass of ToolBase"),
        ("from agent_executor import ToolBase\n", "defines no class CustomTool"),
        (DOCUMENTED_SOURCE.replace("custom_tool", "other"), "another name"),
    ],
)
def test_a_broken_source_is_refused_with_its_line(client: Client, source: str, words: str) -> None:
    answer = client.post(
        "/api/v1/tools", {"name": NAME, "class_name": "CustomTool", "source": source}
    )
    assert answer.status == 400
    assert words in answer.body["error"]
    assert answer.body["code"] == "INVALID_ARGUMENT"
    assert client.get(f"/api/v1/tools/{NAME}").status == 404


def test_what_looks_suspicious_is_told_and_runs_all_the_same(client: Client) -> None:
    tool = register(client, source_of("import os\nreturn sorted(os.environ)"))
    assert tool["findings"] == ["line 8: imports os"]
    result = call(client, create_custom_agent(client))
    assert (result["success"], result["result"]) == (True, [])


def test_another_organization_neither_sees_nor_calls_it(
    platform: RunningPlatform, client: Client
) -> None:
    register(client)
    stranger = platform.client(platform.token("strangers"))
    path = f"/api/v1/tools/{NAME}"
    assert_is_error(stranger.get(path), 404, "TOOL_NOT_FOUND", NAME)
    assert_is_error(stranger.delete(path), 404, "TOOL_NOT_FOUND", NAME)
    names = [tool["name"] for tool in stranger.get("/api/v1/tools").body["tools"]]
    assert NAME not in names
    agent_id = create_custom_agent(stranger)
    answer = stranger.post(f"/api/v1/agents/{agent_id}/execute", {"input": "Test custom_tool"})
    assert_is_error(answer, 404, "TOOL_NOT_FOUND", NAME)
    assert client.get(path).status == 200


def test_a_deleted_tool_is_gone_and_its_name_is_free(client: Client) -> None:
    register(client)
    agent_id = create_custom_agent(client)
    assert call(client, agent_id)["success"]
    assert client.delete(f"/api/v1/tools/{NAME}").status == 200
    assert_is_error(client.get(f"/api/v1/tools/{NAME}"), 404, "TOOL_NOT_FOUND", NAME)
    answer = client.post(f"/api/v1/agents/{agent_id}/execute", {"input": "Test custom_tool"})
    assert_is_error(answer, 404, "TOOL_NOT_FOUND", NAME)
    register(client, source_of("return 'again'"))
    assert call(client, agent_id)["result"] == "again"


def test_a_tool_of_the_platform_cannot_be_replaced_or_deleted(client: Client) -> None:
    body = {"name": "calculator", "class_name": "CustomTool", "source": DOCUMENTED_SOURCE}
    assert_is_error(client.post("/api/v1/tools", body), 409, "CONFLICT", "calculator")
    deleted = client.delete("/api/v1/tools/calculator")
    assert (deleted.status, deleted.body["code"]) == (400, "FAILED_PRECONDITION")


def test_registering_needs_its_permission(platform: RunningPlatform, client: Client) -> None:
    reader = platform.client(platform.token("readers", permissions=["tool:read", "tool:*x"]))
    body = {"name": NAME, "class_name": "CustomTool", "source": DOCUMENTED_SOURCE}
    assert_is_error(reader.post("/api/v1/tools", body), 403, "PERMISSION_DENIED")
    assert_is_error(reader.delete(f"/api/v1/tools/{NAME}"), 403, "PERMISSION_DENIED")


ESCAPED = Path(tempfile.gettempdir(), "agent-executor-escaped")
# What only code outside of the sandbox could do.
ESCAPES = {
    "a file": "open('/etc/passwd').read()",
    "a new file": f"open('{ESCAPED}', 'w').write('x')",
    "a socket": "__import__('socket').socket()",
    "a process": "__import__('os').fork()",
    "a program": "__import__('os').execv('/bin/true', ['/bin/true'])",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_sandbox_false_does_not_loosen_anything(client: Client, escape: str) -> None:
    # In each place where somebody could think of it. A request that names it is refused.
    source = source_of(f"try:\n    {escape}\nexcept OSError:\n    return 'stopped'")
    source = source.replace("(ToolBase):", "(ToolBase):\n    sandbox = False")
    loose = {"sandbox": False}
    tool = {"name": NAME, "class_name": "CustomTool", "source": source}
    use = {"class": "CustomTool", "enabled": True}
    agent: dict[str, Any] = {"name": "Loose", "custom_tools": {NAME: use}}
    refused = (
        client.post("/api/v1/tools", tool | loose),
        client.post("/api/v1/agents", agent | loose),
        client.post("/api/v1/agents", {"name": "Loose", "custom_tools": {NAME: use | loose}}),
    )
    assert [(answer.status, answer.body["code"]) for answer in refused] == [
        (400, "INVALID_ARGUMENT")
    ] * 3
    assert client.post("/api/v1/tools", tool).status == 200
    agent_id = client.post("/api/v1/agents", agent).body["id"]
    run = client.post(f"/api/v1/agents/{agent_id}/execute", {"input": "Test the custom_tool tool"})
    assert run.status == 200
    (result,) = run.body["output"]["tool_results"]
    assert (result["result"], result["code"]) == ("stopped", ""), result
    assert not ESCAPED.exists()


@pytest.mark.parametrize(
    "body",
    ["import time\ntime.sleep(600)", "while True:\n    pass", "return 9 ** 9 ** 9"],
    ids=["sleeps", "computes", "never returns to the interpreter"],
)
def test_a_tool_that_hangs_is_killed_in_time_and_the_run_goes_on(client: Client, body: str) -> None:
    register(client, source_of(body), timeout_seconds=0.5)
    agent_id = create_custom_agent(client)
    started = time.monotonic()
    run = execute(client, agent_id, "Test the custom_tool tool")
    assert time.monotonic() - started < 50.0
    assert run["state"] == "completed"
    (result,) = run["output"]["tool_results"]
    assert (result["success"], result["code"]) == (False, "DEADLINE_EXCEEDED")
    assert "0.5 s" in result["error"]
    assert result["error"] in run["output"]["response"]
    sandbox = client.get("/api/v1/sandbox").body
    assert (sandbox["available"], sandbox["busy_workers"]) == (True, 0)


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        ("raise ValueError('no such city')", "TOOL_EXECUTION_ERROR", "no such city"),
        ("def look_up():\n    return {}['Paris']\nlook_up()", "TOOL_EXECUTION_ERROR", "'Paris'"),
        ("raise SystemExit(3)", "TOOL_EXECUTION_ERROR", "SystemExit: 3"),
        ("return object()", "TOOL_EXECUTION_ERROR", "not a JSON value"),
        ("return 'x' * 2_000_000", "LIMIT_EXCEEDED", "larger than"),
        ("return len(bytearray(2_000_000_000))", "LIMIT_EXCEEDED", "MiB of memory"),
    ],
)
def test_a_tool_that_fails_says_why(client: Client, body: str, code: str, error: str) -> None:
    result = call_source(client, source_of(body))
    assert (result["success"], result["code"], result["result"]) == (False, code, None), result
    assert error in result["error"]


def test_a_tool_that_raises_shows_message_and_line(client: Client) -> None:
    result = call_source(client, source_of("x = 1\nraise ValueError('no such city')"))
    assert result["error"] == "ValueError: no such city (line 9)"


def test_a_custom_tool_and_a_built_in_one_work_in_one_run(client: Client) -> None:
    register(client)
    use = {NAME: {"class": "CustomTool", "enabled": True}}
    agent_id = create_agent(client, tools={"calculator": True}, custom_tools=use)
    run = execute(client, agent_id, f"{SUM} Test the custom_tool tool")
    results = {each["tool_name"]: each["success"] for each in run["output"]["tool_results"]}
    assert results == {"calculator": True, NAME: True}


def test_the_sandbox_reports_itself(client: Client) -> None:
    sandbox = client.get("/api/v1/sandbox").body
    assert sandbox["available"] is True
    assert sandbox["tier"] in {"namespaces", "landlock"}
    assert sandbox["landlock_abi"] >= 1
    assert (sandbox["missing"], sandbox["remedy"]) == ([], "")

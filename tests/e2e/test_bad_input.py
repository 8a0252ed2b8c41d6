"""What is asked wrongly: the right status and the one shape of errors, and nothing of the inside."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.agents_and_runs import create_agent, execute
from tests.e2e.error_shape import assert_is_error
from tests.e2e.resources import UNKNOWN
from tests.e2e.routes import PATHS, ROUTES, Route
from tests.e2e.tool_runner_resources import TOOL
from tests.platforms import Client, RunningPlatform

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
PARAMETERS = tuple(UNKNOWN)
TAKE_BODIES = [route for route in ROUTES if route.body is not None]
RUNS = ("execute", "test", "runs")

NOT_JSON = {
    "cut off": b'{"name": ',
    "no JSON": b"name=Ada",
    "trailing text": b'{"name": "Ada"} x',
    "no UTF-8": b'{"name": "\xff", "input": "\xff"}',
    "half a character": b'{"name": "\\ud800", "input": "\\ud800"}',
    "a byte order mark": b'\xef\xbb\xbf{"name": "Ada"}',
    "NaN": b'{"name": NaN, "input": NaN, "limit_usd": NaN}',
    "infinity": b'{"name": Infinity, "input": Infinity, "limit_usd": 1e999}',
    "a list": b"[1]",
    "a text": b'"Ada"',
    "a number": b"3",
    "null": b"null",
    "very deep lists": b"[" * 100_000,
    "very deep objects": b'{"tools":' * 100_000,
}


@dataclass(frozen=True)
class Case:
    """A request that is refused, by default as INVALID_ARGUMENT."""

    method: str
    path: str
    body: Any = None
    status: int = 400
    code: str = "INVALID_ARGUMENT"
    # What the error must speak of.
    mentions: str = ""
    tool_name: str = ""
    id: str = ""

    def __str__(self) -> str:
        """Names it in a test's id."""
        content = self.id or json.dumps(self.body)[:60]
        return f"{self.method} {self.path} {content}"


def create(body: Any, mentions: str = "", **fields: Any) -> Case:
    return Case("POST", "/api/v1/agents", body, mentions=mentions, **fields)


def update(body: Any, mentions: str = "", **fields: Any) -> Case:
    return Case("PATCH", "/api/v1/agents/{agent_id}", body, mentions=mentions, **fields)


def budget(body: Any, mentions: str = "", **fields: Any) -> Case:
    return Case("PUT", "/api/v1/budgets/new", body, mentions=mentions, **fields)


def tool(changes: dict[str, Any] | None, mentions: str = "", **fields: Any) -> Case:
    body = {} if changes is None else TOOL | changes
    return Case(
        "POST",
        "/api/v1/tools",
        body,
        mentions=mentions,
        id=fields.pop("id", str(changes)),
        **fields,
    )


def limit(body: Any, mentions: str = "", **fields: Any) -> Case:
    return Case("PUT", "/api/v1/tools/calculator/rate-limit", body, mentions=mentions, **fields)


def credential(body: Any, mentions: str = "", **fields: Any) -> Case:
    return Case("PUT", "/api/v1/credentials/new", body, mentions=mentions, **fields)


def get(path: str, mentions: str = "", **fields: Any) -> Case:
    return Case("GET", f"/api/v1/{path}", mentions=mentions, **fields)


AGENT_CASES = [
    create({}, "name"),
    create({"name": ""}, "name"),
    create({"name": None}, "name"),
    create({"name": 3}, "name"),
    create({"name": ["Ada"]}, "list"),
    create({"name": {"first": "Ada"}}),
    create({"name": "x" * 201}, "name", id="a name of 201 bytes"),
    create({"name": "é" * 101}, "name", id="a name of 202 bytes in 101 characters"),
    create({"name": "x", "description": "x" * 10_001}, "description", id="a long description"),
    create({"name": "x", "role": "x" * 10_001}, "role", id="a long role"),
    create({"name": "x", "instructions": "x" * 100_001}, "instructions", id="long instructions"),
    create({"name": "x", "api_key": "x" * 1001}, "api_key", id="a long key"),
    create({"name": "x", "api_key": 5}, "api_key"),
    create({"name": "x", "model": "x" * 201}, "model", id="a long model"),
    create({"name": "x", "model": 4}, "model"),
    create({"name": "x", "agent_type": "robot"}, "agent_type"),
    create({"name": "x", "is_active": "perhaps"}, "is_active"),
    create({"name": "x", "is_active": 2}, "is_active"),
    create({"name": "x", "tools": ["calculator"]}, "tools"),
    create({"name": "x", "tools": "calculator"}, "tools"),
    create({"name": "x", "tools": {"calculator": "perhaps"}}, "tools"),
    create({"name": "x", "tools": {"": True}}, "tools"),
    create({"name": "x", "tools": {"x" * 129: True}}, "tools", id="a long tool name"),
    create({"name": "x", "tools": {str(n): True for n in range(257)}}, "tools", id="257 tools"),
    create({"name": "x", "custom_tools": {"mine": 1}}, "custom_tools"),
    create({"name": "x", "custom_tools": {"mine": {"class": 1}}}),
    create({"name": "x", "max_model_turns": -1}, "max_model_turns"),
    create({"name": "x", "max_model_turns": 1001}, "max_model_turns"),
    create({"name": "x", "max_model_turns": 1.5}, "max_model_turns"),
    create({"name": "x", "max_model_turns": 2**40}, "max_model_turns"),
    create({"name": "x", "max_model_turns": "many"}, "max_model_turns"),
    create({"name": "x", "max_output_tokens": 1_000_001}, "max_output_tokens"),
    update({"name": ""}, "name"),
    update({"name": 3}, "name"),
    update({"model": ""}, "model"),
    update({"max_model_turns": 0}, "max_model_turns"),
    update({"max_output_tokens": -5}, "max_output_tokens"),
    update({"tools": ["calculator"]}, "tools"),
    update({"update_mask": "id"}, "id"),
    update({"update_mask": "created_at"}, "created_at"),
    update({"update_mask": "agent_type"}, "agent_type"),
    update({"update_mask": "name"}, "name"),
    update({"update_mask": 5}, "update_mask"),
    update({"agent_id": "another"}, "agent_id"),
]
RUN_CASES = [
    Case("POST", f"/api/v1/agents/{{agent_id}}/{action}", body, mentions=mentions, id=name)
    for action in RUNS
    for body, mentions, name in [
        ({}, "input", ""),
        ({"input": ""}, "input", ""),
        ({"input": None}, "input", ""),
        ({"input": 3}, "input", ""),
        ({"input": True}, "input", ""),
        ({"input": ["hello"]}, "list", ""),
        ({"input": {"text": "hello"}}, "", ""),
        ({"input": "x" * (512 * KIBIBYTE + 1)}, "input", "an input of 512 KiB and a byte"),
        ({"input": "x" * MEBIBYTE}, "input", "an input of 1 MiB"),
        ({"input": "hello", "agent_id": "another"}, "agent_id", ""),
    ]
]
BUDGET_CASES = [
    budget({}, "limit_usd"),
    budget({"limit_usd": None}, "limit_usd"),
    budget({"limit_usd": -0.01}, "limit_usd"),
    budget({"limit_usd": 9_000_001}, "limit_usd"),
    budget({"limit_usd": 1e300}, "limit_usd"),
    budget({"limit_usd": "NaN"}, "limit_usd"),
    budget({"limit_usd": "Infinity"}, "limit_usd"),
    budget({"limit_usd": "much"}, "limit_usd"),
    budget({"limit_usd": True}, "limit_usd"),
    budget({"limit_usd": [5]}),
    budget({"limit_usd": 5, "window": "week"}, "window"),
    budget({"limit_usd": 5, "user_id": "x" * 129}, "user_id", id="a long user"),
    budget({"limit_usd": 5, "budget_id": "another"}, "budget_id"),
    Case("PUT", "/api/v1/budgets/Upper", {"limit_usd": 5}, mentions="budget_id"),
    Case("PUT", "/api/v1/budgets/a%20b", {"limit_usd": 5}, mentions="budget_id"),
    Case("PUT", f"/api/v1/budgets/{'x' * 65}", {"limit_usd": 5}, mentions="budget_id"),
]
TOOL_CASES = [
    tool(None, "name"),
    tool({"name": "Upper"}, "name"),
    tool({"name": "1st"}, "name"),
    tool({"name": "x" * 65}, "name", id="a name of 65 bytes"),
    tool({"name": "other"}, "name"),
    tool({"name": "calculator"}, status=409, code="CONFLICT", tool_name="calculator"),
    tool({"name": "read"}, status=409, code="CONFLICT", tool_name="read"),
    tool({"source": ""}, "source"),
    tool({"source": 5}, "source"),
    tool({"source": "x" * 262_145}, "source", id="a source of 256 KiB and a byte"),
    tool({"class_name": ""}, "class_name"),
    tool({"class_name": "Greeter()"}, "class_name"),
    tool({"input_schema": {"type": "string"}}, "input schema"),
    tool({"input_schema": {"type": 5}}, "input schema"),
    tool({"input_schema": []}),
    tool({"effect": "harmless"}, "effect"),
    tool({"timeout_seconds": 601}, "timeout_seconds"),
    tool({"timeout_seconds": "NaN"}, "timeout_seconds"),
    tool({"cache_ttl_seconds": -1}, "cache_ttl_seconds"),
    tool({"allowed_origins": ["api.example.com"]}, "origin"),
    tool({"allowed_origins": ["https://a.example"] * 33}, "allowed_origins", id="33 origins"),
]
POLICY_CASES = [
    limit({"window_seconds": 60}, "max_calls"),
    limit({"max_calls": 5}, "window_seconds"),
    limit({"max_calls": -1, "window_seconds": 60}, "max_calls"),
    limit({"max_calls": 1.5, "window_seconds": 60}, "max_calls"),
    limit({"max_calls": 2**31, "window_seconds": 60}, "max_calls"),
    limit({"max_calls": 5, "window_seconds": 0}, "window_seconds"),
    limit({"max_calls": 5, "window_seconds": 2_592_001}, "window_seconds"),
    limit({"max_calls": 5, "window_seconds": 60, "scope": "tool"}, "scope"),
    limit({"max_calls": 5, "window_seconds": 60, "tool_name": "another"}, "tool_name"),
    Case(
        *("PUT", "/api/v1/tools/a%20b/rate-limit", {"max_calls": 5, "window_seconds": 60}),
        mentions="tool_name",
    ),
    *(
        Case("POST", "/api/v1/allowed-domains", {"domain": domain}, mentions="domain")
        for domain in ("", "https://api.example.com", "api.example.com/x", "*", "a b")
    ),
    Case("POST", "/api/v1/allowed-domains", {"domain": "10.0.0.1"}, mentions="address"),
    Case("POST", "/api/v1/allowed-domains", {"domain": "ä.example"}, mentions="ASCII"),
]
CREDENTIAL_CASES = [
    credential({}, "secret"),
    credential({"secret": ""}, "secret"),
    credential({"secret": "a\nb"}, "secret"),
    credential({"secret": "x" * 16_385}, "secret", id="a secret of 16 KiB and a byte"),
    credential({"secret": "s", "header_name": "Host"}, "host"),
    credential({"secret": "s", "header_name": "x y"}, "header_name"),
    credential({"secret": "s", "header_prefix": "a\nb"}, "header_prefix"),
    credential({"secret": "s", "allowed_origins": ["https://a.example/path"]}, "origin"),
    credential({"secret": "s", "tools": ["a b"]}, "tools"),
    Case("PUT", "/api/v1/credentials/Upper", {"secret": "s"}, mentions="name"),
]
QUERY_CASES = [
    *(
        get(f"{path}?{query}", query.partition("=")[0])
        for path in (
            *("agents", "runs", "tools", "audit-events", "usage", "usage/entries", "budgets"),
            *("rate-limits", "allowed-domains", "credentials"),
        )
        for query in ("page_size=-1", "page_size=1001", "page_size=x", "page_size=99999999999")
    ),
    *(
        get(f"{path}?page_token={token}", "page_token")
        for path in (
            *("agents", "runs", "tools", "audit-events", "usage", "usage/entries", "budgets"),
            *("rate-limits", "allowed-domains", "credentials"),
        )
        for token in ("x", "%00", "AAAA", "x" * 600)
    ),
    get("agents/{agent_id}?version=-1", "version"),
    get("agents/{agent_id}?version=x", "version"),
    get("runs?state=resting", "state"),
    get("runs?agent_id=" + "x" * 129, "agent_id"),
    get("runs/{run_id}/events?after_sequence=-1", "after_sequence"),
    get("runs/{run_id}/events?after_sequence=x", "after_sequence"),
    get("usage?group_by=weather", "group_by"),
    get("usage?group_by=user&group_by=user", "group_by"),
    get("usage?start_time=yesterday", "start_time"),
    get("usage/entries?end_time=5", "end_time"),
    get("audit-events?tool_name=" + "x" * 129, "tool_name"),
]
NAME_CASES = [
    *(
        Case(route.method, path, route.body, status=status, code=code, id=kind)
        for route in ROUTES
        if route.missing
        for name, code, status, kind in [
            ("unknown", route.missing, 404, "unknown"),
            (str(uuid.UUID(int=0)), route.missing, 404, "a UUID"),
            ("%F0%9F%98%80", route.missing, 404, "an emoji"),
            ("a%2Fb", route.missing, 404, "with a slash"),
            ("x" * 600, "INVALID_ARGUMENT", 400, "too long"),
            ("%FF", "INVALID_ARGUMENT", 400, "no UTF-8"),
        ]
        if (path := route.path.format(**dict.fromkeys(PARAMETERS, name)))
    ),
    get("agents/{agent_id}?version=99", status=404, code="AGENT_NOT_FOUND"),
    get("tools/unknown", status=404, code="TOOL_NOT_FOUND", tool_name="unknown"),
    get(
        f"tools/calculator?version={'0' * 64}",
        status=404,
        code="TOOL_NOT_FOUND",
        tool_name="calculator",
    ),
    Case(
        *("DELETE", "/api/v1/tools/unknown"),
        status=404,
        code="TOOL_NOT_FOUND",
        tool_name="unknown",
    ),
    Case(
        *("DELETE", "/api/v1/tools/calculator"),
        status=400,
        code="FAILED_PRECONDITION",
        tool_name="calculator",
    ),
]
PATH_CASES = [
    Case("GET", path, status=404, code="NOT_FOUND")
    for path in ("/", "/api", "/api/v1/", "/api/v1/nothing", "/api/v2/agents", "/metrics", "/admin")
]


@pytest.fixture
def names(client: Client) -> dict[str, str]:
    agent_id = create_agent(client)
    return {"agent_id": agent_id, "run_id": execute(client, agent_id, "Hello!")["task_id"]}


@pytest.mark.parametrize(
    "case",
    [
        *(*AGENT_CASES, *RUN_CASES, *BUDGET_CASES, *TOOL_CASES, *POLICY_CASES, *CREDENTIAL_CASES),
        *(*QUERY_CASES, *NAME_CASES, *PATH_CASES),
    ],
    ids=str,
)
def test_it_is_refused(client: Client, names: dict[str, str], case: Case) -> None:
    path = case.path
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    answer = client.call(case.method, path, case.body)
    assert_is_error(answer, case.status, case.code, case.tool_name)
    assert case.mentions in answer.body["error"]


@pytest.mark.parametrize("kind", NOT_JSON)
@pytest.mark.parametrize("route", TAKE_BODIES, ids=str)
def test_a_body_that_is_no_json_object_is_refused(client: Client, route: Route, kind: str) -> None:
    path = route.path.format(**dict.fromkeys(PARAMETERS, "new"))
    answer = client.call(route.method, path, NOT_JSON[kind])
    assert_is_error(answer, 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("route", TAKE_BODIES, ids=str)
def test_a_body_that_is_too_large_is_refused(client: Client, route: Route) -> None:
    path = route.path.format(**dict.fromkeys(PARAMETERS, "new"))
    answer = client.call(route.method, path, {"name": "x" * 2 * MEBIBYTE})
    assert_is_error(answer, 413, "LIMIT_EXCEEDED")


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_query_parameter_that_there_is_not_is_refused(
    client: Client, names: dict[str, str], route: Route
) -> None:
    path = route.path.format(**dict.fromkeys(PARAMETERS, "new") | names)
    separator = "&" if "?" in path else "?"
    answer = client.call(route.method, f"{path}{separator}pagesize=5", route.body)
    assert_is_error(answer, 400, "INVALID_ARGUMENT")
    assert "pagesize" in answer.body["error"]


@pytest.mark.parametrize("path", PATHS)
def test_a_method_that_a_path_has_not_is_refused(client: Client, path: str) -> None:
    methods = {route.method for route in ROUTES if route.path.partition("?")[0] == path}
    concrete = path.format(**dict.fromkeys(PARAMETERS, "a") | {"rate_card_id": "a/b"})
    for method in set(ALL_METHODS) - methods:
        answer = client.call(method, concrete)
        assert answer.status == 405, (method, answer.content)
        assert answer.headers["allow"] == ", ".join(sorted(methods))
        if method != "HEAD":
            assert_is_error(answer, 405, "INVALID_ARGUMENT")


@pytest.mark.parametrize("action", RUNS)
def test_an_agent_that_is_switched_off_does_not_run(client: Client, action: str) -> None:
    agent_id = create_agent(client, is_active=False)
    answer = client.post(f"/api/v1/agents/{agent_id}/{action}", {"input": "Hello!"})
    assert_is_error(answer, 400, "AGENT_INACTIVE")
    assert client.get("/api/v1/runs").body["runs"] == []


@pytest.mark.parametrize("action", RUNS)
@pytest.mark.parametrize(
    "fields",
    [
        {"tools": {"telescope": True}},
        {"tools": {}, "custom_tools": {"telescope": {"class": "Telescope", "enabled": True}}},
    ],
    ids=["built-in", "custom"],
)
def test_an_agent_with_a_tool_that_there_is_not_does_not_run(
    client: Client, action: str, fields: dict[str, Any]
) -> None:
    agent_id = create_agent(client, **fields)
    answer = client.post(f"/api/v1/agents/{agent_id}/{action}", {"input": "Hello!"})
    assert_is_error(answer, 404, "TOOL_NOT_FOUND", tool_name="telescope")
    assert client.get("/api/v1/runs").body["runs"] == []
    # Its listing says so, and is no error.
    (tool,) = client.get(f"/api/v1/agents/{agent_id}/tools").body["tools"]
    assert (tool["name"], tool["enabled"]) == ("telescope", False)


def test_a_tool_that_is_switched_off_hinders_nobody(client: Client) -> None:
    agent_id = create_agent(client, tools={"telescope": False})
    assert execute(client, agent_id, "Hello!")["state"] == "completed"


def test_the_largest_input_runs(client: Client) -> None:
    text = "x" * (512 * KIBIBYTE)
    run = execute(client, create_agent(client), text)
    assert run["state"] == "completed"
    assert run["input"] == text


@pytest.mark.parametrize(
    "text",
    ["é 漢字 😀", "\u0000\u0001", 'quotes " and \\ and </script>', " ", "'; DROP TABLE runs"],
)
def test_an_odd_input_is_kept_as_it_is(client: Client, text: str) -> None:
    run = execute(client, create_agent(client), text)
    assert run["state"] == "completed"
    assert run["input"] == text
    assert client.get(f"/api/v1/runs/{run['task_id']}").body["input"] == text


def test_a_budget_cannot_become_another(client: Client) -> None:
    assert client.put("/api/v1/budgets/ours", {"limit_usd": 5}).status == 200
    for change in ({"window": "day"}, {"user_id": "ada"}):
        answer = client.put("/api/v1/budgets/ours", {"limit_usd": 5, **change})
        assert_is_error(answer, 400, "FAILED_PRECONDITION")


def test_json_to_a_grpc_path_is_refused(client: Client) -> None:
    answer = client.call(
        "POST",
        "/agent_executor.api.executor.v1.AgentService/GetAgent",
        {"agent_id": "a"},
        headers={"content-type": "application/json"},
    )
    assert_is_error(answer, 415, "INVALID_ARGUMENT")


def test_refusals_leave_no_stack_trace_in_the_log(
    platform: RunningPlatform, client: Client
) -> None:
    for case in (*AGENT_CASES, *BUDGET_CASES):
        client.call(case.method, case.path, case.body)
    assert "Traceback" not in platform.log

"""Who may not call: at every route the right status and the one shape of errors."""

from __future__ import annotations

import pytest

from tests.e2e.agents_and_runs import begun_conversation, create_agent
from tests.e2e.api_keys import create_api_key
from tests.e2e.approving import decided_run
from tests.e2e.bad_tokens import BAD_TOKENS
from tests.e2e.error_shape import assert_is_error
from tests.e2e.ledger_resources import LEDGER_NAMES, create_ledger_resources
from tests.e2e.routes import PERMISSIONS, ROUTES, Route
from tests.e2e.tool_runner_resources import (
    NAMES,
    TOOL_NAME,
    create_mcp_server,
    create_tool_runner_resources,
)
from tests.platforms import Answer, Client, RunningPlatform

CLOSED = [route for route in ROUTES if not route.is_open]


@pytest.fixture
def resources(client: Client, request: pytest.FixtureRequest) -> dict[str, str]:
    """The names of one resource of each kind, by their names in paths."""
    agent_id = create_agent(client)
    run_id, tool_call_id = decided_run(client)
    create_tool_runner_resources(client)
    if "mcp" in request.node.name:
        create_mcp_server(client)
    return {
        "agent_id": agent_id,
        "run_id": run_id,
        "tool_call_id": tool_call_id,
        "conversation_id": begun_conversation(client, agent_id),
        "api_key_id": create_api_key(client).key_id,
        **create_ledger_resources(client),
        **NAMES,
    }


def call(client: Client, route: Route, names: dict[str, str]) -> Answer:
    return client.call(route.method, route.path.format(**names), route.body)


def test_the_table_has_every_route(platform: RunningPlatform) -> None:
    paths = platform.client("").get("/openapi.json").body["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    # A rate card's id holds slashes, which its template says and the table need not.
    served = {(method, path.replace("=*/**", "")) for method, path in served}
    assert {(route.method, route.path.partition("?")[0]) for route in ROUTES} == served


@pytest.mark.parametrize("kind", BAD_TOKENS)
@pytest.mark.parametrize("route", CLOSED, ids=str)
def test_a_bad_token_is_refused(platform: RunningPlatform, route: Route, kind: str) -> None:
    make_token, status, code = BAD_TOKENS[kind]
    own = ("agent_id", "run_id", "tool_call_id", "conversation_id", "api_key_id")
    names = dict.fromkeys((*own, *LEDGER_NAMES, *NAMES), "anything")
    assert_is_error(call(platform.client(make_token(platform)), route, names), status, code)


@pytest.mark.parametrize("scheme", ["Basic", "bearer-ish", ""])
def test_only_bearer_tokens_are_taken(platform: RunningPlatform, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {platform.token()}".strip()}
    answer = platform.client("").call("GET", "/api/v1/agents", headers=headers)
    assert_is_error(answer, 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.permission], ids=str)
def test_a_caller_without_the_permission_is_refused(
    platform: RunningPlatform, organization: str, resources: dict[str, str], route: Route
) -> None:
    others = [permission for permission in PERMISSIONS if permission != route.permission]
    for permissions in ([], others):
        caller = platform.client(platform.token(organization, permissions=permissions))
        assert_is_error(call(caller, route, resources), 403, "PERMISSION_DENIED")


@pytest.mark.parametrize("route", CLOSED, ids=str)
def test_the_permission_is_all_that_is_needed(
    platform: RunningPlatform, organization: str, resources: dict[str, str], route: Route
) -> None:
    permissions = (route.permission,) if route.permission else ()
    caller = platform.client(platform.token(organization, user="admin", permissions=permissions))
    answer = call(caller, route, resources)
    assert answer.status == 200, answer.content


@pytest.mark.parametrize("route", [route for route in ROUTES if route.missing], ids=str)
def test_what_is_another_organizations_is_not_there(
    platform: RunningPlatform,
    client: Client,
    organization: str,
    resources: dict[str, str],
    route: Route,
) -> None:
    stranger = platform.client(platform.token(f"{organization}-other"))
    theirs = call(stranger, route, resources)
    assert_is_error(theirs, 404, route.missing)
    # And it is answered as what never was.
    unknown = call(client, route, dict.fromkeys(resources, "unknown"))
    assert_is_error(unknown, 404, route.missing)
    error = theirs.body["error"]
    for name, value in resources.items():
        if f"{{{name}}}" in route.path:
            error = error.replace(value, "unknown")
    assert error == unknown.body["error"]


def test_a_tool_of_another_organization_is_not_there(
    platform: RunningPlatform, client: Client, organization: str, resources: dict[str, str]
) -> None:
    stranger = platform.client(platform.token(f"{organization}-other"))
    path = f"/api/v1/tools/{TOOL_NAME}"
    version = client.get(path).body["version"]
    for answer in (
        stranger.get(path),
        stranger.get(f"{path}?version={version}"),
        stranger.delete(path),
    ):
        assert_is_error(answer, 404, "TOOL_NOT_FOUND", TOOL_NAME)
    names = [tool["name"] for tool in stranger.get("/api/v1/tools").body["tools"]]
    assert TOOL_NAME not in names
    assert client.get(path).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("agents", "runs", "audit-events", "usage/entries", "budgets"),
        *("rate-limits", "allowed-domains", "credentials", "approvals", "api-keys"),
        "mcp-servers",
    ],
)
def test_lists_hold_nothing_of_other_organizations(
    platform: RunningPlatform, organization: str, resources: dict[str, str], path: str
) -> None:
    stranger = platform.client(platform.token(f"{organization}-other"))
    body = stranger.get(f"/api/v1/{path}").body
    assert body.pop("next_page_token") == ""
    assert list(body.values()) == [[]]


def test_sums_hold_nothing_of_other_organizations(
    platform: RunningPlatform, organization: str, resources: dict[str, str]
) -> None:
    stranger = platform.client(platform.token(f"{organization}-other"))
    assert stranger.get("/api/v1/usage").body["total"]["cost_nano_usd"] == "0"


def test_budgets_of_one_name_are_two_in_two_organizations(
    platform: RunningPlatform, client: Client, organization: str, resources: dict[str, str]
) -> None:
    stranger = platform.client(platform.token(f"{organization}-other"))
    assert stranger.put("/api/v1/budgets/ours", {"limit_usd": 1}).status == 200
    assert stranger.delete("/api/v1/budgets/ours").status == 200
    assert client.get("/api/v1/budgets/ours").body["limit_usd"] == 5


def test_a_page_token_opens_nothing_of_another_organization(
    platform: RunningPlatform, client: Client, organization: str
) -> None:
    for _ in range(2):
        create_agent(client)
    token = client.get("/api/v1/agents?page_size=1").body["next_page_token"]
    stranger = platform.client(platform.token(f"{organization}-other"))
    answer = stranger.get(f"/api/v1/agents?page_token={token}")
    assert answer.status == 400 or answer.body["agents"] == []

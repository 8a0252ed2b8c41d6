"""Who may not call: at every route the right status and the one shape of errors."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.e2e.agents_and_runs import create_agent
from tests.e2e.bad_credentials import BAD_CREDENTIALS, ESSENTIAL, Shown, bearer
from tests.e2e.error_shape import assert_is_error
from tests.e2e.resources import UNKNOWN, create_resources
from tests.e2e.routes import OPEN_ROUTES, ROUTES, Route, routes_of
from tests.e2e.rpcs import PERMISSIONS, RPCS, hold_for_each, one_of_each_service
from tests.e2e.tool_runner_resources import TOOL_NAME
from tests.platforms import CALL_TIMEOUT_SECONDS, Answer, Client, RunningPlatform

# Whatever takes something away is called after what needs it.
ORDERED = sorted(ROUTES, key=lambda route: route.method == "DELETE")

Send = Callable[[Route, dict[str, str], Shown], Answer]


@pytest.fixture
def resources(client: Client) -> dict[str, str]:
    """The names of one resource of each kind, by their names in paths."""
    return create_resources(client)


@pytest.fixture
def send(platform: RunningPlatform) -> Iterator[Send]:
    """Calls routes over one connection; hundreds of calls cost little so."""
    with kept_alive(platform) as connection:

        def send(route: Route, names: dict[str, str], shown: Shown) -> Answer:
            body = route.content(names)
            path = route.path.format(**names)
            return exchange(connection, route.method, path, body, shown)

        yield send


@contextmanager
def kept_alive(platform: RunningPlatform) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", platform.http_port, timeout=CALL_TIMEOUT_SECONDS)
    try:
        yield connection
    finally:
        connection.close()


def exchange(connection: HTTPConnection, method: str, path: str, body: Any, shown: Shown) -> Answer:
    content = b"" if body is None else json.dumps(body).encode()
    connection.putrequest(method, path)
    for name, value in shown:
        text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        connection.putheader(name, text)
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(len(content)))
    connection.endheaders(content)
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


def test_the_table_has_every_route(platform: RunningPlatform) -> None:
    paths = platform.client("").get("/openapi.json").body["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    # A rate card's id holds slashes, which its template says and the table need not.
    served = {(method, path.replace("=*/**", "")) for method, path in served}
    ours = {(route.method, route.path.partition("?")[0]) for route in ROUTES}
    assert ours | OPEN_ROUTES == served


@pytest.mark.parametrize("kind", BAD_CREDENTIALS)
def test_bad_credentials_are_refused_at_every_route(
    platform: RunningPlatform, send: Send, kind: str
) -> None:
    bad = BAD_CREDENTIALS[kind]
    shown = bad.make(platform)

    def check(route: Route) -> None:
        answer = send(route, UNKNOWN, shown)
        assert_is_error(answer, bad.status, bad.code)
        # Nothing of what was shown is in the answer.
        assert not any(str(value)[-20:].encode() in answer.content for _, value in shown)

    some = [route for rpc in one_of_each_service(RPCS) for route in routes_of(rpc)]
    hold_for_each(ROUTES if kind in ESSENTIAL else some, check)


@pytest.mark.parametrize("name", ["access_token", "authorization", "token", "jwt"])
def test_a_token_in_a_query_does_not_count(platform: RunningPlatform, name: str) -> None:
    answer = platform.client("").get(f"/api/v1/agents?{name}={platform.token()}")
    assert_is_error(answer, 401, "UNAUTHENTICATED")


def test_only_the_headers_that_are_documented_count(platform: RunningPlatform) -> None:
    token = platform.token()
    with kept_alive(platform) as connection:
        for name in ("x-authorization", "proxy-authorization", "x-forwarded-authorization"):
            shown = ((name, f"Bearer {token}"),)
            answer = exchange(connection, "GET", "/api/v1/agents", None, shown)
            assert_is_error(answer, 401, "UNAUTHENTICATED")
        for shown in (
            (("cookie", f"agent_executor_session={token}"),),
            (("cookie", f"authorization=Bearer {token}"),),
        ):
            answer = exchange(connection, "GET", "/api/v1/agents", None, shown)
            assert_is_error(answer, 401, "UNAUTHENTICATED")


def test_a_caller_without_the_permission_is_refused(
    platform: RunningPlatform, organization: str, resources: dict[str, str], send: Send
) -> None:
    def check(route: Route) -> None:
        others = [permission for permission in PERMISSIONS if permission != route.permission]
        for permissions in ([], others):
            token = platform.token(organization, permissions=permissions)
            assert_is_error(send(route, resources, bearer(token)), 403, "PERMISSION_DENIED")

    hold_for_each((route for route in ROUTES if route.permission), check)


def test_the_permission_is_all_that_is_needed(
    platform: RunningPlatform, organization: str, resources: dict[str, str], send: Send
) -> None:
    def check(route: Route) -> None:
        permissions = [route.permission] if route.permission else []
        token = platform.token(organization, permissions=permissions)
        answer = send(route, resources, bearer(token))
        assert answer.status == 200, answer.content

    hold_for_each(ORDERED, check)


def test_what_is_another_organizations_is_not_there(
    platform: RunningPlatform, organization: str, resources: dict[str, str], send: Send
) -> None:
    stranger = bearer(platform.token(f"{organization}-other"))
    own = bearer(platform.token(organization))

    def check(route: Route) -> None:
        theirs = send(route, resources, stranger)
        assert_is_error(theirs, 404, route.missing)
        # And it is answered as what never was.
        unknown = send(route, dict.fromkeys(resources, "unknown"), own)
        assert_is_error(unknown, 404, route.missing)
        error = theirs.body["error"]
        for name, value in resources.items():
            if f"{{{name}}}" in route.path:
                error = error.replace(value, "unknown")
        assert error == unknown.body["error"]

    hold_for_each((route for route in ROUTES if route.missing), check)


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

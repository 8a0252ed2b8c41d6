"""The network of tools, and the secrets that go with their requests without their seeing them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from agent_executor.cli.otlp_receiver import OtlpReceiver
from tests.e2e.agents_and_runs import create_agent, execute, pages
from tests.e2e.custom_tools import (
    LOOPBACK_ADMITTED,
    NAME,
    call,
    call_source,
    create_custom_agent,
    source_of,
)
from tests.e2e.error_shape import assert_is_error
from tests.e2e.rpc import METHODS, channel_to
from tests.e2e.rpc import call as rpc_call
from tests.platforms import Client, RunningPlatform, running_platform, until
from tests.web_server import HOST, WebServer, running_web_server

# Nothing else on the platform has these letters in a row.
SECRET = 'xq7-"q/9f31c0de+5ecre7'
CREDENTIAL = "partner"
DENIED = "PERMISSION_DENIED"


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def platform(receiver: OtlpReceiver) -> Iterator[RunningPlatform]:
    """A platform that is traced, and whose tools may reach this machine."""
    environment: dict[str, Any] = {
        **LOOPBACK_ADMITTED,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
    }
    with running_platform(**environment) as running:
        yield running


@pytest.fixture
def web() -> Iterator[WebServer]:
    with running_web_server() as server:
        yield server


@pytest.fixture
def agent_id(client: Client) -> str:
    """An agent that may make requests itself."""
    return create_agent(client, tools={"http_request": True})


def allow(client: Client, domain: str = HOST) -> None:
    answer = client.post("/api/v1/allowed-domains", {"domain": domain})
    assert answer.status == 200, answer.content


def requesting(
    web: WebServer, path: str = "/", *, method: str = "GET", effect: str = "unsafe", more: str = ""
) -> str:
    """Returns the source of a tool that makes a request and returns what came of it."""
    request = f"self.http.request('{method}', '{web.origin}{path}'{more})"
    return source_of(f"return {request}", effect=effect)


def store_credential(client: Client, web: WebServer, **fields: Any) -> None:
    body = {"secret": SECRET, "allowed_origins": [web.origin], "tools": [NAME], **fields}
    answer = client.put(f"/api/v1/credentials/{CREDENTIAL}", body)
    assert answer.status == 200, answer.content
    assert SECRET not in answer.content.decode()


def assert_refused(result: dict[str, Any], code: str, words: str, web: WebServer) -> None:
    """Holds a tool result to be this refusal, before anything reached the server."""
    assert (result["success"], result["code"]) == (False, code), result
    assert words in result["error"]
    assert web.requests == []


class TestTheNetworkOfCustomTools:
    """Both the organization and the tool itself must have the destination on their lists."""

    def test_a_tool_reaches_an_origin_that_is_allowed_twice(
        self, client: Client, web: WebServer
    ) -> None:
        allow(client)
        source = requesting(web, "/data?x=1", more=", params={'y': 'two words'}")
        result = call_source(client, source, allowed_origins=[web.origin])
        assert result["success"], result
        assert result["result"]["status_code"] == 200
        assert result["result"]["json"]["path"] == "/data?x=1&y=two+words"
        assert [request.method for request in web.requests] == ["GET"]

    def test_the_organization_must_allow_the_domain(self, client: Client, web: WebServer) -> None:
        result = call_source(client, requesting(web), allowed_origins=[web.origin])
        assert_refused(result, DENIED, "not an allowed domain", web)

    def test_the_tool_must_name_the_origin(self, client: Client, web: WebServer) -> None:
        allow(client)
        for origins in ([], [f"http://{HOST}:{web.port - 1}"], [f"https://{HOST}:{web.port}"]):
            result = call_source(client, requesting(web), allowed_origins=origins)
            assert_refused(result, DENIED, "origin", web)

    def test_a_domain_that_is_taken_back_is_closed_at_once(
        self, client: Client, web: WebServer
    ) -> None:
        allow(client)
        assert call_source(client, requesting(web), allowed_origins=[web.origin])["success"]
        assert client.delete(f"/api/v1/allowed-domains/{HOST}").status == 200
        assert call(client, create_custom_agent(client))["code"] == DENIED
        assert len(web.requests) == 1

    def test_another_organization_s_list_opens_nothing(
        self, platform: RunningPlatform, client: Client, web: WebServer
    ) -> None:
        allow(platform.client(platform.token("neighbours")))
        result = call_source(client, requesting(web), allowed_origins=[web.origin])
        assert_refused(result, DENIED, "not an allowed domain", web)

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    def test_a_tool_that_only_reads_cannot_write(
        self, client: Client, web: WebServer, method: str
    ) -> None:
        allow(client)
        source = requesting(web, method=method, effect="read_only")
        result = call_source(client, source, allowed_origins=[web.origin])
        assert_refused(result, DENIED, "declared read_only", web)

    def test_a_post_has_its_body_and_a_key_of_its_own(self, client: Client, web: WebServer) -> None:
        allow(client)
        source = source_of(
            f"for n in (1, 2):\n    self.http.request('POST', '{web.origin}/', json={{'n': n}})"
        )
        assert call_source(client, source, allowed_origins=[web.origin])["success"]
        assert [json.loads(each.body) for each in web.requests] == [{"n": 1}, {"n": 2}]
        keys = {each.headers["idempotency-key"] for each in web.requests}
        assert len(keys) == 2

    def test_a_redirect_is_held_to_the_tool_s_origins_too(
        self, client: Client, web: WebServer
    ) -> None:
        allow(client)
        with running_web_server() as elsewhere:
            source = requesting(web, f"/redirect?{elsewhere.origin}/")
            result = call_source(client, source, allowed_origins=[web.origin])
            assert (result["success"], result["code"]) == (False, DENIED), result
            assert elsewhere.requests == []

    def test_a_tool_can_catch_a_refusal(self, client: Client, web: WebServer) -> None:
        body = (
            f"from agent_executor import AgentExecutorError\n"
            f"try:\n    self.http.request('GET', '{web.origin}')\n"
            f"except AgentExecutorError as error:\n    return [error.reason, str(error)]"
        )
        result = call_source(client, source_of(body), allowed_origins=[web.origin])
        assert result["success"]
        assert result["result"][0] == DENIED
        assert "not an allowed domain" in result["result"][1]


class TestCredentials:
    """The host attaches them; nobody else ever sees one."""

    def test_a_credential_is_attached_and_seen_by_nobody(
        self,
        platform: RunningPlatform,
        receiver: OtlpReceiver,
        client: Client,
        web: WebServer,
    ) -> None:
        allow(client)
        store_credential(client, web, header_name="x-api-key", header_prefix="Key ")
        # The server answers with the headers that it got, so the secret comes back as well.
        more = f", credential='{CREDENTIAL}'"
        result = call_source(client, requesting(web, more=more), allowed_origins=[web.origin])
        (request,) = web.requests
        assert request.headers["x-api-key"] == f"Key {SECRET}"
        assert result["success"], result
        assert result["result"]["json"]["headers"]["x-api-key"] == "Key **********"
        failing = source_of(
            f"answer = self.http.request('GET', '{web.origin}'{more})\n"
            f"raise ValueError(answer['body'])"
        )
        assert not call_source(client, failing, allowed_origins=[web.origin])["success"]
        listed = client.get("/api/v1/credentials").body["credentials"]
        assert [each["name"] for each in listed] == [CREDENTIAL]
        assert "secret" not in listed[0]
        run_id = client.get("/api/v1/runs").body["runs"][0]["id"]
        (event,) = client.get(f"/api/v1/audit-events?run_id={run_id}").body["audit_events"]
        until(
            lambda: any(
                span.trace_id == event["trace_id"] and span.name.startswith("execute_tool")
                for span in receiver.spans()
            )
        )
        told = [
            str(list(client.events(run_id))),
            str(list(pages(client, "/api/v1/runs", "runs"))),
            str(list(pages(client, "/api/v1/audit-events", "audit_events"))),
            str(receiver.spans()),
            platform.log,
        ]
        for text in told:
            assert_holds_no_secret(text.encode())
        for file in platform.data_dir.parent.rglob("*"):
            if file.is_file():
                assert_holds_no_secret(file.read_bytes())

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"tools": ["http_request"]}, "not for this tool"),
            ({"tools": []}, "not for this tool"),
            ({"allowed_origins": ["https://api.example.com"]}, "not for the origin"),
            ({"allowed_origins": []}, "not for the origin"),
        ],
    )
    def test_a_credential_goes_with_its_tools_to_its_origins_only(
        self, client: Client, web: WebServer, fields: dict[str, Any], words: str
    ) -> None:
        allow(client)
        store_credential(client, web, **fields)
        source = requesting(web, more=f", credential='{CREDENTIAL}'")
        result = call_source(client, source, allowed_origins=[web.origin])
        assert_refused(result, DENIED, words, web)

    def test_a_credential_of_another_organization_does_not_exist(
        self, platform: RunningPlatform, client: Client, web: WebServer
    ) -> None:
        allow(client)
        store_credential(platform.client(platform.token("neighbours")), web)
        source = requesting(web, more=f", credential='{CREDENTIAL}'")
        result = call_source(client, source, allowed_origins=[web.origin])
        assert_refused(result, "CREDENTIAL_NOT_FOUND", CREDENTIAL, web)

    def test_a_deleted_credential_is_not_sent_any_more(
        self, client: Client, web: WebServer
    ) -> None:
        allow(client)
        store_credential(client, web)
        source = requesting(web, more=f", credential='{CREDENTIAL}'")
        assert call_source(client, source, allowed_origins=[web.origin])["success"]
        path = f"/api/v1/credentials/{CREDENTIAL}"
        assert client.delete(path).status == 200
        assert_is_error(client.delete(path), 404, "CREDENTIAL_NOT_FOUND")
        assert call(client, create_custom_agent(client))["code"] == "CREDENTIAL_NOT_FOUND"
        assert len(web.requests) == 1

    def test_a_redirect_to_another_origin_gets_no_credential(
        self, client: Client, web: WebServer
    ) -> None:
        allow(client)
        store_credential(client, web)
        with running_web_server() as elsewhere:
            more = f", credential='{CREDENTIAL}'"
            source = requesting(web, f"/redirect?{elsewhere.origin}/", more=more)
            origins = [web.origin, elsewhere.origin]
            call_source(client, source, allowed_origins=origins)
            assert [SECRET in str(each.headers) for each in elsewhere.requests] in ([], [False])
            assert "authorization" in web.requests[0].headers

    def test_a_call_of_http_request_may_name_a_credential(
        self, platform: RunningPlatform, client: Client, web: WebServer
    ) -> None:
        allow(client)
        store_credential(client, web, tools=["http_request"])
        arguments = {"method": "GET", "url": f"{web.origin}/", "credential": CREDENTIAL}
        method = METHODS["ToolCallService/ExecuteToolCall"]
        request = method.request(
            tool_call_id=str(uuid.uuid4()),
            tool_name="http_request",
            arguments_json=json.dumps(arguments),
        )
        with channel_to(platform, method.process) as channel:
            (answer,) = rpc_call(channel, method, request, client.token)
        assert answer.success, answer
        assert web.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        assert_holds_no_secret(answer.SerializeToString())

    def test_a_credential_needs_its_permission(
        self, platform: RunningPlatform, web: WebServer
    ) -> None:
        caller = platform.client(platform.token("readers", permissions=["tool:*", "policy:admin"]))
        path = f"/api/v1/credentials/{CREDENTIAL}"
        assert_is_error(caller.put(path, {"secret": SECRET}), 403, DENIED)
        assert_is_error(caller.get("/api/v1/credentials"), 403, DENIED)
        assert_is_error(caller.delete(path), 403, DENIED)


def assert_holds_no_secret(content: bytes) -> None:
    """Holds bytes not to have the secret, in any of the usual forms."""
    escaped = json.dumps(SECRET)[1:-1]
    for form in (SECRET, escaped, json.dumps(escaped)[1:-1], quote(SECRET), SECRET.encode().hex()):
        assert form.encode() not in content


class TestHttpRequest:
    """The built-in tool, as an agent uses it."""

    def test_an_agent_gets_a_page(self, client: Client, web: WebServer, agent_id: str) -> None:
        allow(client)
        run = execute(client, agent_id, f"GET {web.origin}/weather")
        (result,) = run["output"]["tool_results"]
        assert (result["tool_name"], result["success"]) == ("http_request", True), result
        assert result["result"]["status_code"] == 200
        assert "answered 200" in run["output"]["response"]
        assert [each.path for each in web.requests] == ["/weather"]
        assert "idempotency-key" not in web.requests[0].headers

    def test_an_agent_posts(self, client: Client, web: WebServer, agent_id: str) -> None:
        allow(client)
        result = call(client, agent_id, f"POST {web.origin}/orders")
        assert result["success"], result
        (request,) = web.requests
        assert request.method == "POST"
        assert len(request.headers["idempotency-key"]) == 64

    def test_a_domain_that_is_not_allowed_is_refused(
        self, client: Client, web: WebServer, agent_id: str
    ) -> None:
        allow(client, "other.example.com")
        result = call(client, agent_id, f"GET {web.origin}/")
        assert_refused(result, DENIED, "not an allowed domain", web)
        assert "/api/v1/allowed-domains" in result["error"]

    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0x7f.1", "2130706433", "127.1"])
    def test_an_address_is_no_allowed_domain(
        self, client: Client, web: WebServer, agent_id: str, host: str
    ) -> None:
        allow(client)
        result = call(client, agent_id, f"GET http://{host}:{web.port}/")
        assert not result["success"]
        assert result["code"] in {DENIED, "INVALID_ARGUMENT"}
        assert web.requests == []

    def test_a_redirect_to_a_domain_that_is_not_allowed_is_refused(
        self, client: Client, web: WebServer, agent_id: str
    ) -> None:
        allow(client)
        url = f"{web.origin}/redirect?http://127.0.0.1:{web.port}/"
        result = call(client, agent_id, f"GET {url}")
        assert (result["success"], result["code"]) == (False, DENIED), result
        assert len(web.requests) == 1


def test_what_is_internal_is_refused_unless_the_operator_admits_it(web: WebServer) -> None:
    with running_platform() as platform:
        client = platform.client()
        allow(client)
        agent_id = create_agent(client, tools={"http_request": True})
        for url in (f"{web.origin}/", f"https://{HOST}:{web.port}/", f"https://{HOST}/"):
            result = call(client, agent_id, f"GET {url}")
            assert (result["success"], result["code"]) == (False, DENIED), result
        result = call_source(client, requesting(web), allowed_origins=[web.origin])
        assert_refused(result, DENIED, "", web)

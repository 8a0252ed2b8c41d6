"""How often a caller may call, and what else the gateway does by its settings."""

from __future__ import annotations

import gzip
import itertools
import json
import time
from collections.abc import Iterator

import grpc
import pytest

from agent_executor.api.executor.v1 import agent_service_pb2, agent_service_pb2_grpc
from agent_executor.cli.issuer import TokenClaims
from tests.integration.gateway.running_gateway import Answer, RunningGateway, running_gateway
from tests.integration.gateway.test_error_shape import assert_is_error

AGENT = "/api/v1/agents/a"
BURST = 5
ORGANIZATION_BURST = 8
ORIGIN = "https://app.example"
PREFLIGHT = {"origin": ORIGIN, "access-control-request-method": "POST"}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway on which a burst is short and comes again once per second at most."""
    with running_gateway(
        tmp_path_factory.mktemp("limited"),
        rate_limit_per_caller=1,
        rate_limit_per_caller_burst=BURST,
        rate_limit_per_organization=1,
        rate_limit_per_organization_burst=ORGANIZATION_BURST,
        cors_origins=(ORIGIN,),
    ) as running:
        yield running


def call(gateway: RunningGateway, organization: str, user: str) -> Answer:
    claims = TokenClaims(organization=organization, user=user)
    return gateway.call("GET", AGENT, token=gateway.token(claims))


def calls_until_refused(gateway: RunningGateway, organization: str, user: str) -> int:
    for count in range(10 * ORGANIZATION_BURST):
        if call(gateway, organization, user).status == 429:
            return count
    raise AssertionError("nothing was refused")


def test_a_caller_has_a_limit_of_its_own(limited: RunningGateway) -> None:
    begun = time.monotonic()
    passed = calls_until_refused(limited, "one", "a")
    # What is filled in meanwhile lets more through.
    assert BURST <= passed <= BURST + (time.monotonic() - begun) + 1
    answer = call(limited, "one", "a")
    assert_is_error(answer, 429, "RATE_LIMIT_EXCEEDED", "More requests came")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-ratelimit-remaining"] == "0"
    # Another of the organization may still call, and the same name elsewhere is somebody else.
    assert call(limited, "one", "b").status == 200
    assert call(limited, "two", "a").status == 200


def test_an_organization_has_a_limit_of_its_own(limited: RunningGateway) -> None:
    for number in itertools.count():
        if call(limited, "three", f"user-{number}").status == 429:
            break
    assert number >= ORGANIZATION_BURST


def test_answers_say_how_much_is_left(limited: RunningGateway) -> None:
    answer = call(limited, "four", "a")
    assert answer.headers["x-ratelimit-limit"].startswith(str(BURST))
    assert answer.headers["x-ratelimit-remaining"] == str(BURST - 1)


def test_grpc_callers_are_told_in_their_way(limited: RunningGateway) -> None:
    token = limited.token(TokenClaims(organization="five"))
    metadata = (("authorization", f"Bearer {token}"),)
    with limited.channel() as channel:
        stub = agent_service_pb2_grpc.AgentServiceStub(channel)
        request = agent_service_pb2.GetAgentRequest(agent_id="a")
        calls = [stub.GetAgent.future(request, metadata=metadata) for _ in range(10 * BURST)]
        codes = {call.code() for call in calls}
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_nobody_claims_to_be_someone_else(limited: RunningGateway) -> None:
    calls_until_refused(limited, "six", "a")
    token = limited.token(TokenClaims(organization="six", user="a"))
    headers = {"org": "seven", "sub": "b", "x-organization": "seven", "x-forwarded-for": "1.2.3.4"}
    # Fewer calls than another caller would have.
    calls = [limited.call("GET", AGENT, token=token, headers=headers) for _ in range(BURST - 1)]
    assert 429 in {answer.status for answer in calls}


def test_health_has_no_limit(limited: RunningGateway) -> None:
    statuses = {limited.call("GET", "/healthz", token="").status for _ in range(3 * BURST)}
    assert statuses == {200}


def test_without_a_token_nobody_uses_up_a_limit(limited: RunningGateway) -> None:
    for _ in range(3 * BURST):
        assert limited.call("GET", AGENT, token="nonsense").status == 401
    assert call(limited, "eight", "a").status == 200


def test_pages_of_an_allowed_origin_may_call(limited: RunningGateway) -> None:
    preflight = limited.call("OPTIONS", AGENT, token="", headers=PREFLIGHT)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in preflight.headers

    token = limited.token(TokenClaims(organization="nine"))
    answer = limited.call("GET", AGENT, token=token, headers={"origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    # What is refused must be readable, too.
    for bearer, path in (("", AGENT), (token, "/api/v1/agents/rich")):
        refused = limited.call("GET", path, token=bearer, headers={"origin": ORIGIN})
        assert refused.status >= 400
        assert refused.headers["access-control-allow-origin"] == ORIGIN


def test_pages_of_other_origins_are_given_nothing(limited: RunningGateway) -> None:
    headers = {**PREFLIGHT, "origin": "https://evil.example"}
    preflight = limited.call("OPTIONS", AGENT, token="", headers=headers)
    assert "access-control-allow-origin" not in preflight.headers
    # Nor is it passed on to a service.
    token = limited.token(TokenClaims(organization="ten"))
    answer = limited.call("OPTIONS", AGENT, token=token, headers=headers)
    assert "access-control-allow-origin" not in answer.headers
    assert "server" in answer.headers
    assert "grpc-status" not in answer.headers


def test_without_the_setting_no_origin_is_allowed(gateway: RunningGateway) -> None:
    assert gateway.call("OPTIONS", AGENT, token="", headers=PREFLIGHT).status == 401
    refused = gateway.call("OPTIONS", AGENT, headers=PREFLIGHT)
    assert_is_error(refused, 405, "INVALID_ARGUMENT", "allow")
    answer = gateway.call("GET", AGENT, headers={"origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_grpc_web_is_spoken(limited: RunningGateway) -> None:
    request = agent_service_pb2.GetAgentRequest(agent_id="a").SerializeToString()
    token = limited.token(TokenClaims(organization="eleven"))
    answer = limited.call(
        "POST",
        "/agent_executor.api.executor.v1.AgentService/GetAgent",
        b"\0" + len(request).to_bytes(4, "big") + request,
        token=token,
        headers={"content-type": "application/grpc-web+proto", "origin": ORIGIN},
    )
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/grpc-web+proto"
    assert b"grpc-status:0" in answer.content
    assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_large_answers_are_compressed_for_who_accepts_it(gateway: RunningGateway) -> None:
    accepting = {"accept-encoding": "gzip"}
    answer = gateway.call("GET", "/api/v1/agents/large", headers=accepting)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.content))["description"]) == 3_000_000
    assert len(answer.content) < 100_000
    assert "content-encoding" not in gateway.call("GET", "/api/v1/agents/large").headers
    assert "content-encoding" not in gateway.call("GET", AGENT, headers=accepting).headers


def test_streams_and_errors_are_readable_whatever_is_accepted(gateway: RunningGateway) -> None:
    accepting = {"accept-encoding": "gzip"}
    stream = gateway.call(
        "POST", "/api/v1/agents/a/execute/stream", {"input": "large"}, headers=accepting
    )
    assert stream.headers["content-type"] == "text/event-stream"
    assert "content-encoding" not in stream.headers
    # Long as JSON, in which each of these has six characters, but not on its way to the gateway.
    long_message = "\x01" * 1000
    refused = gateway.call(
        "GET", f"/api/v1/agents/say-{long_message.encode().hex()}", headers=accepting
    )
    assert refused.status == 429
    body = json.loads(gzip.decompress(refused.content))
    assert body["error"] == long_message


@pytest.mark.parametrize("path", [AGENT, "/api/v1/agents/rich", "/nowhere", "/healthz"])
def test_a_request_keeps_its_id(gateway: RunningGateway, path: str) -> None:
    answer = gateway.call("GET", path, headers={"x-request-id": "my id/7"})
    assert answer.headers.get_all("x-request-id") == ["my id/7"]
    assert gateway.call("GET", path, token="").headers["x-request-id"]
    metadata = gateway.call(
        "GET", "/api/v1/agents/metadata", headers={"x-request-id": "my id/7"}
    ).body["description"]
    assert json.loads(metadata)["x-request-id"] == "my id/7"


def test_head_and_options_say_which_methods_there_are(gateway: RunningGateway) -> None:
    head = gateway.call("HEAD", AGENT)
    assert head.status == 405
    assert head.content == b""
    assert head.headers["allow"] == "DELETE, GET, PATCH"
    options = gateway.call("OPTIONS", AGENT)
    assert_is_error(options, 405, "INVALID_ARGUMENT", "allow")


@pytest.mark.parametrize("value", ["nonsense", "-1S", "99999999999S", ""])
def test_a_deadline_that_is_none_is_refused(gateway: RunningGateway, value: str) -> None:
    answer = gateway.call("GET", AGENT, headers={"grpc-timeout": value})
    assert_is_error(answer, 400, "INVALID_ARGUMENT", "grpc-timeout")

"""Which requests the gateway asks the executor about, what it tells of them, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import grpc
import pytest

from agent_executor.api.executor.v1 import agent_service_pb2, agent_service_pb2_grpc
from tests.integration.gateway.running_gateway import Answer, RunningGateway

COOKIE = "agent_executor_session"


def call(gateway: RunningGateway, headers: Mapping[str, str], path: str = "metadata") -> Answer:
    return gateway.call("GET", f"/api/v1/agents/{path}", headers=headers, token="")


def asked(gateway: RunningGateway, headers: Mapping[str, str]) -> dict[str, str]:
    """Returns what the executor was told of a request."""
    answer = call(gateway, headers)
    assert (answer.status, answer.body["code"]) == (401, "UNAUTHENTICATED"), answer.content
    told: dict[str, str] = json.loads(answer.body["error"])
    return told


def metadata(gateway: RunningGateway, headers: Mapping[str, str]) -> dict[str, str]:
    """Returns what the service got."""
    answer = call(gateway, headers)
    assert answer.status == 200, answer.content
    got: dict[str, str] = json.loads(answer.body["description"])
    return got


def checks(gateway: RunningGateway) -> int:
    stats = gateway.admin("/stats?filter=ext_authz.api_keys.(ok|denied|error)$").content.decode()
    return sum(int(line.rpartition(": ")[2]) for line in stats.splitlines())


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_a_key_is_replaced_by_a_token(gateway: RunningGateway, scheme: str) -> None:
    token = gateway.token()
    got = metadata(gateway, {"authorization": f"{scheme} aek_{token}"})
    assert got["authorization"] == f"Bearer {token}"


def test_a_cookie_is_replaced_by_a_token(gateway: RunningGateway) -> None:
    token = gateway.token()
    got = metadata(gateway, {"cookie": f"a=b; {COOKIE}=aek_{token}; c=d"})
    assert got["authorization"] == f"Bearer {token}"
    assert "cookie" not in got


def test_a_callers_baggage_ends_here(gateway: RunningGateway) -> None:
    got = metadata(
        gateway,
        {"authorization": f"Bearer {gateway.token()}", "baggage": "agent_executor.run.id=1"},
    )
    assert "baggage" not in got


def test_a_token_is_not_asked_about(gateway: RunningGateway) -> None:
    before, token = checks(gateway), gateway.token()
    for cookie in ({}, {"cookie": f"{COOKIE}=aek_what"}, {"cookie": "other=aek_what"}):
        got = metadata(gateway, {"authorization": f"Bearer {token}", **cookie})
        assert got["authorization"] == f"Bearer {token}"
        assert "cookie" not in got
    assert checks(gateway) == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "other=aek_what"},
        {"cookie": f"x{COOKIE}=aek_what"},
        {"authorization": "Basic aek_what"},
        {"authorization": "Bearer xaek_what"},
        # The header counts, and the cookie beside it does not.
        {"authorization": "Bearer nothing", "cookie": f"{COOKIE}=aek_what"},
        {"x-agent-executor-shown": "session"},
    ],
)
def test_what_is_no_key_is_not_asked_about_and_not_let_in(
    gateway: RunningGateway, headers: dict[str, str]
) -> None:
    before = checks(gateway)
    assert call(gateway, headers).status == 401
    assert checks(gateway) == before


def test_a_header_that_is_empty_is_one_too(gateway: RunningGateway) -> None:
    told = asked(gateway, {"authorization": "", "cookie": f"{COOKIE}=aek_what"})
    assert told["authorization"] == ""


def test_the_executor_is_told_what_it_needs_and_no_more(gateway: RunningGateway) -> None:
    told = asked(
        gateway,
        {
            "cookie": f"{COOKIE}=aek_what",
            "origin": "http://other.example",
            "sec-fetch-site": "cross-site",
            "x-envoy-external-address": "192.0.2.1",
            "x-forwarded-for": "192.0.2.1",
            "x-secret": "for the service",
        },
    )
    for name in (":authority", ":method", ":path", ":scheme"):
        told.pop(name, None)
    assert told == {
        "method": "GET",
        "host": f"127.0.0.1:{gateway.port}",
        "cookie": f"{COOKIE}=aek_what",
        "origin": "http://other.example",
        "sec-fetch-site": "cross-site",
        # Whatever the caller claims.
        "x-envoy-external-address": "127.0.0.1",
    }


def test_who_showed_too_many_wrong_keys_is_told_so_and_for_how_long(
    gateway: RunningGateway,
) -> None:
    answer = call(gateway, {"authorization": "Bearer aek_many"})
    assert (answer.status, answer.body["code"]) == (429, "LIMIT_EXCEEDED"), answer.content
    assert (answer.body["error"], answer.headers["retry-after"]) == ("Too many.", "7")


@pytest.mark.parametrize("kind", ["broken", "slow"])
def test_nobody_is_let_in_when_the_executor_cannot_be_asked(
    gateway: RunningGateway, kind: str
) -> None:
    answer = call(gateway, {"authorization": f"Bearer aek_{kind}"})
    assert (answer.status, answer.body["code"]) == (503, "UNAVAILABLE")
    assert answer.body.keys() == {"success", "error", "tool_name", "code", "timestamp"}
    assert b"secret" not in answer.content


def test_a_token_of_the_executor_is_verified_like_any_other(gateway: RunningGateway) -> None:
    answer = call(gateway, {"authorization": "Bearer aek_no.real.token"})
    assert (answer.status, answer.body["code"]) == (401, "UNAUTHENTICATED")


def test_native_calls_show_keys_too(gateway: RunningGateway) -> None:
    def get_agent(*shown: tuple[str, str]) -> Any:
        with gateway.channel() as channel:
            stub = agent_service_pb2_grpc.AgentServiceStub(channel)
            request = agent_service_pb2.GetAgentRequest(agent_id="metadata")
            return stub.GetAgent(request, metadata=shown, timeout=60)

    token = gateway.token()
    agent = get_agent(("authorization", f"Bearer aek_{token}"))
    assert json.loads(agent.description)["authorization"] == f"Bearer {token}"
    for kind, code in (("what", "UNAUTHENTICATED"), ("broken", "UNAVAILABLE")):
        with pytest.raises(grpc.RpcError) as caught:
            get_agent(("authorization", f"Bearer aek_{kind}"))
        assert caught.value.code().name == code


def test_what_is_open_to_all_is_so_with_a_dead_session_too(gateway: RunningGateway) -> None:
    before = checks(gateway)
    headers = {"cookie": f"{COOKIE}=aek_what"}
    for path in ("/healthz", "/openapi.json"):
        assert gateway.call("GET", path, headers=headers, token="").status == 200
    # The sample has no such service, which it could only say if it was asked.
    answer = gateway.call("POST", "/api/v1/token", {"api_key": "x"}, headers=headers, token="")
    assert answer.status in {404, 501}
    assert checks(gateway) == before

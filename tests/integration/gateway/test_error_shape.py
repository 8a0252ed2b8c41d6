"""Every error that leaves the gateway has the same shape, whoever made it."""

from __future__ import annotations

import datetime as dt
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_executor.api.error.v1.error_pb2 import ErrorReason
from agent_executor.cli.issuer import TokenClaims, issue_token, new_private_key
from tests.integration.gateway.running_gateway import Answer, RunningGateway
from tests.integration.gateway.upstream import HARD_MESSAGE

MEBIBYTE = 1024 * 1024
CODES = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name}
JSON = {"content-type": "application/json"}


def assert_is_error(answer: Answer, status: int, code: str, error: str) -> None:
    assert answer.status == status, answer.content
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.body.keys() == {"success", "error", "tool_name", "code", "timestamp"}
    assert answer.body["success"] is False
    assert answer.body["code"] == code
    assert code in CODES
    assert error in answer.body["error"]
    timestamp = dt.datetime.fromisoformat(answer.body["timestamp"])
    assert timestamp.tzinfo is not None


@dataclass(frozen=True)
class Case:
    name: str
    request: tuple[Any, ...]
    status: int
    code: str
    error: str
    headers: Mapping[str, str] = field(default_factory=dict)


AGENT = "/api/v1/agents/{}"
EXECUTE = "/api/v1/agents/a/execute"
CASES = [
    # Envoy's own.
    Case("unknown path", ("GET", "/api/v2/agents"), 404, "NOT_FOUND", "no such route"),
    Case("root", ("GET", "/"), 404, "NOT_FOUND", "no such route"),
    Case("NUL", ("GET", "/api/v1/agents/a%00b"), 400, "INVALID_ARGUMENT", "a NUL character"),
    Case("fragment", ("GET", "/api/v1/agents#a"), 400, "INVALID_ARGUMENT", "holds a `#`"),
    Case(
        "another protocol",
        ("GET", "/api/v1/agents"),
        *(400, "INVALID_ARGUMENT", "Only GET /api/v1/monitor"),
        {"connection": "upgrade", "upgrade": "websocket"},
    ),
    Case("no JSON", ("POST", "/api/v1/agents", '{"name": '), 400, "INVALID_ARGUMENT", "not JSON"),
    Case("wrong type", ("POST", "/api/v1/agents", {"name": 3}), 400, "INVALID_ARGUMENT", "name"),
    Case("array", ("POST", "/api/v1/agents", [1]), 400, "INVALID_ARGUMENT", "not a JSON object"),
    Case("unknown query", ("GET", "/api/v1/agents?size=1"), 400, "INVALID_ARGUMENT", "size"),
    Case("bad query", ("GET", "/api/v1/agents?page_size=x"), 400, "INVALID_ARGUMENT", "page_size"),
    Case(
        "body against path",
        ("POST", EXECUTE, {"agent_id": "b", "input": "x"}),
        *(400, "INVALID_ARGUMENT", "agent_id"),
    ),
    Case(
        "large body",
        ("POST", "/api/v1/agents", {"name": "x" * 2 * MEBIBYTE}),
        *(413, "LIMIT_EXCEEDED", "1114112 bytes"),
    ),
    Case(
        "JSON to a gRPC path",
        ("POST", "/agent_executor.api.executor.v1.AgentService/GetAgent", {}),
        *(415, "INVALID_ARGUMENT", "gRPC"),
        headers=JSON,
    ),
    Case(
        "large headers",
        ("GET", "/api/v1/agents"),
        *(431, "LIMIT_EXCEEDED", "headers"),
        headers={"x-large": "x" * 70_000},
    ),
    # The services'.
    Case("rich", ("GET", AGENT.format("rich")), 429, "RATE_LIMIT_EXCEEDED", HARD_MESSAGE),
    Case(
        "rich, after headers",
        ("GET", AGENT.format("rich-after-headers")),
        *(429, "RATE_LIMIT_EXCEEDED", HARD_MESSAGE),
    ),
    Case(
        "rich, before the first message of a stream",
        ("GET", "/api/v1/runs/rich/events"),
        *(429, "RATE_LIMIT_EXCEEDED", HARD_MESSAGE),
    ),
    Case("without a body", ("GET", AGENT.format("no-body")), 429, "LIMIT_EXCEEDED", HARD_MESSAGE),
    Case("without details", ("GET", AGENT.format("bare")), 404, "NOT_FOUND", 'no "bare"'),
    Case("a bug", ("GET", AGENT.format("bug")), 500, "INTERNAL", "Something broke"),
    Case("no implementation", ("PATCH", AGENT.format("a"), {}), 501, "NOT_FOUND", ""),
    Case(
        "too slow",
        ("GET", AGENT.format("slow")),
        *(504, "DEADLINE_EXCEEDED", ""),
        headers={"grpc-timeout": "100m"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_errors_have_one_shape(gateway: RunningGateway, case: Case) -> None:
    answer = gateway.call(*case.request, headers=case.headers)
    assert_is_error(answer, case.status, case.code, case.error)
    assert "grpc-status" not in answer.headers


def test_the_text_of_an_exception_does_not_leave(gateway: RunningGateway) -> None:
    assert b"secret" not in gateway.call("GET", AGENT.format("bug")).content


@given(message=st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
@settings(max_examples=100, deadline=None)
@example(message='"}')
@example(message='\\"{')
@example(
    message='{"@type":"type.googleapis.com/agent_executor.api.error.v1.ErrorBody","error":"x"}'
)
def test_any_message_arrives_as_it_was_sent(gateway: RunningGateway, message: str) -> None:
    answer = gateway.call("GET", AGENT.format(f"say-{message.encode().hex()}"))
    assert_is_error(answer, 429, "RATE_LIMIT_EXCEEDED", message)
    assert answer.body["error"] == message


def test_a_service_says_which_tool_and_when_to_try_again(gateway: RunningGateway) -> None:
    answer = gateway.call("GET", AGENT.format("rich"))
    assert answer.body["tool_name"] == "calculator"
    assert answer.body["timestamp"] == "2026-02-23T10:00:00Z"
    assert answer.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/api/v1/agents", "GET, POST"),
        ("POST", "/api/v1/agents/a", "DELETE, GET, PATCH"),
        ("GET", "/api/v1/agents/a/execute", "POST"),
        ("HEAD", "/api/v1/agents", "GET, POST"),
        ("OPTIONS", "/api/v1/usage/entries", "GET, POST"),
        ("POST", "/healthz", "GET"),
        ("DELETE", "/openapi.json", "GET"),
    ],
)
def test_a_wrong_method_is_told_which_are_right(
    gateway: RunningGateway, method: str, path: str, allow: str
) -> None:
    answer = gateway.call(method, path)
    assert answer.status == 405
    assert answer.headers["allow"] == allow
    if method != "HEAD":
        assert_is_error(answer, 405, "INVALID_ARGUMENT", "allow")


def test_a_large_body_without_a_length_is_refused(gateway: RunningGateway) -> None:
    chunks = (b'{"name":"' if index == 0 else b"x" * 65536 for index in range(20))
    answer = gateway.call(
        "POST", "/api/v1/agents", chunks, headers={"transfer-encoding": "chunked"}
    )
    assert_is_error(answer, 413, "LIMIT_EXCEEDED", "1114112 bytes")


def test_a_mebibyte_of_input_is_let_through(gateway: RunningGateway) -> None:
    answer = gateway.call("POST", "/api/v1/agents", {"instructions": "x" * MEBIBYTE})
    assert answer.status == 200
    assert len(answer.body["instructions"]) == MEBIBYTE


@pytest.mark.parametrize("request_line", [b"GARBAGE", b"GET / HTTP/1.1", b"GET /\x00 HTTP/1.1"])
def test_what_is_no_http_is_an_error_too(gateway: RunningGateway, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(request_line + b"\r\n\r\n")
        content = b"".join(iter(lambda: connection.recv(65536), b""))
    assert content.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'"success":false' in content
    assert b'"code":"INVALID_ARGUMENT"' in content


class TestTokens:
    def test_none(self, gateway: RunningGateway) -> None:
        answer = gateway.call("GET", "/api/v1/agents", token="")
        assert_is_error(answer, 401, "UNAUTHENTICATED", "missing")

    def test_none_for_an_unknown_path(self, gateway: RunningGateway) -> None:
        assert_is_error(gateway.call("GET", "/nope", token=""), 401, "UNAUTHENTICATED", "missing")

    def test_no_token_at_all(self, gateway: RunningGateway) -> None:
        answer = gateway.call("GET", "/api/v1/agents", token="abc")
        assert_is_error(answer, 401, "UNAUTHENTICATED", "")

    def test_in_the_query(self, gateway: RunningGateway) -> None:
        path = f"/api/v1/agents?access_token={gateway.token()}"
        assert_is_error(gateway.call("GET", path, token=""), 401, "UNAUTHENTICATED", "missing")

    def test_expired(self, gateway: RunningGateway) -> None:
        token = gateway.token(TokenClaims(ttl_seconds=60), now=time.time() - 120)
        answer = gateway.call("GET", "/api/v1/agents", token=token)
        assert_is_error(answer, 401, "UNAUTHENTICATED", "expired")

    def test_of_another_key(self, gateway: RunningGateway) -> None:
        token = issue_token(new_private_key(), TokenClaims())
        answer = gateway.call("GET", "/api/v1/agents", token=token)
        assert_is_error(answer, 401, "UNAUTHENTICATED", "")

    @pytest.mark.parametrize(
        ("change", "status", "code"),
        [
            ({"aud": "another"}, 403, "PERMISSION_DENIED"),
            ({"iss": "another"}, 401, "UNAUTHENTICATED"),
            ({"exp": None}, 401, "UNAUTHENTICATED"),
        ],
    )
    def test_with_a_wrong_claim(
        self, gateway: RunningGateway, change: dict[str, Any], status: int, code: str
    ) -> None:
        key = gateway.keys.issuer.read_bytes()
        good = gateway.token()
        claims = jwt.decode(good, options={"verify_signature": False}) | change
        claims = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode(
            claims, key, algorithm="ES256", headers={"kid": jwt.get_unverified_header(good)["kid"]}
        )
        answer = gateway.call("GET", AGENT.format("a"), token=token)
        assert_is_error(answer, status, code, "")

    def test_that_is_not_signed(self, gateway: RunningGateway) -> None:
        claims = jwt.decode(gateway.token(), options={"verify_signature": False})
        answer = gateway.call("GET", AGENT.format("a"), token=jwt.encode(claims, "", "none"))
        assert_is_error(answer, 401, "UNAUTHENTICATED", "")

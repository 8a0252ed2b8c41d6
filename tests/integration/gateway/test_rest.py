"""What REST callers get when all is well."""

from __future__ import annotations

import json

import pytest

from agent_executor.cli.gateway_files import gateway_files
from tests.integration.gateway.running_gateway import RunningGateway


def metadata_of(gateway: RunningGateway, headers: dict[str, str]) -> dict[str, str]:
    """What the service is told of a call with these headers."""
    answer = gateway.call("GET", "/api/v1/agents/metadata", headers=headers)
    metadata: dict[str, str] = json.loads(answer.body["description"])
    return metadata


def test_answers_are_bare_with_every_field_and_proto_names(gateway: RunningGateway) -> None:
    answer = gateway.call("POST", "/api/v1/agents/a/execute", {"input": "x"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body["agent_id"] == "a"
    assert answer.body["tokens_used"] == 7
    assert answer.body["cost_usd"] == 0
    assert "grpc-status" not in answer.headers
    assert "grpc-message" not in answer.headers


def test_large_answers_arrive(gateway: RunningGateway) -> None:
    answer = gateway.call("GET", "/api/v1/agents/large")
    assert len(answer.body["description"]) == 3_000_000


def test_a_stream_is_server_sent_events(gateway: RunningGateway) -> None:
    answer = gateway.call("GET", "/api/v1/runs/r/events?after_sequence=0")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    data = [line for line in answer.content.splitlines() if line.startswith(b"data: ")]
    assert [json.loads(line.removeprefix(b"data: "))["sequence"] for line in data] == [1, 2]


def test_health_needs_no_token(gateway: RunningGateway) -> None:
    assert gateway.call("GET", "/healthz", token="").status == 200


def test_openapi_needs_no_token(gateway: RunningGateway) -> None:
    answer = gateway.call("GET", "/openapi.json", token="")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == json.loads(gateway_files().openapi.read_bytes())


def test_the_token_reaches_the_service(gateway: RunningGateway) -> None:
    assert metadata_of(gateway, {})["authorization"].startswith("Bearer ey")


@pytest.mark.parametrize(
    ("path", "seconds"), [("/api/v1/agents/a/execute", 300), ("/api/v1/agents/metadata", 30)]
)
def test_calls_have_a_deadline(gateway: RunningGateway, path: str, seconds: int) -> None:
    if path.endswith("/execute"):
        remaining = float(gateway.call("POST", path, {"input": "x"}).body["input"])
    else:
        remaining = float(metadata_of(gateway, {})["time-remaining"])
    assert seconds - 5 < remaining <= seconds


def test_a_caller_may_set_a_deadline(gateway: RunningGateway) -> None:
    assert float(metadata_of(gateway, {"grpc-timeout": "5S"})["time-remaining"]) <= 5


def test_the_trace_context_is_passed_on(gateway: RunningGateway) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert metadata_of(gateway, {"traceparent": traceparent})["traceparent"] == traceparent


def test_the_idempotency_key_is_passed_on(gateway: RunningGateway) -> None:
    assert metadata_of(gateway, {"Idempotency-Key": "a-key"})["idempotency-key"] == "a-key"


def test_a_header_that_grpc_cannot_carry_is_no_fault_of_the_platform(
    gateway: RunningGateway,
) -> None:
    headers = {"x-bin": "!!", "grpc-trace-bin": "!!", "x!y": "z"}
    assert gateway.call("GET", "/api/v1/agents/a", headers=headers).status == 200


def test_callers_cannot_steer_envoy(gateway: RunningGateway) -> None:
    steering = {"x-envoy-retry-on": "5xx", "x-envoy-upstream-rq-timeout-ms": "1"}
    metadata = metadata_of(gateway, {**steering, "x-envoy-max-retries": "9"})
    assert not {name for name in metadata if name.startswith("x-envoy")} - {
        "x-envoy-original-path",
        "x-envoy-original-method",
        "x-envoy-external-address",
    }

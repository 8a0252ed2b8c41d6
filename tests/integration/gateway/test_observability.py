"""What the gateway tells of the calls it passes on."""

from __future__ import annotations

import json
from pathlib import Path

from agent_executor.cli.otlp_receiver import OtlpReceiver
from tests.integration.gateway.running_gateway import running_gateway, until

CALLERS_TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"


def test_a_call_has_one_span_which_is_the_parent_of_the_services(tmp_path: Path) -> None:
    with (
        OtlpReceiver() as receiver,
        running_gateway(tmp_path, otlp_endpoint=receiver.endpoint) as gateway,
    ):
        sampled = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"}
        answer = gateway.call("GET", "/api/v1/agents/metadata", headers=sampled)
        passed_on = json.loads(answer.body["description"])["traceparent"].split("-")
        receiver.wait_for(lambda spans: len(spans) > 0, timeout_seconds=60)
        (span,) = receiver.spans()
    assert span.service == "gateway"
    assert span.name == "gateway /agent_executor.api.executor.v1.AgentService/GetAgent"
    assert span.kind == "SERVER"
    assert (span.trace_id, span.parent_span_id) == (CALLERS_TRACE, CALLERS_SPAN)
    assert passed_on == ["00", CALLERS_TRACE, span.span_id, "01"]


def test_a_callers_decision_not_to_record_is_followed(tmp_path: Path) -> None:
    with (
        OtlpReceiver() as receiver,
        running_gateway(tmp_path, otlp_endpoint=receiver.endpoint) as gateway,
    ):
        unsampled = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-00"}
        gateway.call("GET", "/api/v1/agents/a", headers=unsampled)
        gateway.call("GET", "/api/v1/agents/a")
        receiver.wait_for(lambda spans: len(spans) > 0, timeout_seconds=60)
        assert CALLERS_TRACE not in {span.trace_id for span in receiver.spans()}


def test_calls_are_logged_without_their_query(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with running_gateway(tmp_path, access_log=str(log)) as gateway:
        gateway.call("GET", "/api/v1/agents/bare?version=3")
        until(lambda: "bare" in log.read_text())
        (entry,) = (json.loads(line) for line in log.read_text().splitlines() if "bare" in line)
    assert entry["method"] == "GET"
    assert entry["path"] == "/api/v1/agents/bare"
    assert entry["status"] == 404
    assert "grpc_status" not in entry
    assert entry["service"] == "executor"

"""What spans show of what was said, where an operator has switched that on; and never a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from agent_executor.cli.otlp_receiver import OtlpReceiver
from tests.e2e.agents_and_runs import execute
from tests.e2e.custom_tools import LOOPBACK_ADMITTED, create_custom_agent, register, source_of
from tests.platforms import Client, RunningPlatform, running_platform
from tests.telemetry.traces import trace_of
from tests.web_server import HOST, running_web_server

# Nothing else on the platform has these letters in a row.
SECRET = 'xq7-"q/9f31c0de+5ecre7'
BEARER = "Bearer 9f31c0dec0ffee5ecre7"


@pytest.fixture(scope="module")
def platform(receiver: OtlpReceiver) -> Iterator[RunningPlatform]:
    """A platform whose spans show what is said."""
    with running_platform(
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        OTEL_BSP_SCHEDULE_DELAY="50",
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_ONLY",
        **LOOPBACK_ADMITTED,  # type: ignore[arg-type]  # no variable is called workers
    ) as running:
        yield running


def test_spans_show_what_was_said_without_the_secrets_in_it(
    receiver: OtlpReceiver, client: Client
) -> None:
    client.post("/api/v1/allowed-domains", {"domain": HOST})
    with running_web_server() as server:
        credential = {
            "secret": SECRET,
            "allowed_origins": [server.origin],
            "tools": ["custom_tool"],
        }
        assert client.put("/api/v1/credentials/partner", credential).status == 200
        request = f"self.http.request('GET', '{server.origin}/data', credential='partner')"
        register(client, source_of(f"return {request}"), allowed_origins=[server.origin])
        agent_id = create_custom_agent(client, instructions="Never add 4711.")
        run = execute(client, agent_id, f"Test the custom_tool tool with '{BEARER}'")
        (asked,) = server.requests_to("/data")
    assert SECRET in asked.headers["authorization"]
    (result,) = run["output"]["tool_results"]
    assert result["success"], result
    trace = trace_of(receiver, run["task_id"], models=2, tools=1)
    first, second = sorted(trace.named("chat "), key=lambda span: span.start_unix_nanos)
    assert "Never add 4711." in str(first.attributes["gen_ai.system_instructions"])
    (asked_for,) = json.loads(str(first.attributes["gen_ai.input.messages"]))
    assert asked_for["parts"][0]["content"] == "Test the custom_tool tool with '[redacted]'"
    (called,) = json.loads(str(first.attributes["gen_ai.output.messages"]))
    assert called["finish_reason"] == "tool_use"
    roles = [each["role"] for each in json.loads(str(second.attributes["gen_ai.input.messages"]))]
    assert roles == ["user", "assistant", "tool"]
    (tool,) = trace.named("execute_tool ")
    assert json.loads(str(tool.attributes["gen_ai.tool.call.arguments"])) is not None
    assert "/data" in str(tool.attributes["gen_ai.tool.call.result"])
    shown = json.dumps([dict(span.attributes) for span in receiver.spans()], default=str)
    for secret in (BEARER, BEARER.split()[1], SECRET, "9f31c0de", client.token):
        assert secret not in shown

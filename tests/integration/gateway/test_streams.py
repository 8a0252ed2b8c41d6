"""Streams through the gateway: server-sent events that browsers and proxies can live with."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from agent_executor.api.executor.v1 import run_service_pb2, run_service_pb2_grpc
from tests.integration.gateway.running_gateway import Answer, RunningGateway
from tests.integration.gateway.upstream import HARD_TEXT

STREAM = "/api/v1/agents/a/execute/stream"
EVENTS = "/api/v1/runs/r/events"


def events_of(content: bytes) -> list[dict[str, str]]:
    """Reads a stream as its standard says: fields of events between empty lines, or comments."""
    events = []
    for block in content.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        assert set(fields) in ({"event", "id", "data"}, {""}), fields
        events.append(fields)
    return events


def stream(gateway: RunningGateway, text: str = "hi") -> Answer:
    return gateway.call("POST", STREAM, {"input": text})


@contextmanager
def open_stream(gateway: RunningGateway, text: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    headers = {"authorization": f"Bearer {gateway.token()}", "content-type": "application/json"}
    try:
        connection.request("POST", STREAM, json.dumps({"input": text}), headers)
        yield connection.getresponse()
    finally:
        connection.close()


def test_an_execution_is_server_sent_events(gateway: RunningGateway) -> None:
    answer = stream(gateway)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert "content-length" not in answer.headers
    assert "content-encoding" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    events = events_of(answer.content)
    assert [(event.get("event"), event.get("id")) for event in events] == [
        ("text_delta", "2"),
        (None, None),
        ("text_delta", "2"),
        ("done", "9"),
    ]
    assert events[1] == {"": "heartbeat"}
    assert json.loads(events[2]["data"])["text_delta"]["text"] == HARD_TEXT
    done = json.loads(events[3]["data"])
    assert (done["type"], done["done"]["task_id"]) == ("done", "r")


def test_the_events_of_a_run_have_names_and_ids(gateway: RunningGateway) -> None:
    answer = gateway.call("GET", EVENTS)
    assert [(event.get("event"), event.get("id")) for event in events_of(answer.content)] == [
        ("model_call_started", "1"),
        ("model_call_started", "2"),
        (None, None),
    ]
    assert answer.headers["x-accel-buffering"] == "no"


def test_a_stream_has_no_deadline_and_asks_for_heartbeats(gateway: RunningGateway) -> None:
    data = json.loads(events_of(stream(gateway).content)[0]["data"])
    metadata = json.loads(data["text_delta"]["text"])
    assert metadata["agent-executor-heartbeat-seconds"] == "15"
    assert metadata["time-remaining"] == "None"


def test_each_update_is_passed_on_at_once(gateway: RunningGateway) -> None:
    with open_stream(gateway, "pause") as response:
        began = time.monotonic()
        arrived = [
            time.monotonic() - began for line in response if line.startswith((b"data: ", b": "))
        ]
    assert len(arrived) == 4
    assert all(later - earlier > 0.1 for earlier, later in pairwise(arrived))


def test_large_updates_arrive_whole(gateway: RunningGateway) -> None:
    events = events_of(stream(gateway, "large").content)
    texts = [json.loads(event["data"])["text_delta"]["text"] for event in events[2:-1]]
    assert [len(text) for text in texts] == [1, 70_000, 2_000_000, 5]
    assert {event.get("event") for event in events[2:-1]} == {"text_delta"}


def test_a_refusal_before_the_stream_is_an_error(gateway: RunningGateway) -> None:
    answer = gateway.call("POST", "/api/v1/agents/rich/execute/stream", {"input": "hi"})
    assert answer.status == 429
    assert answer.headers["content-type"] == "application/json"
    assert answer.body["code"] == "RATE_LIMIT_EXCEEDED"


def test_the_last_event_id_of_a_browser_reaches_the_service(gateway: RunningGateway) -> None:
    headers = {"last-event-id": "41"}
    answer = gateway.call("POST", STREAM, {"input": "hi"}, headers=headers)
    data = json.loads(events_of(answer.content)[0]["data"])
    assert json.loads(data["text_delta"]["text"])["last-event-id"] == "41"


@pytest.mark.parametrize("is_native", [True, False])
def test_only_rest_clients_get_heartbeats_by_default(
    gateway: RunningGateway, is_native: bool
) -> None:
    if not is_native:
        assert b": heartbeat" in stream(gateway).content
        return
    with gateway.channel() as channel:
        stub = run_service_pb2_grpc.RunServiceStub(channel)
        request = run_service_pb2.StreamAgentRequest(agent_id="a", input="hi")
        updates = list(stub.StreamAgent(request, metadata=gateway.credentials()))
    metadata = json.loads(updates[0].text_delta.text)
    assert "agent-executor-heartbeat-seconds" not in metadata
    assert updates[2].text_delta.text == HARD_TEXT

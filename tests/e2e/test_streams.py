"""Runs that are streamed from a real platform: live, resumed, and told of its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from agent_executor.api.executor.v1 import run_service_pb2, run_service_pb2_grpc
from tests.e2e.agents_and_runs import create_agent, wait_for_end
from tests.e2e.rpc import TIMEOUT_SECONDS
from tests.platforms import COMMAND, Client, RunningPlatform, running_platform, until

QUESTION = "What is 15 + 27?"
ANSWER = "15 + 27 = 42"


def text_of(updates: list[dict[str, Any]]) -> str:
    return "".join(update["text_delta"]["text"] for update in updates if "text_delta" in update)


def types_of(updates: list[dict[str, Any]]) -> list[str]:
    """Returns the types of updates, with texts that follow each other as one."""
    types = [update["type"] for update in updates]
    return [
        name for index, name in enumerate(types) if name != "text_delta" or types[index - 1] != name
    ]


def test_a_run_is_streamed_to_its_end(client: Client) -> None:
    updates = list(client.stream(create_agent(client), QUESTION))
    assert all(update["type"] in update for update in updates)
    types = types_of(updates)
    assert types[0] == "run_started"
    assert types[-1] == "done"
    assert sorted(types[1:-1]) == sorted(
        ["tool_call_started", "tool_call_completed", "text_delta", "usage", "usage"]
    )
    assert text_of(updates) == ANSWER
    done = updates[-1]["done"]
    assert done["output"]["response"] == ANSWER
    assert sum(
        int(update["usage"]["cost_nano_usd"]) for update in updates if "usage" in update
    ) == (int(done["cost_nano_usd"]))
    run = client.get(f"/api/v1/runs/{done['task_id']}").body
    assert run["output"] == done["output"]
    assert updates[-1]["sequence"] == run["last_sequence"]
    assert {update["run_id"] for update in updates} == {run["id"]}


def test_a_grpc_caller_is_streamed_to_the_same(
    platform: RunningPlatform,
    client: Client,
    organization: str,
    connect: Callable[[str], grpc.Channel],
) -> None:
    stub = run_service_pb2_grpc.RunServiceStub(connect("executor"))
    request = run_service_pb2.StreamAgentRequest(agent_id=create_agent(client), input=QUESTION)
    metadata = (("authorization", f"Bearer {platform.token(organization)}"),)
    updates = list(stub.StreamAgent(request, metadata=metadata, timeout=TIMEOUT_SECONDS))
    assert updates[-1].done.output.response == ANSWER
    assert "".join(update.text_delta.text for update in updates) == ANSWER
    assert all(update.WhichOneof("update") == update.type for update in updates)


def test_a_browser_resumes_where_it_was_cut(client: Client) -> None:
    (*_, done) = client.stream(create_agent(client), QUESTION)
    run_id = done["run_id"]
    events = list(client.events(run_id))
    answer = client.call("GET", f"/api/v1/runs/{run_id}/events", headers={"last-event-id": "3"})
    ids = [
        line.removeprefix(b"id: ") for line in answer.content.splitlines() if b"id: " in line[:4]
    ]
    assert [int(event_id) for event_id in ids] == [event["sequence"] for event in events[3:]]
    assert client.get(f"/api/v1/runs/{run_id}/events").content.startswith(
        b"event: run_started\nid: 1\n"
    )
    refused = client.call("GET", f"/api/v1/runs/{run_id}/events", headers={"last-event-id": "x"})
    assert (refused.status, refused.body["code"]) == (400, "INVALID_ARGUMENT")


@pytest.fixture(scope="module")
def slow_platform() -> Iterator[RunningPlatform]:
    """A platform whose model writes slowly, over HTTP."""
    command = [*COMMAND, "mock-claude", "--port", "0", "--token-delay-seconds", "0.3"]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(process.kill)
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        yield stack.enter_context(
            running_platform(
                EXECUTOR_MODEL_PROVIDER="anthropic",
                ANTHROPIC_API_KEY="any",
                ANTHROPIC_BASE_URL=url,
                EXECUTOR_EGRESS_ALLOWED_CIDRS='["127.0.0.1/32"]',
                EXECUTOR_SHUTDOWN_GRACE_SECONDS="1",
                GATEWAY_STREAM_HEARTBEAT_SECONDS="1",
            )
        )


@pytest.fixture
def slow_client(slow_platform: RunningPlatform) -> Client:
    """A client of it, also after a test that has killed a process."""
    slow_platform.wait_until_serving()
    return slow_platform.client()


CHAT = "Hello there, my friend. How are you?"


def test_text_comes_while_the_model_writes_it(slow_client: Client) -> None:
    client = slow_client
    updates = list(client.stream(create_agent(client), CHAT))
    texts = [update for update in updates if "text_delta" in update]
    assert len(texts) > 2
    assert text_of(updates) == updates[-1]["done"]["output"]["response"]


def test_a_silent_stream_is_kept_alive(slow_platform: RunningPlatform, slow_client: Client) -> None:
    client = slow_client
    agent_id, lines = create_agent(client), []
    with slow_platform.paused("ledger"):
        path, body = f"/api/v1/agents/{agent_id}/execute/stream", {"input": CHAT}
        with client._request("POST", path, body) as response:
            for line in response:
                lines.append(line)
                if lines.count(b": heartbeat\n") == 2:
                    break
    assert lines[-3:] == [b": heartbeat\n", b"\n", b": heartbeat\n"]


def test_a_stream_that_dies_is_taken_up_without_a_gap(
    slow_platform: RunningPlatform, slow_client: Client
) -> None:
    client = slow_client
    updates: list[dict[str, Any]] = []
    # How the cut shows depends on the client; none of them gets a last message.
    with contextlib.suppress(OSError, http.client.HTTPException):
        for update in client.stream(create_agent(client), CHAT):
            updates.append(update)
            if [update["type"] for update in updates] == ["run_started", "text_delta"]:
                slow_platform.kill("executor")
    assert updates[-1]["type"] not in {"done", "error"}
    last = updates[-1]
    slow_platform.wait_until_serving()
    events = list(client.events(last["run_id"], last["sequence"]))
    sequences = [event["sequence"] for event in events]
    assert sequences == list(range(last["sequence"] + 1, sequences[-1] + 1))
    assert events[-1]["type"] == "run_finished"
    # The call that was cut is void, and its text is in the answer that took its place.
    types = [event["type"] for event in events]
    assert types.index("model_call_failed") < types.index("model_call_completed")
    assert wait_for_end(client, last["run_id"])["state"] == "completed"


def test_a_stream_is_told_that_its_executor_stops(
    slow_platform: RunningPlatform, slow_client: Client
) -> None:
    updates: list[dict[str, Any]] = []
    for update in slow_client.stream(create_agent(slow_client), CHAT):
        updates.append(update)
        if [update["type"] for update in updates] == ["run_started", "text_delta"]:
            os.kill(slow_platform.pids()["executor"], signal.SIGTERM)
    assert updates[-1]["type"] == "error"
    assert updates[-1]["error"]["code"] == "UNAVAILABLE"
    run_id = updates[0]["run_id"]
    assert run_id in updates[-1]["error"]["error"]
    slow_platform.wait_until_serving()
    assert wait_for_end(slow_client, run_id)["state"] == "completed"


@pytest.mark.parametrize("path", ["execute", "execute/stream"])
@pytest.mark.parametrize("on_disconnect", ["", "cancel"])
def test_a_caller_that_goes_away_takes_its_run_along_if_it_said_so(
    slow_client: Client, path: str, on_disconnect: str
) -> None:
    agent_id = create_agent(slow_client)
    body = json.dumps({"input": CHAT, "on_disconnect": on_disconnect})
    connection = http.client.HTTPConnection("127.0.0.1", slow_client.port, timeout=60)
    headers = {"authorization": f"Bearer {slow_client.token}", "content-type": "application/json"}
    connection.request("POST", f"/api/v1/agents/{agent_id}/{path}", body, headers)

    def runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = slow_client.get(f"/api/v1/runs?agent_id={agent_id}").body[
            "runs"
        ]
        return found

    until(lambda: len(runs()) == 1, what="that the run has begun")
    connection.close()
    ended = wait_for_end(slow_client, runs()[0]["id"])
    assert ended["state"] == ("cancelled" if on_disconnect else "completed")
    if on_disconnect:
        events = list(slow_client.events(ended["id"]))
        (asked,) = (event for event in events if event["type"] == "cancel_requested")
        assert asked["cancel_requested"]["user_id"] == ""

"""Runs whose model calls go through batches, through real processes: few batches, half the price.

The provider is mock Claude over HTTP, in a thread of the test, so that the test decides when batches
end and what goes wrong; the executors are processes that may be killed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.mock_http.api import MockApi
from agent_executor.executor.models.mock_http.faults import Fault, FaultPlan
from agent_executor.executor.models.mock_http.server import HttpServer
from tests.e2e.agents_and_runs import (
    assert_costs_agree,
    create_agent,
    execute,
    get_run,
    pages,
    wait_for_end,
)
from tests.e2e.cancelling import SlowClaude, platform_on
from tests.platforms import Client, RunningPlatform, until

# A model whose batches have a price.
MODEL = "claude-haiku-4-5-20251001"
NOT_YET_SECONDS = 3_600.0
ENVIRONMENT = {
    "EXECUTOR_BATCH_WINDOW_SECONDS": "0.5",
    "EXECUTOR_BATCH_POLL_SECONDS": "0.2",
    "EXECUTOR_BATCH_CREATE_TIMEOUT_SECONDS": "2",
}


class Provider:
    """Mock Claude over HTTP, whose batches end when the test says so."""

    def __init__(self) -> None:
        self.faults = FaultPlan({})
        self.api = MockApi(MockClaude(), self.faults, batch_seconds=0.5)
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = HttpServer(self.api.handle)

    def start(self) -> None:
        self._thread.start()
        starting = self._server.start("127.0.0.1", 0)
        port = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @contextmanager
    def no_batch_ends(self) -> Iterator[None]:
        """Lets the batches that are made within the block end after it."""
        batches, usual = self.api.batches, self.api.batches.batch_seconds
        batches.batch_seconds = NOT_YET_SECONDS
        try:
            yield
        finally:
            batches.batch_seconds = usual
            batches.end_all()

    @property
    def made(self) -> int:
        return self.api.calls.batches


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    running = Provider()
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def platform(provider: Provider) -> Iterator[RunningPlatform]:
    """A platform of two executors on the provider, either of which may be killed."""
    with platform_on(SlowClaude(provider.url), workers=2, **ENVIRONMENT) as running:
        yield running


def start_batched(client: Client, agent_id: str, inputs: list[str]) -> list[str]:
    body = {"inputs": inputs, "processing": "batch"}
    answer = client.post(f"/api/v1/agents/{agent_id}/runs/batch", body)
    assert answer.status == 200, answer.content
    return [result["run_id"] for result in answer.body["results"]]


def types(client: Client, run_id: str) -> list[str]:
    return [event["type"] for event in events(client, run_id)]


def events(client: Client, run_id: str) -> list[dict[str, Any]]:
    last = get_run(client, run_id)["last_sequence"]
    found = []
    for event in client.events(run_id):
        found.append(event)
        if event["sequence"] >= last:
            break
    return found


def until_waiting(client: Client, run_ids: list[str], sequence: int = 0) -> None:
    def all_wait() -> bool:
        runs = [get_run(client, run_id) for run_id in run_ids]
        return all(run["state"] == "waiting" and run["last_sequence"] >= sequence for run in runs)

    until(all_wait, what="that the runs wait")


def model_entries(client: Client) -> list[dict[str, Any]]:
    entries = pages(client, "/api/v1/usage/entries", "entries")
    return [entry for entry in entries if entry["model"]]


def executors(platform: RunningPlatform) -> list[str]:
    return sorted(name for name in platform.pids() if name.startswith("executor"))


def test_twenty_runs_take_few_batches_at_half_the_price(
    platform: RunningPlatform, provider: Provider, client: Client
) -> None:
    agent_id = create_agent(client, model=MODEL)
    made, billed = provider.made, provider.api.calls.billed
    inputs = [f"What is {number} + 1?" for number in range(20)]
    run_ids = start_batched(client, agent_id, inputs)
    runs = [wait_for_end(client, run_id) for run_id in run_ids]
    assert {run["state"] for run in runs} == {"completed"}
    responses = [run["output"]["response"] for run in runs]
    assert responses == [f"{number} + 1 = {number + 1}" for number in range(20)]
    # Two turns of each; each executor has its own window, and some runs are later than others.
    assert 2 <= provider.made - made <= 10
    assert provider.api.calls.billed - billed == 40
    entries = model_entries(client)
    assert {entry["processing"] for entry in entries} == {"batch"}
    assert len(entries) == 40
    assert_costs_agree(client)
    batched = [event["type"] for event in client.events(run_ids[0])]
    assert batched.count("model_call_batched") == 2
    settled = [
        int(event["model_call_settled"]["cost_nano_usd"])
        for event in client.events(run_ids[0])
        if event["type"] == "model_call_settled"
    ]
    assert sum(settled) == int(runs[0]["cost_nano_usd"])
    direct = execute(client, agent_id, inputs[0])
    assert int(direct["cost_nano_usd"]) == 2 * int(runs[0]["cost_nano_usd"]) > 0


def test_every_executor_is_killed_while_runs_wait(
    platform: RunningPlatform, provider: Provider, client: Client
) -> None:
    agent_id = create_agent(client, model=MODEL)
    with provider.no_batch_ends():
        run_ids = start_batched(client, agent_id, ["What is 1 + 2?"] * 6)
        until_waiting(client, run_ids, 3)
        made = provider.made
        for name in executors(platform):
            platform.kill(name)
        platform.wait_until_serving()
        until_waiting(client, run_ids)
        assert provider.made == made
    runs = [wait_for_end(client, run_id) for run_id in run_ids]
    assert {run["state"] for run in runs} == {"completed"}
    # Each answer was paid once; the probe of what serves again has made calls of its own.
    assert len(model_entries(client)) == 12
    assert_costs_agree(client)


def test_a_death_between_the_batch_and_its_record_pays_nothing_twice(
    platform: RunningPlatform, provider: Provider, client: Client
) -> None:
    agent_id = create_agent(client, model=MODEL, tools={})
    made = provider.made
    # The provider has made it, and its answer never comes.
    provider.faults.queue(Fault.STALL)
    (run_id,) = start_batched(client, agent_id, ["hello"])
    until(lambda: provider.made == made + 1, what="that the batch is made")
    for name in executors(platform):
        platform.kill(name)
    platform.wait_until_serving()
    run = wait_for_end(client, run_id)
    assert run["state"] == "completed"
    assert provider.made == made + 1
    assert types(client, run_id).count("model_call_started") == 1
    assert "model_call_batched" in types(client, run_id)
    assert_costs_agree(client)


def test_a_batch_that_was_refused_or_never_came_about_is_made_again(
    platform: RunningPlatform, provider: Provider, client: Client
) -> None:
    agent_id = create_agent(client, model=MODEL, tools={})
    made = provider.made
    provider.faults.queue(Fault.OVERLOADED, Fault.NO_ANSWER)
    (run_id,) = start_batched(client, agent_id, ["hello"])
    run = wait_for_end(client, run_id)
    assert run["state"] == "completed"
    assert provider.made == made + 1
    assert types(client, run_id).count("model_call_started") == 3
    assert_costs_agree(client)


def test_each_outcome_of_a_request_is_its_own(
    platform: RunningPlatform, provider: Provider, client: Client
) -> None:
    agent_id = create_agent(client, model=MODEL, tools={})
    # The making of the batch, then its requests: one is not begun within the day, one fails for good.
    provider.faults.queue(None, Fault.HANG, Fault.TOO_LARGE)
    one, two, three = start_batched(client, agent_id, ["hello"] * 3)
    runs = [wait_for_end(client, run_id) for run_id in (one, two, three)]
    assert sorted(run["state"] for run in runs) == ["completed", "completed", "failed"]
    (failed,) = [run for run in runs if run["state"] == "failed"]
    assert failed["code"] == "MODEL_ERROR"
    assert "request_too_large" in failed["error"]
    assert_costs_agree(client)


def test_a_cancelled_run_stops_waiting_at_once_and_its_batch_is_ended(
    platform: RunningPlatform, provider: Provider, client: Client
) -> None:
    agent_id = create_agent(client, model=MODEL, tools={})
    billed = provider.api.calls.billed
    with provider.no_batch_ends():
        (run_id,) = start_batched(client, agent_id, ["hello"])
        until_waiting(client, [run_id], 3)
        receipt = client.post(f"/api/v1/runs/{run_id}/cancel", {}).body
        assert (receipt["state"], receipt["was_stopped"]) == ("cancelled", True)
        assert receipt["stopped_call_ids"] == [f"{run_id}_1_m1"]

        def costs() -> list[int]:
            return [int(entry["cost_nano_usd"]) for entry in model_entries(client)]

        until(lambda: len(costs()) == 2, what="that the ledger knows that it cost nothing")
        assert sum(costs()) == 0
    assert provider.api.calls.billed == billed
    assert get_run(client, run_id)["state"] == "cancelled"


def test_a_provider_without_batches_is_refused(client: Client, platform: RunningPlatform) -> None:
    agent_id = create_agent(client, provider="mock")
    answer = client.post(
        f"/api/v1/agents/{agent_id}/runs", {"input": "hello", "processing": "batch"}
    )
    assert (answer.status, answer.body["code"]) == (400, "INVALID_ARGUMENT")
    assert "processing" in answer.content.decode()

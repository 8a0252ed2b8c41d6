"""Runs of every kind, cancelled at random: nothing of them is left, and every receipt is true."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.agents_and_runs import SUM, create_agent, get_run, pages
from tests.e2e.approving import agent_that_asks, approvals
from tests.e2e.cancelling import (
    LONG_QUESTION,
    SlowClaude,
    busy_workers,
    cancel,
    holding_source,
    platform_on,
    put_budget,
    reserved_nano_usd,
    slow_claude,
    unfinished,
)
from tests.e2e.custom_tools import create_custom_agent, register
from tests.platforms import Client, RunningPlatform, until

# Of each executor: there are fewer than runs at once, so that some wait for their turn.
PLACES = 1
AT_ONCE = 10
WAYS = ("execute", "stream", "background")
PHASES = {
    "model call": "running",
    "tool call": "running",
    "approval": "waiting",
    "money": "paused",
}


@pytest.fixture(scope="module")
def claude() -> Iterator[SlowClaude]:
    with slow_claude(0.1) as running:
        yield running


@pytest.fixture(scope="module")
def platform(claude: SlowClaude) -> Iterator[RunningPlatform]:
    settings = {"EXECUTOR_MAX_ACTIVE_RUNS": str(PLACES), "EXECUTOR_PAUSE_RETRY_SECONDS": "1"}
    with platform_on(claude, workers=2, **settings) as running:
        yield running


@dataclass(frozen=True)
class Cancelled:
    """A run that was asked to end.

    Attributes:
        state: Its state when it was asked, about.
        answer: What its caller was told in the end; None if nobody waited.
    """

    way: str
    phase: str
    state: str
    receipt: dict[str, Any]
    answer: dict[str, Any] | None


class Stage:
    """An organization with an agent for every phase of a run."""

    def __init__(self, platform: RunningPlatform, client: Client) -> None:
        self.platform, self.client = platform, client
        put_budget(client)
        register(client, holding_source())
        pauper = create_agent(client, tools={}, name="Pauper", on_budget_exceeded="pause")
        answer = client.put("/api/v1/budgets/nothing", {"agent_id": pauper, "limit_usd": 0})
        assert answer.status == 200, answer.content
        self.asked = {
            "model call": (create_agent(client, tools={}, name="Writer"), LONG_QUESTION),
            "tool call": (create_custom_agent(client), "Test the custom_tool tool"),
            "approval": (agent_that_asks(client), SUM),
            "money": (pauper, LONG_QUESTION),
        }

    def cancel_at_random(self, way: str, phase: str, seed: int) -> Cancelled:
        """Begins a run, and ends it in its phase or at some time before."""
        rng = random.Random(seed)
        agent_id, text = self.asked[phase]
        fields: dict[str, Any] = {"conversation_id": str(uuid.uuid4())}
        if rng.random() < 0.5:
            fields["max_cost_usd"] = 5
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self._begin, way, agent_id, text, fields)
            run_id = self._run_of(fields["conversation_id"])
            if rng.random() < 0.5:
                phases = {PHASES[phase], "completed", "failed"}
                until(lambda: self._state(run_id) in phases, timeout_seconds=120)
            if rng.random() < 0.3:
                self._begin_child(run_id)
            time.sleep(rng.random() ** 2 * 2)
            state = self._state(run_id)
            receipt = cancel(self.client, run_id, f"seed {seed}")
            # Who waits for a run is told of its end.
            answer = waiting.result(timeout=60)
        return Cancelled(way, phase, state, receipt, answer)

    def is_quiet(self) -> bool:
        """Tells whether nothing is held and no tool runs, of any run."""
        return not busy_workers(self.platform) and reserved_nano_usd(self.client) == 0

    def _begin(
        self, way: str, agent_id: str, text: str, fields: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Begins a run and returns what its caller is told in the end, if it waits for that."""
        if way == "stream":
            last = list(self.client.stream(agent_id, text, **fields))[-1]
            done: dict[str, Any] = last["done"]
            return done
        path = f"/api/v1/agents/{agent_id}/{'execute' if way == 'execute' else 'runs'}"
        answer = self.client.post(path, {"input": text, **fields})
        assert answer.status == 200, answer.content
        return answer.body if way == "execute" else None

    def _begin_child(self, run_id: str) -> None:
        agent_id, text = self.asked["model call"]
        path, body = f"/api/v1/agents/{agent_id}/runs", {"input": text, "parent_run_id": run_id}
        # The parent may have ended by now.
        assert self.client.post(path, body).status in (200, 400)

    def _run_of(self, conversation_id: str) -> str:
        path = f"/api/v1/runs?conversation_id={conversation_id}"
        until(lambda: list(pages(self.client, path, "runs")), what="the run")
        [run] = pages(self.client, path, "runs")
        return str(run["id"])

    def _state(self, run_id: str) -> str:
        return str(get_run(self.client, run_id)["state"])


def test_random_cancellations_leave_nothing_and_tell_the_truth(
    platform: RunningPlatform, claude: SlowClaude, client: Client, full: bool
) -> None:
    stage, rng = Stage(platform, client), random.Random(5)
    kinds = [(way, phase) for way in WAYS for phase in PHASES]
    seeds = [rng.randrange(2**32) for _ in range(108 if full else len(kinds))]
    cases = [(*kinds[index % len(kinds)], seed) for index, seed in enumerate(seeds)]
    rng.shuffle(cases)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = list(pool.map(lambda case: stage.cancel_at_random(*case), cases))
    assert unfinished(client) == []
    assert claude.open_calls() == 0
    until(stage.is_quiet, timeout_seconds=5)
    assert approvals(client) == []
    for run in runs:
        assert_true(client, run)
    assert sum(run.receipt["was_stopped"] for run in runs) > len(runs) / 2
    if full:
        assert {run.state for run in runs} >= {"pending", "running", "waiting", "paused"}


def assert_true(client: Client, cancelled: Cancelled) -> None:
    """Checks what a receipt says against the run, the ledger, and what its caller heard."""
    receipt, answer = cancelled.receipt, cancelled.answer
    run = get_run(client, receipt["run_id"])
    assert run["state"] == receipt["state"]
    assert receipt["was_stopped"] == (run["state"] == "cancelled")
    cost = int(run["cost_nano_usd"])
    assert int(receipt["cost_nano_usd"]) == cost
    entries = list(pages(client, f"/api/v1/usage/entries?run_id={run['id']}", "entries"))
    assert sum(int(entry["cost_nano_usd"]) for entry in entries) == cost
    assert_true_of_the_log(client, receipt)
    if answer is not None:
        assert (answer["task_id"], answer["state"]) == (run["id"], run["state"])
        assert int(answer["cost_nano_usd"]) == cost


def assert_true_of_the_log(client: Client, receipt: dict[str, Any]) -> None:
    """Checks what a receipt says against the run's log, which has one end."""
    events = list(client.events(receipt["run_id"]))
    types = [event["type"] for event in events]
    assert types.count("run_finished") == 1
    assert types[-1] == "run_finished"
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    begun = {
        event[event["type"]].get("model_call_id") or event[event["type"]].get("tool_call_id")
        for event in events
        if event["type"] in ("model_call_started", "tool_call_started")
    }
    stopped = set(receipt["stopped_call_ids"])
    assert stopped <= begun
    assert set(receipt["unknown_call_ids"]) <= stopped
    assert not stopped & {*receipt["finished_call_ids"], *receipt["never_begun_call_ids"]}

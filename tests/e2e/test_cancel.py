"""Cancelled runs on a real platform of two executors: nothing of them is left running."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.agents_and_runs import SUM, create_agent, execute, get_run, pages
from tests.e2e.cancelling import (
    LONG_QUESTION,
    PatientClient,
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
from tests.e2e.error_shape import assert_is_error
from tests.platforms import Client, RunningPlatform, children_of, until

TOOL_QUESTION = "Test the custom_tool tool"


@pytest.fixture(scope="module")
def claude() -> Iterator[SlowClaude]:
    with slow_claude() as running:
        yield running


@pytest.fixture(scope="module")
def platform(claude: SlowClaude) -> Iterator[RunningPlatform]:
    with platform_on(claude, workers=2, EXECUTOR_PAUSE_RETRY_SECONDS="30") as running:
        yield running


class Stage:
    """An organization with an agent that writes slowly and one whose tool takes long."""

    def __init__(self, platform: RunningPlatform, claude: SlowClaude, client: Client) -> None:
        self.platform, self.claude, self.client = platform, claude, client
        put_budget(client)
        self.writer = create_agent(client, tools={}, name="Writer")
        register(client, holding_source())
        self.tool_user = create_custom_agent(client)

    def start(self, agent_id: str, text: str, **fields: Any) -> str:
        answer = self.client.post(f"/api/v1/agents/{agent_id}/runs", {"input": text, **fields})
        assert answer.status == 200, answer.content
        run_id: str = answer.body["id"]
        return run_id

    def writing(self, **fields: Any) -> str:
        """Returns a run during its model call."""
        before = self.claude.open_calls()
        run_id = self.start(self.writer, LONG_QUESTION, **fields)
        until(lambda: self.claude.open_calls() > before, what="a model call")
        return run_id

    def using_a_tool(self, **fields: Any) -> str:
        """Returns a run during its tool call."""
        before = len(busy_workers(self.platform))
        run_id = self.start(self.tool_user, TOOL_QUESTION, **fields)
        until(lambda: len(busy_workers(self.platform)) > before, what="a tool in the sandbox")
        return run_id

    def is_quiet(self) -> bool:
        """Tells whether nothing is left of any run."""
        return (
            not unfinished(self.client)
            and self.claude.open_calls() == 0
            and not busy_workers(self.platform)
            and reserved_nano_usd(self.client) == 0
        )


@pytest.fixture
def stage(platform: RunningPlatform, claude: SlowClaude, client: Client) -> Stage:
    return Stage(platform, claude, client)


@pytest.fixture
def patient_stage(platform: RunningPlatform, claude: SlowClaude, client: Client) -> Stage:
    """One whose caller asks again while a killed executor is missing."""
    return Stage(platform, claude, PatientClient(client.port, client.token))


def test_a_model_call_is_stopped_and_paid_for_as_an_estimate(stage: Stage) -> None:
    run_id = stage.writing()
    receipt = cancel(stage.client, run_id, "too slow")
    assert stage.is_quiet()
    assert (receipt["state"], receipt["was_stopped"]) == ("cancelled", True)
    assert receipt["stopped_call_ids"] == [f"{run_id}_1_m1"]
    run = get_run(stage.client, run_id)
    assert (run["state"], run["code"]) == ("cancelled", "RUN_CANCELLED")
    assert int(run["cost_nano_usd"]) == int(receipt["cost_nano_usd"]) > 0
    assert int(receipt["released_nano_usd"]) > 0
    entries = stage.client.get(f"/api/v1/usage/entries?run_id={run_id}").body["entries"]
    assert [entry["estimated"] for entry in entries] == [True]
    events = {event["type"]: event for event in stage.client.events(run_id)}
    said = events["cancel_requested"]["cancel_requested"]
    assert said == {"user_id": "admin", "reason": "too slow"}
    # Whichever executor is asked, and however often, it is the same receipt.
    assert all(cancel(stage.client, run_id) == receipt for _ in range(4))


def test_a_tool_is_stopped_and_its_process_is_gone(stage: Stage) -> None:
    run_id = stage.using_a_tool()
    receipt = cancel(stage.client, run_id)
    assert stage.is_quiet()
    # It is unsafe, and nobody knows what it did.
    assert receipt["stopped_call_ids"] == receipt["unknown_call_ids"] == [f"{run_id}_1_0"]
    (result,) = get_run(stage.client, run_id)["output"]["tool_results"]
    assert result["code"] == "OUTCOME_UNKNOWN"


def test_a_waiting_caller_is_answered(stage: Stage) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(execute, stage.client, stage.tool_user, TOOL_QUESTION)
        until(lambda: busy_workers(stage.platform))
        (run_id,) = unfinished(stage.client)
        cancel(stage.client, run_id)
        answer = waiting.result(timeout=60)
    assert (answer["task_id"], answer["state"]) == (run_id, "cancelled")
    assert stage.is_quiet()


def test_runs_that_a_run_has_started_are_stopped_with_it(stage: Stage) -> None:
    root = stage.using_a_tool(max_cost_usd=100)
    children = [stage.writing(parent_run_id=root), stage.using_a_tool(parent_run_id=root)]
    grandchild = stage.writing(parent_run_id=children[0])
    receipt = cancel(stage.client, root)
    assert receipt["stopped_run_ids"] == sorted([*children, grandchild])
    assert stage.is_quiet()
    assert {get_run(stage.client, run_id)["state"] for run_id in (*children, grandchild)} == {
        "cancelled"
    }


def test_a_paused_run_is_stopped(stage: Stage) -> None:
    put_budget(stage.client, 0)
    agent_id = create_agent(stage.client, tools={}, on_budget_exceeded="pause")
    run_id = stage.start(agent_id, LONG_QUESTION)
    until(lambda: get_run(stage.client, run_id)["state"] == "paused")
    receipt = cancel(stage.client, run_id)
    assert (receipt["was_stopped"], receipt["stopped_call_ids"]) == (True, [])
    assert stage.is_quiet()


def test_a_run_that_has_ended_is_left_as_it_is(stage: Stage) -> None:
    agent_id = create_agent(stage.client)
    run = execute(stage.client, agent_id, SUM)
    receipt = cancel(stage.client, run["task_id"])
    assert (receipt["was_stopped"], receipt["state"]) == (False, "completed")
    assert receipt["finished_call_ids"] == [run["output"]["tool_results"][0]["tool_call_id"]]


def test_a_run_of_another_organization_is_not_there(stage: Stage) -> None:
    run_id = stage.using_a_tool()
    stranger = stage.platform.client(stage.platform.token("somebody-else"))
    for path in (run_id, "no-run"):
        answer = stranger.post(f"/api/v1/runs/{path}/cancel", {})
        assert_is_error(answer, 404, "RUN_NOT_FOUND")
    cancel(stage.client, run_id)


def test_whoever_takes_a_run_over_ends_it(patient_stage: Stage) -> None:
    stage = patient_stage
    run_id = stage.writing()
    executors = _executor_pids(stage.platform)
    assert len(executors) == 2
    owner = next(pid for pid in executors if _has_connection_to(pid, stage.claude.url))
    # It stands still before the request, and is dead before it could hear of it.
    os.kill(owner, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        cancelling = pool.submit(_cancel_somehow, stage.client, run_id)
        time.sleep(0.3)
        os.kill(owner, signal.SIGKILL)
        receipt = cancelling.result(timeout=60)
    assert (receipt["was_stopped"], receipt["state"]) == (True, "cancelled")
    until(stage.is_quiet)
    stage.platform.wait_until_serving()


def test_a_tool_of_a_dead_executor_is_stopped_by_the_heir(patient_stage: Stage) -> None:
    stage = patient_stage
    run_id = stage.using_a_tool()
    # It goes on for whoever takes the run over, who would have its result.
    for pid in _executor_pids(stage.platform):
        os.kill(pid, signal.SIGKILL)
    receipt = _cancel_somehow(stage.client, run_id)
    assert not busy_workers(stage.platform)
    assert receipt["was_stopped"]
    # The tool-runner says so; it is unsafe.
    assert receipt["stopped_call_ids"] == receipt["unknown_call_ids"] == [f"{run_id}_1_0"]
    (result,) = get_run(stage.client, run_id)["output"]["tool_results"]
    assert "The tool was stopped while it ran" in result["error"]
    stage.platform.wait_until_serving()
    until(stage.is_quiet)


class TestLedgerAway:
    @pytest.fixture
    def ledger(self, stage: Stage) -> Iterator[int]:
        """The process of the ledger, which a test may stop; it goes on afterwards."""
        pid = stage.platform.pids()["ledger"]
        yield pid
        os.kill(pid, signal.SIGCONT)

    def test_a_run_ends_without_it_and_what_was_held_is_free_later(
        self, stage: Stage, ledger: int
    ) -> None:
        run_id = stage.using_a_tool(max_cost_usd=100)
        until(lambda: _cost_nano_usd(stage.client, run_id), what="the settlement of its model call")
        os.kill(ledger, signal.SIGSTOP)
        receipt = cancel(stage.client, run_id)
        assert (receipt["state"], receipt["was_stopped"]) == ("cancelled", True)
        assert not busy_workers(stage.platform)
        assert int(receipt["released_nano_usd"]) == 0
        os.kill(ledger, signal.SIGCONT)
        until(stage.is_quiet, timeout_seconds=30)
        assert int(receipt["cost_nano_usd"]) == _cost_nano_usd(stage.client, run_id)

    def test_a_model_call_is_stopped_without_it_and_its_cost_waited_for(
        self, stage: Stage, ledger: int
    ) -> None:
        run_id = stage.writing()
        os.kill(ledger, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            cancelling = pool.submit(_cancel_somehow, stage.client, run_id)
            until(lambda: stage.claude.open_calls() == 0, what="the end of the model's call")
            assert get_run(stage.client, run_id)["state"] == "running"
            os.kill(ledger, signal.SIGCONT)
            receipt = cancelling.result(timeout=60)
        assert len(receipt["stopped_call_ids"]) == 1
        assert int(receipt["released_nano_usd"]) > 0
        assert int(receipt["cost_nano_usd"]) == _cost_nano_usd(stage.client, run_id) > 0
        until(stage.is_quiet)


def _cost_nano_usd(client: Client, run_id: str) -> int:
    """Returns what the ledger has recorded of a run; a busy machine may make it try a call twice."""
    entries = pages(client, f"/api/v1/usage/entries?run_id={run_id}", "entries")
    return sum(int(entry["cost_nano_usd"]) for entry in entries)


def _cancel_somehow(client: Client, run_id: str) -> dict[str, Any]:
    """Asks until an executor that lives has answered."""
    while True:
        with suppress(OSError):
            answer = client.post(f"/api/v1/runs/{run_id}/cancel", {})
            if answer.status == 200:
                receipt: dict[str, Any] = answer.body
                return receipt
        time.sleep(0.1)


def _executor_pids(platform: RunningPlatform) -> list[int]:
    found = []
    for pid in children_of(platform.process.pid):
        with suppress(OSError):
            if b"agent_executor.executor" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def _has_connection_to(pid: int, url: str) -> bool:
    """Tells whether a process has an open connection to a port of this machine."""
    port = f"{int(url.rpartition(':')[2]):04X}"
    inodes = {
        fields[9]
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[2].endswith(f":{port}") and fields[3] == "01"
    }
    open_files = Path(f"/proc/{pid}/fd").iterdir()
    links = {str(link.readlink()) for link in open_files if link.is_symlink()}
    return any(f"socket:[{inode}]" in links for inode in inodes)

"""Runs that pause for want of money, runs with a limit, and runs while the ledger is away."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agent_executor.cli.ports import EXECUTOR_OFFSET
from tests.e2e.agents_and_runs import (
    SUM,
    create_agent,
    entry_tokens,
    execute,
    get_run,
    pages,
    start_run,
    wait_for_end,
)
from tests.e2e.error_shape import assert_is_error
from tests.platforms import Client, RunningPlatform, running_platform, until

NANO_PER_USD = 1_000_000_000
RETRY_SECONDS = "0.2"
BUDGET = "everything"


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform whose paused runs look for money often, and whose processes may be killed."""
    with running_platform(EXECUTOR_PAUSE_RETRY_SECONDS=RETRY_SECONDS) as running:
        yield running


def put_budget(client: Client, limit_usd: float) -> None:
    answer = client.put(f"/api/v1/budgets/{BUDGET}", {"limit_usd": limit_usd})
    assert answer.status == 200, answer.content


def reserved_usd(client: Client) -> float:
    answer = client.get(f"/api/v1/budgets/{BUDGET}")
    assert answer.status == 200, answer.content
    return int(answer.body["reserved_nano_usd"]) / NANO_PER_USD


def wait_for_state(client: Client, run_id: str, state: str) -> None:
    until(lambda: get_run(client, run_id)["state"] == state, what=f"the state {state}")


def event_types(client: Client, run_id: str) -> list[str]:
    return [event["type"] for event in client.events(run_id)]


def assert_is_paid(client: Client, run_id: str) -> None:
    """Holds a run against its ledger entries, and its budget against both."""
    run = get_run(client, run_id)
    entries = list(pages(client, f"/api/v1/usage/entries?run_id={run_id}", "entries"))
    assert sum(int(entry["cost_nano_usd"]) for entry in entries) == int(run["cost_nano_usd"]) > 0
    assert sum(map(entry_tokens, entries)) == run["tokens_used"]


class TestPauses:
    def test_a_paused_run_goes_on_when_the_limit_is_raised(self, client: Client) -> None:
        agent_id = create_agent(client, on_budget_exceeded="pause")
        put_budget(client, 0)
        run_id = start_run(client, agent_id)
        wait_for_state(client, run_id, "paused")
        put_budget(client, 5)
        assert wait_for_end(client, run_id)["state"] == "completed"
        types = event_types(client, run_id)
        assert types[:6] == [
            "run_started",
            "model_call_started",
            "model_call_failed",
            "run_paused",
            "run_continued",
            "model_call_started",
        ]
        (paused,) = (event for event in client.events(run_id) if event["type"] == "run_paused")
        assert paused["run_paused"]["budget_id"] == BUDGET
        assert paused["run_paused"]["code"] == "BUDGET_EXCEEDED"
        assert "$0.00 left" in paused["run_paused"]["error"]
        assert reserved_usd(client) == 0
        assert_is_paid(client, run_id)

    def test_a_caller_waits_for_a_paused_run(self, client: Client) -> None:
        agent_id = create_agent(client, on_budget_exceeded="pause")
        put_budget(client, 0)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(execute, client, agent_id)
            until(lambda: list(pages(client, "/api/v1/runs?state=paused", "runs")))
            assert not waiting.done()
            put_budget(client, 5)
            assert waiting.result(timeout=60)["state"] == "completed"

    def test_an_agent_that_ends_ends_and_says_why(self, client: Client) -> None:
        agent_id = create_agent(client)
        assert client.get(f"/api/v1/agents/{agent_id}").body["on_budget_exceeded"] == "end"
        put_budget(client, 0.01)
        run = execute(client, agent_id)
        assert (run["state"], run["code"]) == ("budget_exceeded", "BUDGET_EXCEEDED")
        assert "$0.01" in run["error"]
        assert run["output"]["conversation_history"]

    def test_a_paused_run_survives_its_executor(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = create_agent(client, on_budget_exceeded="pause", max_cost_usd=1)
        put_budget(client, 0)
        run_id = start_run(client, agent_id)
        wait_for_state(client, run_id, "paused")
        for deaths in (1, 2):
            platform.kill("executor")
            platform.wait_until_serving()
            until(lambda: get_run(client, run_id)["last_sequence"] == 4 + deaths)  # noqa: B023 -- called at once
            assert get_run(client, run_id)["state"] == "paused"
        assert reserved_usd(client) == 0
        put_budget(client, 5)
        assert wait_for_end(client, run_id)["state"] == "completed"
        types = event_types(client, run_id)
        assert types.count("run_resumed") == 2
        assert types.count("run_paused") == types.count("run_continued") == 1
        until(lambda: reserved_usd(client) == 0)
        assert_is_paid(client, run_id)

    def test_with_a_least_output_a_call_takes_what_there_is(self, client: Client) -> None:
        # A whole worst case is more than 7 cents.
        put_budget(client, 0.03)
        assert execute(client, create_agent(client))["state"] == "budget_exceeded"
        modest = create_agent(client, min_output_tokens=100)
        assert execute(client, modest)["state"] == "completed"


class TestLimits:
    def test_a_limit_is_held_while_the_run_lives_and_given_back(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = agent_that_has_run(client)
        put_budget(client, 5)
        with platform.paused("tool-runner"):
            run_id = start(client, agent_id, max_cost_usd=1)
            # The first call is made, and its tool waits.
            until(lambda: "tool_call_started" in types_so_far(client, run_id))
            # What the first call has cost is spent of it, and no call is under way.
            until(lambda: 0.99 < reserved_usd(client) < 1)
        assert wait_for_end(client, run_id)["state"] == "completed"
        assert reserved_usd(client) == 0
        assert_is_paid(client, run_id)

    def test_a_limit_is_not_held_twice_by_an_heir(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = agent_that_has_run(client)
        put_budget(client, 5)
        with platform.paused("tool-runner"):
            run_id = start(client, agent_id, max_cost_usd=1)
            until(lambda: "tool_call_started" in types_so_far(client, run_id))
            platform.kill("executor")
            until(lambda: client.get("/api/v1/runs").status == 200)
            assert reserved_usd(client) <= 1
        assert wait_for_end(client, run_id)["state"] == "completed"
        until(lambda: reserved_usd(client) == 0)
        assert_is_paid(client, run_id)

    def test_a_run_ends_at_its_limit(self, client: Client) -> None:
        agent_id = create_agent(client, max_cost_usd=0.01, on_budget_exceeded="pause")
        assert client.get(f"/api/v1/agents/{agent_id}").body["max_cost_usd"] == 0.01
        run = execute(client, agent_id)
        assert (run["state"], run["code"]) == ("budget_exceeded", "BUDGET_EXCEEDED")

    def test_a_tree_of_runs_draws_from_its_root(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id, child_agent = agent_that_has_run(client), create_agent(client, tools={})
        before = cost_usd(client)
        put_budget(client, 1 + before)
        with platform.paused("tool-runner"):
            root = start(client, agent_id, max_cost_usd=1)
            until(lambda: "tool_call_started" in types_so_far(client, root))
            path = f"/api/v1/agents/{child_agent}/execute"
            # The budget is held by the root, so that no other run gets anything.
            stranger = client.post(path, {"input": "Hello!"}).body
            assert stranger["state"] == "budget_exceeded"
            child = client.post(path, {"input": "Hello!", "parent_run_id": root}).body
            assert child["state"] == "completed", child
            assert get_run(client, child["task_id"])["parent_run_id"] == root
        assert wait_for_end(client, root)["state"] == "completed"
        until(lambda: reserved_usd(client) == 0)
        assert_is_paid(client, child["task_id"])
        gone = client.post(path, {"input": "Hello!", "parent_run_id": root})
        assert_is_error(gone, 400, "RUN_FINISHED")
        unknown = client.post(path, {"input": "Hello!", "parent_run_id": "nobody's"})
        assert_is_error(unknown, 404, "RUN_NOT_FOUND")

    def test_another_organizations_run_is_no_parent(
        self, platform: RunningPlatform, organization: str, client: Client
    ) -> None:
        stranger = platform.client(platform.token(f"{organization}-other"))
        agent_id = create_agent(client, on_budget_exceeded="pause")
        put_budget(client, 0)
        run_id = start_run(client, agent_id)
        theirs = create_agent(stranger)
        answer = stranger.post(
            f"/api/v1/agents/{theirs}/runs", {"input": SUM, "parent_run_id": run_id}
        )
        assert_is_error(answer, 404, "RUN_NOT_FOUND")

    @pytest.mark.parametrize("limit", [-1, 9_000_001, "a lot"])
    def test_a_limit_that_cannot_be_is_refused(self, client: Client, limit: object) -> None:
        agent_id = create_agent(client)
        path = f"/api/v1/agents/{agent_id}/execute"
        answer = client.post(path, {"input": SUM, "max_cost_usd": limit})
        assert answer.status == 400, answer.content


class TestLedgerAway:
    def test_by_default_runs_fail_while_it_is_away(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = create_agent(client, tools={})
        with platform.paused("up"):
            platform.kill("ledger")
            run = execute(client, agent_id, "Hello!")
        assert run["state"] == "failed"
        assert run["code"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        assert run["tokens_used"] == 0
        platform.wait_until_serving()

    def test_with_proceed_runs_go_on_and_are_settled_once_it_is_back(self) -> None:
        with running_platform(EXECUTOR_ON_LEDGER_UNAVAILABLE="proceed") as platform:
            client = platform.client()
            agent_id = create_agent(client, tools={})
            with platform.paused("up"):
                platform.kill("ledger")
                run_id = start_run(client, agent_id, "Hello!")
                until(lambda: "model_call_completed" in types_so_far(client, run_id))
                assert get_run(client, run_id)["state"] == "running", "it waits to be settled"
            assert wait_for_end(client, run_id)["state"] == "completed"
            assert_is_paid(client, run_id)
            (entry,) = pages(client, f"/api/v1/usage/entries?run_id={run_id}", "entries")
            assert (entry["reservation_outcome"], entry["estimated"]) == ("none", False)
            assert unheld_calls(platform) == 1


def agent_that_has_run(client: Client) -> str:
    """Returns an agent whose next run needs the tool-runner for nothing but its tool calls."""
    agent_id = create_agent(client)
    execute(client, agent_id)
    return agent_id


def start(client: Client, agent_id: str, **fields: Any) -> str:
    """Starts a run with further fields in the background and returns its id."""
    answer = client.post(f"/api/v1/agents/{agent_id}/runs", {"input": SUM, **fields})
    assert answer.status == 200, answer.content
    run_id: str = answer.body["id"]
    return run_id


def types_so_far(client: Client, run_id: str) -> set[str]:
    """Returns the types of the events that a run has by now."""
    last = get_run(client, run_id)["last_sequence"]
    events = client.events(run_id)
    types = {next(events)["type"] for _ in range(last)}
    events.close()
    return types


def cost_usd(client: Client) -> float:
    """Returns what the budget's organization has spent."""
    entries = pages(client, "/api/v1/usage/entries", "entries")
    return sum(int(entry["cost_nano_usd"]) for entry in entries) / NANO_PER_USD


def unheld_calls(platform: RunningPlatform) -> float:
    """Returns how many model calls the executor says it made without a hold."""
    port = platform.ports.metrics_base + EXECUTOR_OFFSET
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    (value,) = re.findall(
        r"^agent_executor_unheld_model_calls_total\{.*\} (.*)$", text, re.MULTILINE
    )
    return float(value)

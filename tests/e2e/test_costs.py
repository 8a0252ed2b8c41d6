"""The answer, the run's events and the ledger agree to the nano-dollar; budgets hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.agents_and_runs import (
    SUM,
    THREE_SUMS,
    TOKEN_CLASSES,
    assert_costs_agree,
    create_agent,
    entry_tokens,
    execute,
    get_run,
    pages,
    start_run,
    wait_for_end,
)
from tests.platforms import Client, RunningPlatform

NANO_PER_USD = 1_000_000_000
# claude-sonnet-4, in nano-dollars per token, by class.
SONNET_4_PRICES = (3_000, 15_000, 300, 3_750, 6_000)
# Long enough to be read from and written to the prompt cache.
LONG_INSTRUCTIONS = "Use the calculator for every sum. " * 200


def entries_of(client: Client, run_id: str) -> list[dict[str, Any]]:
    return list(pages(client, f"/api/v1/usage/entries?run_id={run_id}", "entries"))


def total(client: Client, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/api/v1/usage?{query}")
    assert answer.status == 200, answer.content
    body: dict[str, Any] = answer.body["total"]
    return body


def put_budget(client: Client, budget_id: str, **fields: Any) -> None:
    answer = client.put(f"/api/v1/budgets/{budget_id}", fields)
    assert answer.status == 200, answer.content


@pytest.mark.parametrize("text", [SUM, THREE_SUMS, "Hello!", "What is 1 / 0?"])
@pytest.mark.parametrize("instructions", ["", LONG_INSTRUCTIONS], ids=["short", "long"])
def test_every_account_of_a_run_agrees(client: Client, text: str, instructions: str) -> None:
    answer = execute(client, create_agent(client, instructions=instructions), text)
    cost, tokens = int(answer["cost_nano_usd"]), answer["tokens_used"]
    assert cost > 0
    assert tokens > 0

    # Within the answer, and the run as it is read later.
    run = get_run(client, answer["task_id"])
    for account in (answer, answer["output"], run, run["output"]):
        assert int(account["cost_nano_usd"]) == cost
        assert account["cost_usd"] == cost / NANO_PER_USD
        assert account["tokens_used"] == tokens

    events = list(client.events(run["id"]))
    settled = [event["model_call_settled"] for event in events if "model_call_settled" in event]
    assert sum(int(event["cost_nano_usd"]) for event in settled) == cost
    usage = [event["model_call_completed"] for event in events if "model_call_completed" in event]
    counted = ("input_tokens", "output_tokens", "cache_read_input_tokens")
    names = (*counted, "cache_creation_input_tokens")
    assert sum(event[name] for event in usage for name in names) == tokens

    entries = entries_of(client, run["id"])
    assert sum(int(entry["cost_nano_usd"]) for entry in entries) == cost
    assert sum(map(entry_tokens, entries)) == tokens
    calls = [entry for entry in entries if entry["kind"] == "model_call"]
    assert {entry["id"] for entry in calls} == {event["usage_entry_id"] for event in settled}
    # A call that its tool or the tool-runner refused for its arguments is none that anybody pays.
    results = [
        event["tool_call_completed"]["tool_result"]
        for event in events
        if "tool_call_completed" in event
    ]
    tools = {result["tool_call_id"] for result in results if result["success"]}
    assert {entry["id"] for entry in entries if entry["kind"] == "tool_call"} == tools
    assert len(entries) == len(calls) + len(tools)

    summed = total(client, f"run_id={run['id']}")
    assert int(summed["cost_nano_usd"]) == cost
    assert int(summed["tokens_used"]) == tokens
    assert_costs_agree(client)


def test_entries_cost_what_the_price_list_says(client: Client) -> None:
    agent_id = create_agent(client, instructions=LONG_INSTRUCTIONS)
    run_id = execute(client, agent_id, THREE_SUMS)["task_id"]
    entries = entries_of(client, run_id)
    seen = [sum(entry["usage"][name] for entry in entries) for name in TOKEN_CLASSES]
    # All classes that the mock model uses are in it.
    assert all(seen[:4])
    for entry in entries:
        tokens = [entry["usage"][name] for name in TOKEN_CLASSES]
        assert int(entry["cost_nano_usd"]) == sum(
            count * price for count, price in zip(tokens, SONNET_4_PRICES, strict=True)
        )
        assert entry["cost_usd"] == int(entry["cost_nano_usd"]) / NANO_PER_USD


def test_entries_name_whose_they_are(
    platform: RunningPlatform, organization: str, client: Client
) -> None:
    ada = platform.client(platform.token(organization, user="ada"))
    agent_id = create_agent(client)
    run_id = execute(ada, agent_id)["task_id"]
    for entry in entries_of(client, run_id):
        assert (entry["user_id"], entry["agent_id"], entry["run_id"]) == ("ada", agent_id, run_id)
        of_a_model = entry["kind"] == "model_call"
        assert entry["kind"] in ("model_call", "tool_call")
        assert entry["model"] == ("claude-sonnet-4-20250514" if of_a_model else "")
        assert entry["tool_name"] == ("" if of_a_model else "calculator")
        assert entry["estimated"] is False
        assert entry["is_test"] is False


def test_sums_by_group_add_up_to_the_total(
    platform: RunningPlatform, organization: str, client: Client
) -> None:
    ada = platform.client(platform.token(organization, user="ada"))
    agents = [create_agent(client), create_agent(client, model="claude-opus-4-20250514")]
    runs = [execute(caller, agent_id) for caller in (client, ada) for agent_id in agents]
    whole = total(client)
    assert int(whole["cost_nano_usd"]) == sum(int(run["cost_nano_usd"]) for run in runs)
    for group in ("user", "agent", "model", "run", "day"):
        rows = list(pages(client, f"/api/v1/usage?group_by={group}", "summaries", page_size=1))
        # Tool calls have no model.
        assert len(rows) == {"run": 4, "day": 1, "model": 3}.get(group, 2)
        for name in ("cost_nano_usd", "tokens_used", "entry_count"):
            assert sum(int(row[name]) for row in rows) == int(whole[name])
    by_agent = client.get("/api/v1/usage?group_by=agent").body["summaries"]
    costs = {row["agent_id"]: int(row["cost_nano_usd"]) for row in by_agent}
    for agent_id in agents:
        own = [int(run["cost_nano_usd"]) for run in runs if run["agent_id"] == agent_id]
        assert costs[agent_id] == sum(own)
    assert int(total(client, "user_id=ada")["cost_nano_usd"]) == sum(
        int(run["cost_nano_usd"]) for run in runs[2:]
    )


def test_tests_are_marked_and_cost_as_much(client: Client) -> None:
    agent_id = create_agent(client)
    run = execute(client, agent_id)
    test = client.post(f"/api/v1/agents/{agent_id}/test", {"input": SUM}).body
    assert (test["tokens_used"], test["cost_nano_usd"]) == (
        run["tokens_used"],
        run["cost_nano_usd"],
    )
    assert get_run(client, test["task_id"])["is_test"] is True
    assert get_run(client, run["task_id"])["is_test"] is False
    assert {entry["is_test"] for entry in entries_of(client, test["task_id"])} == {True}
    assert {entry["is_test"] for entry in entries_of(client, run["task_id"])} == {False}
    assert_costs_agree(client)


class TestBudgets:
    def test_nothing_passes_a_budget_of_zero(self, client: Client) -> None:
        agent_id = create_agent(client)
        put_budget(client, "none", limit_usd=0)
        run = execute(client, agent_id)
        assert run["state"] == run["output"]["state"] == "budget_exceeded"
        assert run["code"] == "BUDGET_EXCEEDED"
        assert run["error"]
        assert (run["tokens_used"], run["cost_usd"]) == (0, 0)
        assert entries_of(client, run["task_id"]) == []

        test = client.post(f"/api/v1/agents/{agent_id}/test", {"input": SUM})
        assert (test.status, test.body["success"]) == (200, False)
        assert test.body["test_output"]["state"] == "budget_exceeded"

        started = wait_for_end(client, start_run(client, agent_id))
        assert started["state"] == "budget_exceeded"
        last = list(client.events(started["id"]))[-1]
        assert last["run_finished"]["state"] == "budget_exceeded"

    def test_when_it_is_gone_runs_go_on(self, client: Client) -> None:
        agent_id = create_agent(client)
        put_budget(client, "none", limit_usd=0)
        assert execute(client, agent_id)["state"] == "budget_exceeded"
        assert client.delete("/api/v1/budgets/none").status == 200
        assert execute(client, agent_id)["state"] == "completed"

    def test_it_concerns_what_it_names(
        self, platform: RunningPlatform, organization: str, client: Client
    ) -> None:
        ada = platform.client(platform.token(organization, user="ada"))
        stranger = platform.client(platform.token(f"{organization}-other"))
        first, second = create_agent(client), create_agent(client)
        put_budget(client, "agents", agent_id=first, limit_usd=0)
        put_budget(client, "users", user_id="ada", limit_usd=0)
        assert execute(client, first)["state"] == "budget_exceeded"
        assert execute(client, second)["state"] == "completed"
        assert execute(ada, second)["state"] == "budget_exceeded"
        assert execute(stranger, create_agent(stranger))["state"] == "completed"

    def test_it_counts_what_was_spent(self, client: Client) -> None:
        put_budget(client, "ours", limit_usd=5)
        cost = int(execute(client, create_agent(client))["cost_nano_usd"])
        budget = client.get("/api/v1/budgets/ours").body
        assert int(budget["settled_nano_usd"]) == cost
        assert int(budget["reserved_nano_usd"]) == 0
        assert (int(budget["limit_nano_usd"]), budget["limit_usd"]) == (5 * NANO_PER_USD, 5)
        assert client.get("/api/v1/budgets").body["budgets"] == [budget]

    def test_it_is_never_overshot(self, client: Client) -> None:
        # A call is held at 7.4 cents and costs a tenth of one: one at a time passes, and not for long.
        agent_id = create_agent(client)
        put_budget(client, "ours", limit_usd=0.08)
        assert execute(client, agent_id)["state"] == "completed"
        with ThreadPoolExecutor(12) as pool:
            runs = list(pool.map(lambda _: execute(client, agent_id), range(48)))
        assert "budget_exceeded" in {run["state"] for run in runs}
        budget = client.get("/api/v1/budgets/ours").body
        assert int(budget["settled_nano_usd"]) <= int(budget["limit_nano_usd"])
        assert int(budget["reserved_nano_usd"]) == 0
        assert_costs_agree(client)
        assert int(budget["settled_nano_usd"]) == int(total(client)["cost_nano_usd"])

"""What most tests do with a platform: make an agent, run it, wait for the end, add up the cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.platforms import Client, until

SUM = "What is 15 + 27?"
THREE_SUMS = "What is 15 + 27? What is 3 * 4? What is 10 - 4?"
FINAL_STATES = {"completed", "failed", "cancelled", "budget_exceeded"}
TOKEN_CLASSES = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens_5m",
    "cache_creation_input_tokens_1h",
)


def create_agent(client: Client, **fields: Any) -> str:
    """Creates an agent with a calculator, unless told otherwise, and returns its id."""
    body = {"name": "Math Assistant", "tools": {"calculator": True}, **fields}
    answer = client.post("/api/v1/agents", body)
    assert answer.status == 200, answer.content
    agent_id: str = answer.body["id"]
    return agent_id


def execute(client: Client, agent_id: str, text: str = SUM) -> dict[str, Any]:
    """Executes an agent and returns the answer, which must be a run that has ended."""
    answer = client.post(f"/api/v1/agents/{agent_id}/execute", {"input": text})
    assert answer.status == 200, answer.content
    body: dict[str, Any] = answer.body
    assert body["state"] in FINAL_STATES
    return body


def start_run(client: Client, agent_id: str, text: str = SUM) -> str:
    """Starts a run in the background and returns its id."""
    answer = client.post(f"/api/v1/agents/{agent_id}/runs", {"input": text})
    assert answer.status == 200, answer.content
    run_id: str = answer.body["id"]
    return run_id


def get_run(client: Client, run_id: str) -> dict[str, Any]:
    """Returns a run."""
    answer = client.get(f"/api/v1/runs/{run_id}")
    assert answer.status == 200, answer.content
    run: dict[str, Any] = answer.body
    return run


def wait_for_end(client: Client, run_id: str) -> dict[str, Any]:
    """Polls a run until it has ended and returns it."""
    until(lambda: get_run(client, run_id)["state"] in FINAL_STATES, what=f"the end of run {run_id}")
    return get_run(client, run_id)


def pages(client: Client, path: str, field: str, page_size: int = 1000) -> Iterator[dict[str, Any]]:
    """Yields every item of a list, page by page."""
    separator = "&" if "?" in path else "?"
    token = ""
    while True:
        answer = client.get(f"{path}{separator}page_size={page_size}&page_token={token}")
        assert answer.status == 200, answer.content
        assert len(answer.body[field]) <= page_size
        yield from answer.body[field]
        token = answer.body["next_page_token"]
        if not token:
            return


def entry_tokens(entry: dict[str, Any]) -> int:
    """Returns the tokens of all classes of a ledger entry."""
    return sum(entry["usage"][name] for name in TOKEN_CLASSES)


def assert_costs_agree(client: Client) -> None:
    """Holds the runs of an organization against its ledger, to the nano-dollar and the token.

    Each run must agree with its entries, and all of them with the ledger's own sums.
    """
    runs = list(pages(client, "/api/v1/runs", "runs"))
    entries = list(pages(client, "/api/v1/usage/entries", "entries"))
    assert {run["state"] for run in runs} <= FINAL_STATES
    assert len({entry["id"] for entry in entries}) == len(entries)
    assert {entry["run_id"] for entry in entries} <= {run["id"] for run in runs}
    for run in runs:
        own = [entry for entry in entries if entry["run_id"] == run["id"]]
        cost = sum(int(entry["cost_nano_usd"]) for entry in own)
        assert int(run["cost_nano_usd"]) == cost, run
        assert run["tokens_used"] == sum(map(entry_tokens, own)), run
    total = client.get("/api/v1/usage").body["total"]
    assert int(total["entry_count"]) == len(entries)
    assert int(total["cost_nano_usd"]) == sum(int(run["cost_nano_usd"]) for run in runs)
    assert int(total["tokens_used"]) == sum(run["tokens_used"] for run in runs)


def begun_conversation(client: Client, agent_id: str) -> str:
    """Begins a conversation with a run and returns its id."""
    body = {"input": "Hello!", "conversation_id": "ours"}
    answer = client.post(f"/api/v1/agents/{agent_id}/execute", body)
    assert answer.status == 200, answer.content
    return "ours"

"""What tests do with tool calls that wait for a person."""

from __future__ import annotations

from typing import Any

from tests.e2e.agents_and_runs import SUM, create_agent, get_run, pages, start_run, wait_for_end
from tests.platforms import Answer, Client, until

EVERY_SUM = {"rules": [{"tool": "calculator", "reason": "Sums are sent to a person."}]}


def agent_that_asks(client: Client, **policy: Any) -> str:
    return create_agent(client, approval_policy={**EVERY_SUM, **policy})


def waiting_run(client: Client, text: str = SUM, **policy: Any) -> str:
    """Starts a run and returns its id once nothing of it is left but to decide."""
    run_id = start_run(client, agent_that_asks(client, **policy), text)
    until(
        lambda: get_run(client, run_id)["state"] == "waiting" and approvals(client, run_id),
        what="the wait for a person",
    )
    return run_id


def approvals(client: Client, run_id: str = "") -> list[dict[str, Any]]:
    return list(pages(client, f"/api/v1/approvals?run_id={run_id}", "approvals"))


def resolve(client: Client, approval: dict[str, Any], decision: str, **body: Any) -> Answer:
    path = f"/api/v1/runs/{approval['run_id']}/approvals/{approval['tool_call_id']}"
    return client.post(path, {"decision": decision, **body})


def resolved(client: Client, approval: dict[str, Any], decision: str, **body: Any) -> Any:
    answer = resolve(client, approval, decision, **body)
    assert answer.status == 200, answer.content
    return answer.body


def decided_run(client: Client) -> tuple[str, str]:
    """Returns a run that has ended, and a call of it that a person let pass."""
    run_id = waiting_run(client)
    [approval] = approvals(client, run_id)
    resolved(client, approval, "approve")
    wait_for_end(client, run_id)
    return run_id, approval["tool_call_id"]

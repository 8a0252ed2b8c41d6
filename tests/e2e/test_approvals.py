"""Tool calls that wait for a person: asked for, listed, let pass, edited, denied, expired."""

from __future__ import annotations

import json
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.agents_and_runs import (
    SUM,
    THREE_SUMS,
    create_agent,
    get_run,
    pages,
    start_run,
    wait_for_end,
)
from tests.e2e.approving import (
    agent_that_asks,
    approvals,
    resolve,
    resolved,
    waiting_run,
)
from tests.e2e.custom_tools import create_custom_agent, register, source_of
from tests.e2e.error_shape import assert_is_error
from tests.platforms import (
    COMMAND,
    Answer,
    Client,
    RunningPlatform,
    command_environment,
    running_platform,
    until,
)


def event_types(client: Client, run_id: str) -> list[str]:
    return [event["type"] for event in client.events(run_id)]


@pytest.fixture
def approver(platform: RunningPlatform, organization: str) -> Client:
    """Another user of the organization, who may read runs and decide about their calls."""
    return platform.client(
        platform.token(organization, "bob", permissions=("run:approve", "run:read"))
    )


def test_a_person_lets_a_call_pass(client: Client, approver: Client) -> None:
    run_id = waiting_run(client)
    [approval] = approvals(approver)
    assert approval["run_id"] == run_id
    assert approval["agent_id"] == get_run(client, run_id)["agent_id"]
    assert (approval["tool_name"], approval["state"]) == ("calculator", "pending")
    assert approval["reason"] == "Sums are sent to a person."
    decided = resolved(approver, approval, "approve", reason="fine")
    assert {**decided, "state": "pending", "decided_by": "", "decision_reason": ""} == approval
    assert (decided["state"], decided["decided_by"]) == ("approved", "bob")
    run = wait_for_end(client, run_id)
    assert (run["state"], run["output"]["response"]) == ("completed", "15 + 27 = 42")
    assert approvals(approver) == []
    types = event_types(client, run_id)
    assert [kind for kind in types if kind.startswith(("approval", "tool"))] == [
        "approval_requested",
        "approval_resolved",
        "tool_call_started",
        "tool_call_completed",
    ]


def test_a_person_edits_the_arguments(client: Client, approver: Client) -> None:
    run_id = waiting_run(client)
    [approval] = approvals(approver, run_id)
    edited = approval["arguments_json"].replace("27", "28")
    assert edited != approval["arguments_json"]
    decided = resolved(approver, approval, "approve", arguments_json=edited)
    assert decided["edited_arguments_json"] == edited
    run = wait_for_end(client, run_id)
    [result] = run["output"]["tool_results"]
    assert (run["state"], result["success"], result["result"]["result"]) == ("completed", True, 43)
    [use] = [
        block
        for message in run["output"]["conversation_history"]
        for block in message["content"]
        if block["type"] == "tool_use"
    ]
    assert "27" in json.dumps(use["input"]), "what the model said is left as it was"
    [told] = [
        block
        for message in run["output"]["conversation_history"]
        for block in message["content"]
        if block["type"] == "tool_result"
    ]
    assert "A person changed the arguments" in told["content"]


def test_arguments_that_the_tool_does_not_take_are_refused(
    client: Client, approver: Client
) -> None:
    run_id = waiting_run(client)
    [approval] = approvals(approver, run_id)
    for wrong in ("no JSON", "[]", '{"expression": 5, "x": 1}'):
        assert_is_error(
            resolve(approver, approval, "approve", arguments_json=wrong), 400, "INVALID_ARGUMENT"
        )
    assert_is_error(resolve(approver, approval, "perhaps"), 400, "INVALID_ARGUMENT")
    assert len(approvals(approver, run_id)) == 1
    resolved(approver, approval, "approve")
    assert wait_for_end(client, run_id)["state"] == "completed"


def test_a_person_denies_a_call(client: Client, approver: Client) -> None:
    run_id = waiting_run(client)
    [approval] = approvals(approver, run_id)
    resolved(approver, approval, "deny", reason="Not today.")
    run = wait_for_end(client, run_id)
    [result] = run["output"]["tool_results"]
    assert (result["success"], result["code"]) == (False, "PERMISSION_DENIED")
    assert result["error"] == "A person denied this call: Not today."
    assert "tool_call_started" not in event_types(client, run_id)
    audit = client.get(f"/api/v1/audit-events?run_id={run_id}").body["audit_events"]
    assert audit == [], "a call that was denied is never sent to the tool-runner"


def test_a_call_that_nobody_decides_about_is_denied(client: Client, approver: Client) -> None:
    run_id = start_run(client, agent_that_asks(client, timeout_seconds=1))
    approval = {"run_id": run_id, "tool_call_id": f"{run_id}_1_0"}
    run = wait_for_end(client, run_id)
    [result] = run["output"]["tool_results"]
    assert (result["success"], result["code"]) == (False, "PERMISSION_DENIED")
    assert "in time" in result["error"]
    assert_is_error(resolve(approver, approval, "approve"), 400, "FAILED_PRECONDITION")


def test_each_call_of_a_turn_is_decided_by_itself(client: Client, approver: Client) -> None:
    run_id = waiting_run(client, THREE_SUMS)
    first, second, third = approvals(approver, run_id)
    resolved(approver, second, "deny")
    until(lambda: len(approvals(approver, run_id)) == 2)
    resolved(approver, third, "approve")
    assert [it["tool_call_id"] for it in approvals(approver, run_id)] == [first["tool_call_id"]]
    resolved(approver, first, "approve")
    run = wait_for_end(client, run_id)
    assert [it["success"] for it in run["output"]["tool_results"]] == [True, False, True]


def test_other_calls_of_the_turn_do_not_wait(client: Client, approver: Client) -> None:
    products = {"properties": {"operation": {"const": "multiply"}}}
    only = {"rules": [{"tool": "calculator", "arguments_schema_json": json.dumps(products)}]}
    expression = {"properties": {"expression": {"pattern": "[*]"}}, "required": ["expression"]}
    only["rules"].append({"tool": "*", "arguments_schema_json": json.dumps(expression)})
    run_id = waiting_run(client, THREE_SUMS, **only)
    waiting = approvals(approver, run_id)
    done = get_run(client, run_id)["output"]["tool_results"]
    assert (len(waiting), len(done)) in {(1, 2), (2, 1)}, (waiting, done)
    for approval in waiting:
        resolved(approver, approval, "approve")
    run = wait_for_end(client, run_id)
    assert [it["success"] for it in run["output"]["tool_results"]] == [True, True, True]


def test_the_caller_of_execute_waits_for_the_decision(client: Client, approver: Client) -> None:
    agent_id = agent_that_asks(client)
    with ThreadPoolExecutor(1) as pool:
        executing = pool.submit(client.post, f"/api/v1/agents/{agent_id}/execute", {"input": SUM})
        until(lambda: approvals(approver))
        assert not executing.done()
        resolved(approver, approvals(approver)[0], "approve")
        answer = executing.result()
    assert (answer.status, answer.body["state"]) == (200, "completed")
    assert answer.body["output"]["response"] == "15 + 27 = 42"


def test_two_people_at_once(client: Client, approver: Client) -> None:
    run_id = waiting_run(client, THREE_SUMS)
    for approval in approvals(approver, run_id):
        together = threading.Barrier(8)

        def decide(number: int, approval: dict[str, Any] = approval) -> Answer:
            together.wait()  # noqa: B023 -- used before the next one is made
            return resolve(approver, approval, "deny" if number % 2 else "approve")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(decide, range(8)))
        won = {answer.body["state"] for answer in answers if answer.status == 200}
        assert len(won) == 1
        assert [answer.status for answer in answers].count(200) == 4
        for answer in answers:
            if answer.status != 200:
                assert_is_error(answer, 400, "FAILED_PRECONDITION")
    wait_for_end(client, run_id)
    assert event_types(client, run_id).count("approval_resolved") == 3


def test_only_who_may_decides(platform: RunningPlatform, client: Client, organization: str) -> None:
    run_id = waiting_run(client)
    [approval] = approvals(client, run_id)
    reader = platform.client(platform.token(organization, permissions=("run:read", "run:execute")))
    assert_is_error(resolve(reader, approval, "approve"), 403, "PERMISSION_DENIED")
    stranger = platform.client(platform.token(f"organization-{uuid.uuid4()}"))
    assert_is_error(resolve(stranger, approval, "approve"), 404, "RUN_NOT_FOUND")
    assert approvals(stranger) == []
    other = {**approval, "tool_call_id": f"{run_id}_9_9"}
    assert_is_error(resolve(client, other, "approve"), 404, "APPROVAL_NOT_FOUND")
    resolved(client, approval, "deny")
    wait_for_end(client, run_id)


def test_approvals_are_listed_page_by_page_and_filtered(client: Client, approver: Client) -> None:
    first, second = waiting_run(client, THREE_SUMS), waiting_run(client)
    listed = list(pages(approver, "/api/v1/approvals", "approvals", page_size=1))
    assert [it["tool_call_id"] for it in listed] == [
        f"{first}_1_0",
        f"{first}_1_1",
        f"{first}_1_2",
        f"{second}_1_0",
    ]
    agent_id = listed[-1]["agent_id"]
    found = list(pages(approver, f"/api/v1/approvals?agent_id={agent_id}", "approvals"))
    assert [it["run_id"] for it in found] == [second]
    for token in ("a", "!", "W10", "bm90IGpzb24"):
        assert_is_error(
            approver.get(f"/api/v1/approvals?page_token={token}"), 400, "INVALID_ARGUMENT"
        )


@pytest.mark.parametrize(
    "policy",
    [
        {"rules": [{"tool": ""}]},
        {"rules": [{"tool": "effect:none"}]},
        {"rules": [{"tool": "a", "arguments_schema_json": "no JSON"}]},
        {"rules": [{"tool": "a", "arguments_schema_json": '{"type": 5}'}]},
        {"rules": [{"tool": "a"}] * 101},
        {"timeout_seconds": -1},
    ],
)
def test_a_policy_that_is_none_makes_no_agent(client: Client, policy: dict[str, Any]) -> None:
    answer = client.post("/api/v1/agents", {"name": "Ada", "approval_policy": policy})
    assert_is_error(answer, 400, "INVALID_ARGUMENT")
    agent_id = create_agent(client)
    changed = client.patch(f"/api/v1/agents/{agent_id}", {"approval_policy": policy})
    assert_is_error(changed, 400, "INVALID_ARGUMENT")


def test_a_policy_is_shown_changed_and_taken_away(client: Client) -> None:
    agent_id = agent_that_asks(client, timeout_seconds=60)
    path = f"/api/v1/agents/{agent_id}"
    shown = client.get(path).body["approval_policy"]
    [rule] = shown["rules"]
    assert (rule["tool"], rule["reason"]) == ("calculator", "Sums are sent to a person.")
    assert shown["timeout_seconds"] == 60
    client.patch(path, {"name": "Bea"})
    assert client.get(path).body["approval_policy"] == shown
    client.patch(path, {"approval_policy": {}})
    assert client.get(path).body.get("approval_policy") is None


def test_a_cancelled_run_waits_for_nobody(client: Client, approver: Client) -> None:
    run_id = waiting_run(client, THREE_SUMS)
    first, second, third = approvals(approver, run_id)
    resolved(approver, second, "deny")
    until(lambda: get_run(client, run_id)["state"] == "waiting")
    answer = client.post(f"/api/v1/runs/{run_id}/cancel", {})
    assert answer.status == 200, answer.content
    receipt = answer.body
    assert (receipt["state"], receipt["was_stopped"]) == ("cancelled", True)
    ids = {it["tool_call_id"] for it in (first, second, third)}
    assert set(receipt["never_begun_call_ids"]) == ids
    assert receipt["unknown_call_ids"] == receipt["finished_call_ids"] == []
    assert approvals(approver) == []
    assert_is_error(resolve(approver, first, "approve"), 400, "RUN_FINISHED")
    assert event_types(client, run_id)[-1] == "run_finished"


def test_a_tool_demands_a_decision_by_itself(client: Client, approver: Client) -> None:
    demanding = source_of('return "done"').replace("effect=", "requires_approval=True, effect=")
    assert register(client, demanding)["requires_approval"] is True
    run_id = start_run(client, create_custom_agent(client), "Test the custom_tool tool")
    until(lambda: approvals(approver, run_id))
    [approval] = approvals(approver, run_id)
    assert approval["reason"] == 'Every call of "custom_tool" needs a decision.'
    resolved(approver, approval, "approve")
    assert wait_for_end(client, run_id)["state"] == "completed"
    # Who registers it has the last word.
    assert register(client, demanding, requires_approval=False)["requires_approval"] is False
    run_id = start_run(client, create_custom_agent(client), "Test the custom_tool tool")
    assert wait_for_end(client, run_id)["state"] == "completed"
    assert "approval_requested" not in event_types(client, run_id)


def test_people_decide_by_commands(platform: RunningPlatform, organization: str) -> None:
    client = platform.client(platform.token(organization))
    run_id = waiting_run(client, THREE_SUMS)
    first, second, third = (it["tool_call_id"] for it in approvals(client, run_id))

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        where = ("--url", f"http://127.0.0.1:{platform.http_port}")
        whose = ("--data-dir", str(platform.data_dir), "--organization", organization)
        return subprocess.run(
            [*COMMAND, "approvals", *arguments, *where, *whose],
            env=command_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    listed = command("list").stdout
    assert all(call_id in listed for call_id in (first, second, third))
    assert "Sums are sent to a person." in listed
    assert len(json.loads(command("list", "--json", "--run", run_id).stdout)) == 3
    assert command("deny", run_id, first, "--reason", "Not today.").stdout == "denied by admin\n"
    edited = command("approve", run_id, second, "--arguments", "no JSON")
    assert (edited.returncode, edited.stdout) == (1, "")
    assert "not the JSON text of an object" in edited.stderr
    for call_id in (second, third):
        assert command("approve", run_id, call_id).stdout == "approved by admin\n"
    results = wait_for_end(client, run_id)["output"]["tool_results"]
    assert [it["success"] for it in results] == [False, True, True]
    assert command("list").stdout == "No tool call waits for a decision.\n"


@pytest.fixture(scope="module")
def pair() -> Iterator[RunningPlatform]:
    """A platform of two executors on one file, each of which may be killed."""
    with running_platform(workers=2) as running:
        yield running


def test_a_decision_may_be_taken_by_another_executor(pair: RunningPlatform) -> None:
    client = pair.client(pair.token(f"organization-{uuid.uuid4()}"))
    run_ids = [waiting_run(client) for _ in range(6)]
    with ThreadPoolExecutor(8) as pool:
        twice = approvals(client) * 2
        answers = list(pool.map(lambda approval: resolve(client, approval, "approve"), twice))
    assert {answer.status for answer in answers} == {200}
    for run_id in run_ids:
        assert wait_for_end(client, run_id)["output"]["response"] == "15 + 27 = 42"
        types = event_types(client, run_id)
        assert (types.count("approval_resolved"), types.count("tool_call_started")) == (1, 1)


def test_an_executor_that_dies_with_decisions_leaves_them_to_the_other(
    pair: RunningPlatform,
) -> None:
    client = pair.client(pair.token(f"organization-{uuid.uuid4()}"))
    run_ids = [waiting_run(client) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        deciding = [
            pool.submit(_resolved_in_spite_of_it, client, approval)
            for approval in approvals(client)
        ]
        pair.kill("executor-1")
        for decision in deciding:
            decision.result()
    # Calls that meet the dead one are answered 503 until it is started again.
    for run_id in run_ids:
        path = f"/api/v1/runs/{run_id}"
        until(lambda path=path: client.get(path).body.get("state") == "completed")  # type: ignore[misc]  # of this run
    pair.wait_until_serving()
    for run_id in run_ids:
        assert wait_for_end(client, run_id)["output"]["response"] == "15 + 27 = 42"
        assert event_types(client, run_id).count("approval_resolved") == 1


@pytest.fixture(scope="module")
def mortal() -> Iterator[RunningPlatform]:
    """A platform whose processes may be killed."""
    with running_platform() as running:
        yield running


def _killed_executor(platform: RunningPlatform) -> Callable[[], object]:
    """Kills the executor and returns what is true once another one has its place."""
    before = platform.kill("executor")
    return lambda: platform.pids().get("executor", before) != before


def test_a_killed_executor_leaves_parked_runs_as_they_are(mortal: RunningPlatform) -> None:
    client = mortal.client(mortal.token(f"organization-{uuid.uuid4()}"))
    run_id, expiring = waiting_run(client), waiting_run(client, timeout_seconds=5)
    until(_killed_executor(mortal))
    mortal.wait_until_serving()
    [approval] = [it for it in approvals(client) if it["run_id"] == run_id]
    resolved(client, approval, "approve")
    assert wait_for_end(client, run_id)["output"]["response"] == "15 + 27 = 42"
    [result] = wait_for_end(client, expiring)["output"]["tool_results"]
    assert "in time" in result["error"]
    for run in (run_id, expiring):
        assert event_types(client, run).count("model_call_started") == 2


def test_a_decision_outlives_the_executor_that_took_it(mortal: RunningPlatform) -> None:
    client = mortal.client(mortal.token(f"organization-{uuid.uuid4()}"))
    run_ids = [waiting_run(client) for _ in range(5)]
    for approval in approvals(client):
        # The kill comes while the run goes on, at whichever moment that is.
        with ThreadPoolExecutor(1) as pool:
            deciding = pool.submit(_resolved_in_spite_of_it, client, approval)
            until(_killed_executor(mortal))
            mortal.wait_until_serving()
            deciding.result()
    for run_id in run_ids:
        run = wait_for_end(client, run_id)
        assert (run["state"], run["output"]["response"]) == ("completed", "15 + 27 = 42")
        types = event_types(client, run_id)
        assert types.count("approval_resolved") == 1
        assert types.count("tool_call_started") == 1
        audit = client.get(f"/api/v1/audit-events?run_id={run_id}").body["audit_events"]
        assert len({it["tool_call_id"] for it in audit}) == 1


def _resolved_in_spite_of_it(client: Client, approval: dict[str, Any]) -> None:
    """Decides, and repeats it until it is answered: the same decision is taken once."""

    def is_answered() -> bool:
        try:
            answer = resolve(client, approval, "approve")
        except OSError:
            return False
        assert answer.status in {200, 502, 503, 504}, answer.content
        return answer.status == 200

    until(is_answered, what="the answer to a decision")

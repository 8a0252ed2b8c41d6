"""Holds what became of runs against the model's count, the witness and the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.e2e.agents_and_runs import FINAL_STATES, assert_costs_agree, pages
from tests.e2e.crash.peers import TOOLS
from tests.e2e.replicas.cluster import Cluster, Organization
from tests.platforms import until

UNKNOWN = "OUTCOME_UNKNOWN"
LOST = "LEASE_LOST"


@dataclass
class Report:
    """What a test came to.

    Attributes:
        repeated_model_calls: Model calls that were in flight at a death and made again.
        repeated_effects: Effects of idempotent and read-only tools that were seen more than once.
        unknown_outcomes: Unsafe calls that were reported as such.
    """

    runs: int = 0
    lost: int = 0
    duplicated: int = 0
    repeated_model_calls: int = 0
    repeated_effects: int = 0
    unknown_outcomes: int = 0


def check(cluster: Cluster, organization: Organization, names: dict[str, str]) -> Report:
    """Waits for the ends of all runs, each of which must be there once and whole.

    Args:
        cluster: The platform.
        organization: Whose runs they are.
        names: What each run is called, and its script.
    """
    client, report = organization.client, Report()
    until(lambda: _all_ended(organization), what="the end of all runs")
    runs = list(pages(client, "/api/v1/runs", "runs"))
    by_name = Counter(run["input"].partition(" ")[0] for run in runs)
    report.runs = len(names)
    report.lost = sum(by_name[name] == 0 for name in names)
    report.duplicated = sum(count > 1 for count in by_name.values())
    assert (report.lost, report.duplicated) == (0, 0), by_name
    assert {run["state"] for run in runs} == {"completed"}, runs
    requests = cluster.witness.requests
    seen = Counter(request.path for request in requests)
    for run in runs:
        name = run["input"].partition(" ")[0]
        events = list(client.events(run["id"]))
        _check_log(events)
        _check_model_calls(cluster, name, names[name], events, report)
        _check_effects(name, names[name], events, seen, report)
    assert_costs_agree(client)
    until(lambda: organization.budget()["reserved_nano_usd"] == "0", what="that nothing is held")
    cluster.verify()
    return report


def _all_ended(organization: Organization) -> bool:
    runs = pages(organization.client, "/api/v1/runs", "runs")
    return all(run["state"] in FINAL_STATES for run in runs)


def _check_log(events: list[dict[str, Any]]) -> None:
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event for event in events if event["type"] == "run_finished"] == [events[-1]]


def _check_model_calls(
    cluster: Cluster, name: str, script: str, events: list[dict[str, Any]], report: Report
) -> None:
    needed = len(turns_of(script)) + 1
    asked = cluster.claude.asked(name)
    answered = [event for event in events if event["type"] == "model_call_completed"]
    assert len(answered) == needed, events
    failed = sum(event["type"] == "model_call_failed" for event in events)
    assert needed <= len(asked) <= needed + failed, (asked, events)
    report.repeated_model_calls += len(asked) - needed


def _check_effects(
    name: str, script: str, events: list[dict[str, Any]], seen: Counter[str], report: Report
) -> None:
    results = {
        result["tool_call_id"].partition("_")[2]: result
        for event in events
        if event["type"] == "tool_call_completed"
        for result in [event["tool_call_completed"]["tool_result"]]
    }
    for turn, tools in enumerate(turns_of(script), start=1):
        for index, tool in enumerate(tools):
            path, result = f"/{name}-{turn}-{index}", results[f"{turn}_{index}"]
            if result["success"]:
                assert seen[path] >= 1, (path, result)
            else:
                assert (result["code"], TOOLS[tool][0]) == (UNKNOWN, "unsafe"), result
                report.unknown_outcomes += 1
            if TOOLS[tool][0] == "unsafe":
                assert seen[path] <= 1, (path, result)
            report.repeated_effects += max(0, seen[path] - 1)


def turns_of(script: str) -> list[list[str]]:
    """Returns the tools of a script, by turn."""
    return [part.split(",") for part in script.split("/") if part]

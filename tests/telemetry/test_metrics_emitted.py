"""What ``/metrics`` of every process shows is what the definitions and the document say, and right."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from agent_executor.serving import metric_names
from agent_executor.serving.metrics import CounterDefinition, Definition, DurationDefinition
from tests.architecture.test_documents import METRICS, quoted, table
from tests.e2e.agents_and_runs import (
    SUM,
    THREE_SUMS,
    create_agent,
    execute,
    start_run,
    wait_for_end,
)
from tests.e2e.approving import EVERY_SUM, approvals, resolved
from tests.e2e.custom_tools import NAME, create_custom_agent, register, source_of
from tests.e2e.custom_tools import call as call_custom
from tests.e2e.ledger_resources import CORRECTION, RECORDED
from tests.e2e.rpc import METHODS, call, channel_to
from tests.platforms import Client, RunningPlatform, until
from tests.telemetry.metrics_pages import OFFSETS, PREFIX, Page, exemplars, page
from tests.web_server import running_web_server

DEFINITIONS: dict[str, Definition[Any]] = {
    member.name: member for member in vars(metric_names).values() if isinstance(member, Definition)
}
# What this platform has no occasion for: the ledger is not away, and the databases are SQLite.
NO_OCCASION = {
    "agent_executor_unheld_model_calls",
    "agent_executor_database_connections",
    "agent_executor_redis_up",
    "agent_executor_redis_errors",
    "agent_executor_redis_duration_seconds",
    "agent_executor_rate_limits_without_redis",
}
PROCESSES_OF = {
    "services": {"executor", "tool-runner", "ledger"},
    "all": {"executor", "tool-runner", "ledger", "web"},
}
# Where a call has a trace, its duration leads to it.
WITH_EXEMPLARS = {
    "executor": {"rpc", "run", "agent_run", "model_call"},
    "tool-runner": {"rpc", "tool_call"},
    "ledger": {"rpc"},
    "web": {"web_request"},
}
AT_REST = {
    "executor": (
        *("runs_active", "runs_waiting", "runs_waiting_oldest_seconds", "runs_owned"),
        *("approvals_waiting", "approvals_waiting_oldest_seconds", "event_streams_open"),
        *("unsettled_model_calls", "unsettled_model_calls_oldest_seconds", "webhooks_waiting"),
    ),
    "ledger": ("reservations_open", "reserved_nano_usd"),
}
EXECUTE_TOOL_CALL = METHODS["ToolCallService/ExecuteToolCall"]


@dataclass(frozen=True, slots=True)
class Driven:
    """A platform that has done a little of everything.

    Attributes:
        before: Its pages before that.
        after: Its pages afterwards.
        agent: The name that the agent of these runs has alone.
        runs: The answers of its runs that were executed, by their states; of the completed ones
            there are two.
    """

    platform: RunningPlatform
    before: Mapping[str, Page]
    after: Mapping[str, Page]
    agent: str
    runs: list[dict[str, Any]]

    def rise(self, process: str, sample_name: str, **labels: str) -> float:
        """Returns by how much a figure of a process has risen."""
        before, after = self.before[process], self.after[process]
        return after.value(sample_name, **labels) - before.value(sample_name, **labels)


def pages(platform: RunningPlatform) -> dict[str, Page]:
    return {process: page(platform, process) for process in OFFSETS}


def drive_runs(client: Client, agent: str) -> list[dict[str, Any]]:
    """Runs an agent to its end in every way, and returns the runs."""
    agent_id = create_agent(client, name=agent, response_cache_ttl_seconds=60)
    runs = [execute(client, agent_id, text) for text in (SUM, THREE_SUMS)]
    with running_web_server() as server:
        url = f"http://127.0.0.1:{server.port}/told"
        body = {"input": SUM, "webhook_url": url, "webhook_secret": "of sixteen bytes at least"}
        started = client.post(f"/api/v1/agents/{agent_id}/runs", body)
        assert started.status == 200, started.content
        runs.append(wait_for_end(client, started.body["id"]))
        server.wait_for("/told")
    client.put("/api/v1/budgets/none", {"limit_usd": 0})
    runs.append(execute(client, agent_id, "What is 1 + 1?"))
    client.delete("/api/v1/budgets/none")
    return runs


def drive_approvals(platform: RunningPlatform, client: Client, agent: str) -> list[dict[str, Any]]:
    """Lets one run wait for a person, who approves, and another, which is cancelled."""
    agent_id = create_agent(client, name=agent, approval_policy=EVERY_SUM)
    others = page(platform, "executor").value("agent_executor_approvals_waiting")
    run_ids = [start_run(client, agent_id) for _ in range(2)]

    def waiting() -> float:
        return page(platform, "executor").value("agent_executor_approvals_waiting") - others

    until(lambda: waiting() == 2, what="the gauge of approvals that wait")
    [approval] = approvals(client, run_ids[0])
    resolved(client, approval, "approve")
    assert client.post(f"/api/v1/runs/{run_ids[1]}/cancel", {}).status == 200
    ended = [wait_for_end(client, run_id) for run_id in run_ids]
    until(lambda: waiting() == 0, what="the gauge of approvals that wait")
    return ended


def drive_tools(platform: RunningPlatform, client: Client, organization: str) -> None:
    """Calls custom tools, well and badly, and has calls refused."""
    read = source_of("return 1", effect="read_only")
    register(client, read, cache_ttl_seconds=600)
    agent_id = create_custom_agent(client)
    assert [call_custom(client, agent_id)["success"] for _ in range(2)] == [True, True]
    register(client, source_of("return len(b'x' * (4 << 30))"))
    assert call_custom(client, create_custom_agent(client))["code"] == "LIMIT_EXCEEDED"
    anybody = platform.token(organization)
    nobody = platform.token(organization, permissions=())
    with channel_to(platform, "tool-runner") as channel:
        for token, fields in (
            (nobody, {}),
            (anybody, {"tool_name": "telescope"}),
            (anybody, {"rate_limits": {"calculator": 0}}),
            (anybody, {"arguments_json": "{"}),
        ):
            request = EXECUTE_TOOL_CALL.request(
                **{
                    "tool_call_id": str(uuid.uuid4()),
                    "tool_name": "calculator",
                    "arguments_json": '{"operation":"add","a":1,"b":2}',
                    **fields,
                }
            )
            (result,) = call(channel, EXECUTE_TOOL_CALL, request, token)
            assert not result.success
    path = "/api/v1/tools/calculator/rate-limit"
    limit = {"max_calls": 0, "window_seconds": 60, "scope": "organization"}
    assert client.put(path, limit).status == 200
    execute(client, create_agent(client))
    assert client.delete(path).status == 200


def not_at_rest(platform: RunningPlatform) -> list[str]:
    """Returns the gauges that are not zero, of those that are when nothing is under way."""
    shown = {process: page(platform, process) for process in ("executor", "ledger")}
    return [
        name
        for process, names in AT_REST.items()
        for name in names
        if shown[process].value(f"{PREFIX}{name}") != 0
    ]


@pytest.fixture(scope="module")
def driven(platform: RunningPlatform) -> Driven:
    organization, agent = f"organization-{uuid.uuid4()}", f"Counted {uuid.uuid4()}"
    client = platform.client(platform.token(organization))
    before = pages(platform)
    runs = drive_runs(client, agent)
    runs += drive_approvals(platform, client, agent)
    drive_tools(platform, client, organization)
    assert client.post("/api/v1/usage/entries", {"entries": [RECORDED]}).status == 200
    less = {**CORRECTION, "usage": {"input_tokens": 0, "output_tokens": 0}}
    assert client.post("/api/v1/usage/corrections", less).status == 200
    assert client.get("/docs").status == 200
    # Gauges are sampled, and a run's driver goes on for a moment after its end was told.
    until(lambda: not_at_rest(platform) == [], what="the rest of every gauge")
    return Driven(platform, before, pages(platform), agent, runs)


def documented_processes() -> dict[str, set[str]]:
    """Returns which processes show each metric, as the document says."""
    return {
        quoted(name)[0].removesuffix("_total"): PROCESSES_OF.get(of, set(of.split(", ")))
        for name, _, of, *_ in table(METRICS, "metric")
    }


def type_of(definition: Definition[Any]) -> str:
    if isinstance(definition, CounterDefinition):
        return "counter"
    return "histogram" if isinstance(definition, DurationDefinition) else "gauge"


def test_every_process_shows_what_the_document_says_and_nothing_else(driven: Driven) -> None:
    expected: dict[str, set[str]] = {process: set() for process in OFFSETS}
    for name, processes in documented_processes().items():
        for process in processes - ({*OFFSETS} if name in NO_OCCASION else set()):
            expected[process].add(name)
    shown = {process: set(shown.families) for process, shown in driven.after.items()}
    assert shown == expected


@pytest.mark.parametrize("process", OFFSETS)
def test_what_is_shown_is_as_it_is_defined(driven: Driven, process: str) -> None:
    for name, family in driven.after[process].families.items():
        definition = DEFINITIONS[name]
        assert (family.type, family.documentation) == (type_of(definition), definition.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(definition.labels), sample


def test_an_agents_figures_are_those_of_its_runs_own_answers(driven: Driven) -> None:
    shown = driven.after["executor"]
    assert [run["state"] for run in driven.runs] == [
        *("completed", "completed", "completed"),
        *("budget_exceeded", "completed", "cancelled"),
    ]
    for state, code, count in (
        ("completed", "OK", 4),
        ("budget_exceeded", "BUDGET_EXCEEDED", 1),
        ("cancelled", "RUN_CANCELLED", 1),
    ):
        labels = {"agent": driven.agent, "state": state, "code": code}
        assert shown.value("agent_executor_agent_runs_total", **labels) == count, labels
    assert shown.value("agent_executor_agent_runs_total", agent=driven.agent) == len(driven.runs)
    for name, expected in (
        ("agent_executor_agent_tokens_total", sum(run["tokens_used"] for run in driven.runs)),
        (
            "agent_executor_agent_cost_nano_usd_total",
            sum(int(run["cost_nano_usd"]) for run in driven.runs),
        ),
        ("agent_executor_agent_run_duration_seconds_count", len(driven.runs)),
    ):
        assert shown.value(name, agent=driven.agent) == expected > 0, name


def test_each_thing_that_happened_is_counted_once(driven: Driven) -> None:
    assert driven.rise("executor", "agent_executor_runs_total", state="cancelled") == 1
    assert driven.rise("executor", "agent_executor_runs_total", state="budget_exceeded") == 1
    assert driven.rise("executor", "agent_executor_runs_taken_over_total", reason="parked") == 2
    assert driven.rise("executor", "agent_executor_run_recovery_duration_seconds_count") == 2
    delivered = "agent_executor_webhook_deliveries_total"
    assert driven.rise("executor", delivered, outcome="delivered") == 1
    for rule, count in (("permission", 1), ("rate_limit", 2), ("tool", 1), ("arguments", 1)):
        refusals = "agent_executor_tool_call_refusals_total"
        assert driven.rise("tool-runner", refusals, rule=rule) == count, rule
    for scope in ("caller", "organization"):
        refusals = "agent_executor_rate_limit_refusals_total"
        assert driven.rise("tool-runner", refusals, scope=scope) == 1, scope
    for result in ("hit", "miss"):
        lookups = "agent_executor_result_cache_lookups_total"
        assert driven.rise("tool-runner", lookups, result=result) == 1, result
    deaths = "agent_executor_sandbox_worker_deaths_total"
    assert driven.rise("tool-runner", deaths, reason="memory_bytes") == 1
    for tool, code, count in (
        (NAME, "OK", 2),
        (NAME, "LIMIT_EXCEEDED", 1),
        ("unknown", "TOOL_NOT_FOUND", 1),
        ("calculator", "PERMISSION_DENIED", 1),
        ("calculator", "RATE_LIMIT_EXCEEDED", 2),
    ):
        calls = "agent_executor_tool_calls_total"
        assert driven.rise("tool-runner", calls, tool=tool, code=code) == count, (tool, code)
    assert driven.rise("ledger", "agent_executor_reservations_total", outcome="refused") == 1


def test_what_the_executor_and_the_ledger_count_agrees(driven: Driven) -> None:
    tokens = driven.rise("executor", "agent_executor_model_tokens_total")
    assert tokens > 0
    recorded = sum(RECORDED["usage"].values())
    assert driven.rise("ledger", "agent_executor_usage_tokens_total") == tokens + recorded


def test_what_is_at_rest_is_zero_and_what_is_open_is_counted(driven: Driven) -> None:
    assert not_at_rest(driven.platform) == []
    executor = driven.after["executor"]
    assert executor.value("agent_executor_runs_active_max") == 512
    for peer in ("ledger", "tool-runner"):
        assert executor.value("agent_executor_streams_connected", peer=peer) == 1
    workers = "agent_executor_sandbox_workers"
    assert driven.after["tool-runner"].value(workers, state="busy") == 0
    assert driven.after["tool-runner"].value("agent_executor_sandbox_available") == 1


@pytest.mark.parametrize("process", OFFSETS)
def test_each_duration_of_calls_leads_to_a_trace(driven: Driven, process: str) -> None:
    found = exemplars(driven.platform, process)
    for name in WITH_EXEMPLARS[process]:
        assert found.get(f"{PREFIX}{name}_duration_seconds"), name


@pytest.mark.parametrize("process", OFFSETS)
def test_each_process_tells_of_itself(driven: Driven, process: str) -> None:
    shown = driven.after[process]
    assert shown.value("agent_executor_build_info", process=process) == 1
    assert shown.value("agent_executor_event_loop_lag_seconds_count") > 0

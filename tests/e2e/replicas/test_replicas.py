"""Several replicas of every service: none of them is needed, and their sums agree.

``--full`` takes some ten minutes; with ``--log-cli-level=INFO`` it shows its figures.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.agents_and_runs import FINAL_STATES, pages
from tests.e2e.replicas.checking import Report, check
from tests.e2e.replicas.cluster import REPLICAS, Cluster, Organization, running_cluster
from tests.e2e.replicas.traffic import Traffic
from tests.redis_server import RedisServer

_LOGGER = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(1800)

# One of each is restarted and the other one killed, where time is short.
RESTARTED = ("executor-2", "tool-runner-2", "ledger-2")
KILLED = ("executor-1", "tool-runner-1", "ledger-1")
# A few holds of a model call, whose output may cost some six cents, and less than all runs ask for.
LIMIT_USD = 0.25


@pytest.fixture(scope="module")
def cluster(redis_process: RedisServer) -> Iterator[Cluster]:
    with running_cluster(redis_process) as running:
        yield running


def test_a_rolling_restart_under_load_fails_no_request(cluster: Cluster, full: bool) -> None:
    organization = cluster.organization()
    seconds: dict[str, float] = {}
    with Traffic(organization, callers=8 if full else 3) as traffic:
        for _ in range(3 if full else 1):
            for name in REPLICAS if full else RESTARTED:
                seconds[name] = cluster.restart(name)
                traffic.go_on()
    report = check(cluster, organization, traffic.names)
    _tell("rolling restart", traffic, report, f"new ones healthy after {seconds}")
    assert traffic.refusals == []
    assert report.repeated_model_calls == 0


def test_a_killed_replica_loses_no_run_and_repeats_no_effect(cluster: Cluster, full: bool) -> None:
    organization = cluster.organization()
    waited: list[float] = []
    with Traffic(organization, callers=8 if full else 3) as traffic:
        for _ in range(5 if full else 1):
            for name in REPLICAS if full else KILLED:
                killed_at = time.time()
                cluster.kill(name)
                traffic.go_on(2)
                waited += traffic.in_flight_at(killed_at)
                cluster.until_whole()
    report = check(cluster, organization, traffic.names)
    _tell("killed", traffic, report, f"under way at a death: {_spread(waited)}")


def test_a_budget_is_exact_through_all_replicas(cluster: Cluster, full: bool) -> None:
    organization = cluster.organization(limit_usd=LIMIT_USD * (4 if full else 1))
    limit, count = int(organization.budget()["limit_nano_usd"]), 400 if full else 40
    most = 0
    with ThreadPoolExecutor(16) as pool:
        names = (f"{organization.name}-budget-{number}" for number in range(count))
        runs = [pool.submit(_start, organization, name) for name in names]
        while not all(run.done() for run in runs) or not _all_ended(organization):
            budget = organization.budget()
            most = max(most, int(budget["settled_nano_usd"]) + int(budget["reserved_nano_usd"]))
    states = Counter(run["state"] for run in pages(organization.client, "/api/v1/runs", "runs"))
    budget = organization.budget()
    _LOGGER.info("budget: %s of %s at most, runs %s, %s", most, limit, dict(states), budget)
    assert most <= limit
    assert int(budget["settled_nano_usd"]) <= limit
    assert set(states) == {"completed", "budget_exceeded"}
    assert sum(states.values()) == count
    cluster.verify()


@pytest.mark.parametrize("way", ["stopped", "killed", "halted"])
def test_postgresql_goes_away_and_returns(cluster: Cluster, way: str, full: bool) -> None:
    organization = cluster.organization()
    back: list[float] = []
    with Traffic(organization, callers=8 if full else 3) as traffic:
        for _ in range(5 if full else 1):
            if way == "halted":
                cluster.halt_postgres(5.0 if full else 1.0)
            else:
                cluster.end_postgres(at_once=way == "killed")
                time.sleep(5.0 if full else 0.5)
                cluster.postgres.start()
            back_at = time.time()
            traffic.go_on(2)
            back.append(
                min(one.ended_at for one in traffic.done if one.ended_at > back_at) - back_at
            )
    report = check(cluster, organization, traffic.names)
    _tell(f"PostgreSQL {way}", traffic, report, f"first success after its return: {_spread(back)}")
    assert report.unknown_outcomes == 0


def _start(organization: Organization, name: str) -> None:
    path = f"/api/v1/agents/{organization.agent_id}/runs"
    answer = organization.client.post(path, {"input": f"{name} get_it/get_it"})
    assert answer.status == 200, answer.content


def _all_ended(organization: Organization) -> bool:
    runs = pages(organization.client, "/api/v1/runs", "runs")
    return all(run["state"] in FINAL_STATES for run in runs)


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "nothing"
    return f"{len(seconds)}, p50 {statistics.median(seconds):.2f} s, max {max(seconds):.2f} s"


def _tell(what: str, traffic: Traffic, report: Report, more: str) -> None:
    spans = [one.ended_at - one.began_at for one in traffic.done]
    refused = Counter((one.what.partition(" ")[0], one.status) for one in traffic.refusals)
    _LOGGER.info(
        "%s: %s; done %s; %s streams read on; refused and made again %s; %s",
        *(what, report, _spread(spans), traffic.resumed, dict(refused), more),
    )

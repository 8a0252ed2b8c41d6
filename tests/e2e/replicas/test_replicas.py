"""Several replicas of every service: none of them is needed, and their sums agree.

``--full`` takes minutes, and shows its figures with ``-s``.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.replicas.checking import Report, check
from tests.e2e.replicas.cluster import REPLICAS, Cluster, running_cluster
from tests.e2e.replicas.traffic import Traffic
from tests.redis_server import RedisServer

_LOGGER = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def cluster(redis_process: RedisServer) -> Iterator[Cluster]:
    with running_cluster(redis_process) as running:
        yield running


def test_a_rolling_restart_under_load_fails_no_request(cluster: Cluster, full: bool) -> None:
    organization = cluster.organization()
    seconds: dict[str, float] = {}
    with Traffic(organization) as traffic:
        for _ in range(3 if full else 1):
            for name in (*REPLICAS, "web"):
                seconds[name] = cluster.restart(name)
                traffic.go_on(4 if full else 1)
    report = check(cluster, organization, traffic.names)
    _tell("rolling restart", traffic, report, str(seconds))
    assert traffic.refusals == []
    assert report.repeated_model_calls == 0


def _tell(what: str, traffic: Traffic, report: Report, more: str = "") -> None:
    spans = sorted(one.ended_at - one.began_at for one in traffic.done)
    _LOGGER.info(
        "%s: %s; %s things done, p50 %.3f s, max %.3f s; %s streams read on; refused %s; %s",
        *(what, report, len(spans), statistics.median(spans), spans[-1], traffic.resumed),
        *(Counter((one.what, one.status) for one in traffic.refusals), more),
    )

"""A platform at work, and a Prometheus that scrapes it with the rules of deploy/prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_executor.cli.otlp_receiver import OtlpReceiver
from agent_executor.cli.ports import EXECUTOR_OFFSET, LEDGER_OFFSET, TOOL_RUNNER_OFFSET, WEB_OFFSET
from tests.dashboards.expressions import PROMETHEUS
from tests.dashboards.traffic import Traffic
from tests.platforms import RunningPlatform, running_platform, until
from tests.prometheus import RunningPrometheus, running_prometheus
from tests.web_server import running_web_server

# A platform of a few seconds is looked at; on a real one a look every 15 seconds is enough.
SCRAPE_SECONDS = 0.5
SERVICES = {
    "executor": EXECUTOR_OFFSET,
    "tool-runner": TOOL_RUNNER_OFFSET,
    "ledger": LEDGER_OFFSET,
    "web": WEB_OFFSET,
}


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is to look at.

    Attributes:
        prometheus: It has seen all of the traffic.
        receiver: It has the spans.
        start: When the first traffic was seen, in seconds since 1970.
        end: When the last one was.
    """

    prometheus: RunningPrometheus
    receiver: OtlpReceiver
    start: float
    end: float


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    with (
        OtlpReceiver() as receiver,
        running_web_server() as server,
        running_platform(
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
            EXECUTOR_WEBHOOK_ALLOWED_CIDRS='["127.0.0.1/32"]',
        ) as platform,
        running_prometheus(
            tmp_path_factory.mktemp("prometheus"), _configuration(platform, tmp_path_factory)
        ) as prometheus,
    ):
        traffic = Traffic(platform, server)
        start = time.time()
        # What a counter counted before it was first looked at, nobody sees as its growth.
        for turn in range(2):
            traffic.happen()
            _wait_until_seen(prometheus, platform, turn)
        # A range is looked at in steps from its start, of which the last may be a second early.
        yield Observed(prometheus, receiver, start, time.time() + 1)


def _configuration(platform: RunningPlatform, folders: pytest.TempPathFactory) -> dict[str, Any]:
    """Returns the configuration for a bare machine with the ports of this platform, and faster."""
    configuration: dict[str, Any] = yaml.safe_load((PROMETHEUS / "machine.yaml").read_text("utf-8"))
    every = f"{int(SCRAPE_SECONDS * 1000)}ms"
    configuration["global"] = {"scrape_interval": every, "evaluation_interval": every}
    ports = {name: platform.ports.metrics_base + offset for name, offset in SERVICES.items()}
    ports["gateway"] = platform.ports.gateway_admin
    # Nothing asks for the figures of Prometheus itself.
    configuration["scrape_configs"] = [
        {**scraping, "static_configs": [{"targets": [f"127.0.0.1:{ports[scraping['job_name']]}"]}]}
        for scraping in configuration["scrape_configs"]
        if scraping["job_name"] != "prometheus"
    ]
    configuration["rule_files"] = [str(_faster(path, folders)) for path in _rule_files()]
    return configuration


def _rule_files() -> list[Path]:
    return sorted((PROMETHEUS / "rules").glob("*.yaml"))


def _faster(path: Path, folders: pytest.TempPathFactory) -> Path:
    """Copies rules so that they are evaluated as often as everything else."""
    document = yaml.safe_load(path.read_text("utf-8"))
    for group in document["groups"]:
        group.pop("interval", None)
    copy = folders.mktemp("rules") / path.name
    copy.write_text(yaml.safe_dump(document), encoding="utf-8")
    return copy


def _wait_until_seen(prometheus: RunningPrometheus, platform: RunningPlatform, turn: int) -> None:
    """Waits until every process has been scraped, and the rules evaluated, after this moment."""
    now = time.time()
    jobs = [*SERVICES, "gateway"]
    until(
        lambda: all(
            # Of anything but a bare metric, `timestamp` is the time of the question.
            prometheus.value(f'timestamp(up{{job="{job}"}})') > now
            and prometheus.value(f'up{{job="{job}"}}') == 1
            for job in jobs
        ),
        what="a look at every process",
    )
    # Envoy adds up its histograms every five seconds.
    seen = 'sum(envoy_vhost_vcluster_upstream_rq_time_count{envoy_virtual_cluster="waits"})'
    total = 'sum(envoy_vhost_vcluster_upstream_rq_total{envoy_virtual_cluster="waits"})'
    until(
        lambda: prometheus.value(seen) >= 0.9 * prometheus.value(total) > 0,
        what="what Envoy has added up",
    )
    evaluated = time.time()
    record = "gateway:slow_requests:ratio_rate_5m"
    until(
        lambda: prometheus.value(f"timestamp({record})") > evaluated or turn == 0,
        what="the rules of it",
    )

"""What the processes of a platform show of themselves at ``/metrics``."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from agent_executor.cli.ports import (
    EXECUTOR_OFFSET,
    LEDGER_OFFSET,
    TOOL_RUNNER_OFFSET,
    WEB_OFFSET,
)
from tests.platforms import RunningPlatform

OFFSETS = {
    "executor": EXECUTOR_OFFSET,
    "tool-runner": TOOL_RUNNER_OFFSET,
    "ledger": LEDGER_OFFSET,
    "web": WEB_OFFSET,
}
PREFIX = "agent_executor_"
_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Page:
    """The platform's own metrics on one page: ``prometheus_client`` metrics by their names."""

    families: Mapping[str, Any]

    def value(self, sample_name: str, **labels: str) -> float:
        """Returns the sum of the samples of a name that have these labels, others whatever."""
        return sum(
            float(sample.value)
            for family in self.families.values()
            for sample in family.samples
            if sample.name == sample_name and labels.items() <= sample.labels.items()
        )


def fetch(platform: RunningPlatform, process: str, accept: str = "text/plain") -> str:
    """Returns the text of a process's page."""
    port = platform.ports.metrics_base + OFFSETS[process]
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        text: str = response.read().decode()
        return text


def page(platform: RunningPlatform, process: str) -> Page:
    """Returns a process's page."""
    families = text_string_to_metric_families(fetch(platform, process))
    return Page({each.name: each for each in families if each.name.startswith(PREFIX)})


def exemplars(platform: RunningPlatform, process: str) -> dict[str, set[str]]:
    """Returns the trace ids that stand beside the buckets of each histogram of a process."""
    text = fetch(platform, process, "application/openmetrics-text; version=1.0.0")
    found: dict[str, set[str]] = {}
    for family in openmetrics_families(text):  # type: ignore[no-untyped-call]  # has no types
        for sample in family.samples:
            if sample.exemplar:
                found.setdefault(family.name, set()).add(sample.exemplar.labels["trace_id"])
    return found

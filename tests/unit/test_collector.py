"""The collector's configuration, as far as it can be held to be right without a collector."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_executor.serving import semantic_conventions as names

COLLECTOR = Path(__file__).resolve().parents[2] / "deploy" / "collector" / "collector.yaml"
ENVIRONMENT = re.compile(r"\$\{env:(?P<name>[A-Z_]+)(?::-(?P<default>[^}]*))?\}")
KINDS = ("receivers", "processors", "exporters", "extensions")
CONTRIB = {
    "receivers": {"otlp"},
    "processors": {"memory_limiter", "tail_sampling", "batch"},
    "exporters": {"otlp"},
    "extensions": {"health_check"},
}


@pytest.fixture(scope="module")
def text() -> str:
    return COLLECTOR.read_text()


@pytest.fixture(scope="module")
def configuration(text: str) -> dict[str, Any]:
    """The configuration with the defaults of its variables, as the collector reads it."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    loaded = yaml.safe_load(ENVIRONMENT.sub(lambda found: found["default"], "\n".join(lines)))
    assert isinstance(loaded, dict)
    return loaded


def policies(configuration: dict[str, Any]) -> dict[str, Any]:
    listed = configuration["processors"]["tail_sampling"]["policies"]
    return {policy["name"]: policy for policy in listed}


def test_every_variable_has_a_default_and_is_explained(text: str) -> None:
    used = list(ENVIRONMENT.finditer(text))
    assert used
    for variable in used:
        assert variable["default"], variable["name"]
        assert re.search(rf"^#   {variable['name']}\b", text, re.MULTILINE), variable["name"]


def test_every_part_is_declared_used_and_known_to_the_distribution(
    configuration: dict[str, Any],
) -> None:
    used = {kind: set[str]() for kind in KINDS}
    used["extensions"] = set(configuration["service"]["extensions"])
    for pipeline in configuration["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            used[kind] |= set(pipeline[kind])
    for kind in KINDS:
        assert set(configuration[kind]) == used[kind]
        assert {part.partition("/")[0] for part in used[kind]} <= CONTRIB[kind]


def test_memory_is_guarded_first_and_batches_are_made_of_what_is_kept(
    configuration: dict[str, Any],
) -> None:
    pipelines = configuration["service"]["pipelines"]
    assert list(pipelines) == ["traces"]
    assert pipelines["traces"]["processors"] == ["memory_limiter", "tail_sampling", "batch"]


def test_a_policy_is_of_a_type_that_it_says_all_about(configuration: dict[str, Any]) -> None:
    for policy in policies(configuration).values():
        assert set(policy) == {"name", "type", policy["type"]}


def test_errors_slow_and_costly_traces_are_always_kept_and_some_of_the_rest(
    configuration: dict[str, Any],
) -> None:
    found = policies(configuration)
    assert set(found) == {"errors", "slow", "costly", "share-of-the-rest"}
    assert found["errors"]["status_code"] == {"status_codes": ["ERROR"]}
    assert found["slow"]["latency"]["threshold_ms"] > 0
    costly = found["costly"]["numeric_attribute"]
    assert 0 < costly["min_value"] < costly["max_value"] == 2**63 - 1
    assert 0 < found["share-of-the-rest"]["probabilistic"]["sampling_percentage"] <= 100


def test_what_it_decides_by_is_what_spans_say(configuration: dict[str, Any]) -> None:
    said = {value for value in vars(names).values() if isinstance(value, str)}
    keys = [
        policy[policy["type"]]["key"]
        for policy in policies(configuration).values()
        if "key" in policy[policy["type"]]
    ]
    assert keys == [names.AGENT_EXECUTOR_COST_NANO_USD]
    assert set(keys) <= said

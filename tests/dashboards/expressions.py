"""Every expression of the dashboards and the rules, and what it speaks of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from agent_executor.serving import metric_names
from agent_executor.serving.metrics import CounterDefinition, Definition, GaugeDefinition

ROOT: Final = Path(__file__).parents[2]
DASHBOARDS: Final = ROOT / "deploy" / "grafana" / "dashboards"
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
RECORDING: Final = PROMETHEUS / "rules" / "recording.yaml"
ALERT_FILES: Final = tuple(
    PROMETHEUS / "rules" / name for name in ("objectives.yaml", "alerts.yaml")
)

_KEYWORDS: Final = {"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool"}
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_DURATION: Final = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_NAME: Final = re.compile(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)\s*(\()?")
_OF_PROMETHEUS: Final = {"job", "instance", "le"}


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """A query of a panel.

    Attributes:
        dashboard: The dashboard's file, without `.json`.
        panel: The panel's title.
        expression: With the dashboard's variables.
        has_exemplars: Whether Grafana asks for exemplars of it.
    """

    dashboard: str
    panel: str
    expression: str
    has_exemplars: bool


def dashboards() -> dict[str, dict[str, Any]]:
    """Returns the dashboards by their files' names."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in DASHBOARDS.glob("*.json")}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel_queries() -> list[PanelQuery]:
    """Returns every query of every panel."""
    return [
        PanelQuery(name, panel["title"], target["expr"], bool(target.get("exemplar")))
        for name, dashboard in sorted(dashboards().items())
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def rules(path: Path) -> list[dict[str, Any]]:
    """Returns the rules of a file."""
    document = yaml.safe_load(path.read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def rule_expressions() -> dict[str, str]:
    """Returns the expression of every rule by its name."""
    return {
        rule.get("alert") or rule["record"]: rule["expr"]
        for path in (*ALERT_FILES, RECORDING)
        for rule in rules(path)
    }


def every_expression() -> list[str]:
    """Returns the expressions of all panels and rules."""
    return [query.expression for query in panel_queries()] + list(rule_expressions().values())


def metrics_of(expression: str) -> set[str]:
    """Returns the names of the metrics that an expression speaks of."""
    rest = re.sub(
        r"\{[^}]*\}", "", _GROUPING.sub("", _DURATION.sub("", _without_texts(expression)))
    )
    return {
        name for name, call in _NAME.findall(rest) if not call and name.lower() not in _KEYWORDS
    }


def labels_of(expression: str) -> set[str]:
    """Returns the labels that it chooses by or sums up by."""
    rest = _without_texts(expression)
    grouped = {label.strip() for labels in _GROUPING.findall(rest) for label in labels.split(",")}
    matchers = [matcher for each in re.findall(r"\{([^}]*)\}", rest) for matcher in each.split(",")]
    matched = {re.split(r"[=!]", matcher)[0].strip() for matcher in matchers}
    return (grouped | matched) - {""}


def defined_metrics() -> dict[str, set[str]]:
    """Returns the series that the platform's definitions make, with their labels."""
    return {
        name: set(definition.labels) | _OF_PROMETHEUS
        for definition in vars(metric_names).values()
        if isinstance(definition, Definition)
        for name in _series_of(definition)
    }


def _series_of(definition: Definition[Any]) -> Iterator[str]:
    if isinstance(definition, CounterDefinition):
        yield f"{definition.name}_total"
    elif isinstance(definition, GaugeDefinition):
        yield definition.name
    else:
        yield from (f"{definition.name}_{part}" for part in ("bucket", "count", "sum"))


def _without_texts(expression: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)

"""Every query of the dashboards and every rule, in a real Prometheus that scrapes a platform at work."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from tests.dashboards.conftest import Observed
from tests.dashboards.expressions import (
    ALERT_FILES,
    RECORDING,
    dashboards,
    defined_metrics,
    every_expression,
    metrics_of,
    panel_queries,
    rule_expressions,
    rules,
)
from tests.prometheus import needs_prometheus

pytestmark = needs_prometheus

# Panels that rightly show nothing where all goes well, and why.
QUIET = {
    "Model calls with an error": "the calls of the mock do not fail",
    "How long Redis took (p95)": "this platform has no Redis",
    "Errors of Redis": "this platform has no Redis",
    "How long recovery took": "no executor has died whose runs could be taken up",
}
# Longer than a platform of a test lives.
WINDOW = "10m"


def resolved(expression: str, choices: dict[str, str]) -> str:
    """Returns an expression as Grafana sends it."""
    for name, value in {"__rate_interval": WINDOW, "__range": WINDOW, **choices}.items():
        expression = expression.replace(f"${name}", value)
    assert "$" not in expression
    return expression


def choices_of(dashboard: dict[str, Any], observed: Observed, *, is_all: bool) -> dict[str, str]:
    """Returns the values of a dashboard's variables: all, or each that there is by its name."""
    found = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
        assert asked
        metric, label = asked.groups()
        values = observed.prometheus.get(f"label/{label}/values", **{"match[]": metric})
        assert values, variable["query"]
        chosen = "|".join(re.escape(value) for value in values).replace("\\", "\\\\")
        found[variable["name"]] = variable["allValue"] if is_all else f"({chosen})"
    return found


def has_data(series: list[dict[str, Any]]) -> bool:
    return any(not math.isnan(float(value)) for each in series for _, value in each["values"])


@pytest.mark.parametrize("is_all", [True, False])
def test_every_query_of_every_panel_returns_data(observed: Observed, is_all: bool) -> None:
    choices = {
        name: choices_of(dashboard, observed, is_all=is_all)
        for name, dashboard in dashboards().items()
    }
    empty = []
    for query in panel_queries():
        expression = resolved(query.expression, choices[query.dashboard])
        series = observed.prometheus.query_range(expression, observed.start, observed.end)
        if not has_data(series) and query.panel not in QUIET:
            empty.append((query.dashboard, query.panel, expression))
    assert empty == []


def test_every_metric_that_is_spoken_of_has_been_scraped(observed: Observed) -> None:
    scraped = set(observed.prometheus.get("label/__name__/values"))
    used = {name for expression in every_expression() for name in metrics_of(expression)}
    # The counts of what has not happened are not there yet.
    assert used - scraped - defined_metrics().keys() - {"ALERTS"} == set()


def test_every_rule_is_evaluated(observed: Observed) -> None:
    groups = observed.prometheus.get("rules")["groups"]
    evaluated = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert evaluated.keys() == rule_expressions().keys()
    assert [rule for rule in evaluated.values() if rule["health"] != "ok"] == []
    for name in (rule["record"] for rule in rules(RECORDING)):
        assert has_data(observed.prometheus.query_range(name, observed.start, observed.end)), name
    # Nobody is woken for what this traffic was.
    alerts = [rule for path in ALERT_FILES for rule in rules(path)]
    pages = {rule["alert"] for rule in alerts if rule["labels"]["severity"] == "page"}
    assert [name for name in pages if evaluated[name]["state"] == "firing"] == []


def test_histograms_lead_to_the_traces(observed: Observed) -> None:
    traced = {span.trace_id for span in observed.receiver.spans()}
    everything = dict.fromkeys(("agent", "model", "tool", "job"), ".*")
    for query in panel_queries():
        if not query.has_exemplars or query.panel in QUIET:
            continue
        found = observed.prometheus.get(
            "query_exemplars",
            query=resolved(query.expression, everything),
            start=observed.start,
            end=observed.end,
        )
        trace_ids = {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}
        assert trace_ids, query
        assert trace_ids & traced, query

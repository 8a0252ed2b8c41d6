"""The dashboards are those of the code, complete, in order, and speak of what there is."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import yaml

from deploy.grafana.generate import files
from deploy.grafana.panels import TAG
from tests.dashboards.expressions import (
    DASHBOARDS,
    RECORDING,
    ROOT,
    dashboards,
    defined_metrics,
    every_expression,
    labels_of,
    metrics_of,
    panel_queries,
    panels,
    rules,
)

PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
COLUMNS = 24
ALL = sorted(dashboards())
# What Prometheus, its client library and Envoy have by themselves; that these are there is for
# the test with a real Prometheus.
FOREIGN = re.compile(r"up|ALERTS|process_\w+|envoy_\w+")
# Grafana's own variables, and the choice of the source.
GIVEN = {"__rate_interval", "__range", "datasource"}


def test_the_files_are_up_to_date() -> None:
    written = {path: path.read_text("utf-8") for path in DASHBOARDS.glob("*")}
    assert written == files(), "run `make generate`"


@pytest.mark.parametrize("name", ALL)
class TestADashboard:
    def test_it_says_what_it_is(self, name: str) -> None:
        dashboard = dashboards()[name]
        assert dashboard["uid"] == f"{TAG}-{name}"
        assert dashboard["tags"] == [TAG]
        assert dashboard["description"]
        (link,) = dashboard["links"]
        assert (link["type"], link["tags"], link["keepTime"]) == ("dashboards", [TAG], True)

    def test_each_panel_has_its_own_number_title_and_words(self, name: str) -> None:
        every = dashboards()[name]["panels"]
        assert len({panel["id"] for panel in every}) == len(every)
        for row in dashboards_by_row(name):
            titles = [panel["title"] for panel in row]
            assert len(set(titles)) == len(titles)
        for panel in panels(dashboards()[name]):
            assert panel["description"].endswith("."), panel["title"]
            assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"]

    def test_nothing_lies_on_something_else(self, name: str) -> None:
        places = [panel["gridPos"] for panel in dashboards()[name]["panels"]]
        for place in places:
            assert place["x"] >= 0
            assert place["x"] + place["w"] <= COLUMNS
        for one, other in itertools.combinations(places, 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert beside or above, (one, other)

    def test_every_panel_asks_the_chosen_source(self, name: str) -> None:
        source = {"type": "prometheus", "uid": "${datasource}"}
        for panel in panels(dashboards()[name]):
            assert panel["targets"], panel["title"]
            for asking in (panel, *panel["targets"]):
                assert asking["datasource"] == source, panel["title"]
            letters = [target["refId"] for target in panel["targets"]]
            assert len(set(letters)) == len(letters)

    def test_its_variables_are_those_that_its_queries_use(self, name: str) -> None:
        dashboard = dashboards()[name]
        has = {variable["name"] for variable in dashboard["templating"]["list"]}
        used = {
            variable
            for query in panel_queries()
            if query.dashboard == name
            for variable in re.findall(r"\$\{?(\w+)", query.expression)
        }
        assert used | {"datasource"} == has | (used & GIVEN)

    def test_money_is_shown_in_dollars(self, name: str) -> None:
        for panel in panels(dashboards()[name]):
            unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
            for target in panel["targets"]:
                is_money = "nano_usd" in target["expr"]
                assert is_money == (unit == "currencyUSD"), panel["title"]
                assert is_money == ("/ 1e9" in target["expr"]), panel["title"]


def dashboards_by_row(name: str) -> list[list[dict[str, Any]]]:
    """Returns the panels of each row."""
    found: list[list[dict[str, Any]]] = []
    for panel in dashboards()[name]["panels"]:
        if panel["type"] == "row":
            found.append([])
        else:
            found[-1].append(panel)
    return found


def test_durations_of_what_is_traced_lead_to_traces() -> None:
    leading = {(query.dashboard, query.panel) for query in panel_queries() if query.has_exemplars}
    said = {
        (name, panel["title"])
        for name, dashboard in dashboards().items()
        for panel in panels(dashboard)
        if "with its trace" in panel["description"]
    }
    assert leading == said
    assert len(leading) >= 5


@pytest.mark.parametrize("expression", sorted(set(every_expression())))
def test_expressions_speak_of_metrics_and_labels_that_there_are(expression: str) -> None:
    defined = defined_metrics()
    recorded = {rule["record"] for rule in rules(RECORDING)}
    used = metrics_of(expression)
    assert used
    own = used & defined.keys()
    others = used - own - recorded
    assert [name for name in others if not FOREIGN.fullmatch(name)] == []
    if used == own:
        known = set().union(*(defined[name] for name in own))
        assert labels_of(expression) <= known


@pytest.mark.parametrize(
    ("expression", "metrics", "labels"),
    [
        ("up", {"up"}, set()),
        (
            'sum by (a, le) (rate(b_total{c="x(y)", d!~"e"}[5m] offset 1h)) / on (f) g:h > 1e9',
            {"b_total", "g:h"},
            {"a", "le", "c", "d", "f"},
        ),
        ("max(a) or vector(0)", {"a"}, set()),
    ],
)
def test_expressions_are_read(expression: str, metrics: set[str], labels: set[str]) -> None:
    assert metrics_of(expression) == metrics
    assert labels_of(expression) == labels


def test_what_is_provisioned_fits_together() -> None:
    sources = yaml.safe_load((PROVISIONING / "datasources" / "datasources.yaml").read_text())
    prometheus, tempo = sources["datasources"]
    assert prometheus["isDefault"]
    (destination,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert (destination["name"], destination["datasourceUid"]) == ("trace_id", tempo["uid"])
    assert tempo["jsonData"]["serviceMap"]["datasourceUid"] == prometheus["uid"]
    for dashboard in dashboards().values():
        variable = dashboard["templating"]["list"][0]
        assert (variable["type"], variable["query"]) == ("datasource", prometheus["type"])
        assert variable["current"]["value"] == prometheus["uid"]
    scraping = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    assert prometheus["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]

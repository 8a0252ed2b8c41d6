"""Alerts fire when they should and not otherwise, and each has a runbook that speaks of what there is."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.dashboards.expressions import (
    ALERT_FILES,
    PROMETHEUS,
    RECORDING,
    ROOT,
    defined_metrics,
    rules,
)
from tests.prometheus import needs_promtool, promtool

RUNBOOKS = ROOT / "deploy" / "docs" / "runbooks.md"
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yaml"))
ALERTS = [rule for path in ALERT_FILES for rule in rules(path)]
SECTIONS = dict(
    re.findall(r"^## (\S+)\n\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL)
)
QUESTIONS = ["Meaning", "Callers see", "Look first", "Do", "Over when"]


@needs_promtool
@pytest.mark.parametrize("name", ["prometheus.yaml", "machine.yaml"])
def test_the_configuration_and_the_rules_are_sound(name: str) -> None:
    promtool("check", "config", PROMETHEUS / name)


@needs_promtool
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_not_otherwise(path: Any) -> None:
    promtool("test", "rules", path)


def test_each_alert_is_tried_both_ways() -> None:
    tried: dict[bool, set[str]] = {True: set(), False: set()}
    for path in UNIT_TESTS:
        for test in yaml.safe_load(path.read_text("utf-8"))["tests"]:
            for case in test["alert_rule_test"]:
                tried[bool(case["exp_alerts"])].add(case["alertname"])
    names = {rule["alert"] for rule in ALERTS}
    assert tried == {True: names, False: names}


def test_both_configurations_scrape_the_same_services() -> None:
    for_compose, for_a_machine = (
        yaml.safe_load((PROMETHEUS / name).read_text("utf-8"))
        for name in ("prometheus.yaml", "machine.yaml")
    )
    jobs = [
        {scraping["job_name"] for scraping in configuration["scrape_configs"]}
        for configuration in (for_compose, for_a_machine)
    ]
    assert jobs[0] == jobs[1]
    for part in ("global", "rule_files", "storage"):
        assert for_compose[part] == for_a_machine[part]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
class TestAnAlert:
    def test_it_says_how_urgent_it_is_and_what_to_do(self, rule: dict[str, Any]) -> None:
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert ROOT / path == RUNBOOKS
        assert anchor == rule["alert"].lower()

    def test_its_runbook_answers_every_question(self, rule: dict[str, Any]) -> None:
        assert re.findall(r"^- \*\*(.*?)\*\*: ", SECTIONS[rule["alert"]], re.MULTILINE) == QUESTIONS


def test_there_is_no_runbook_without_an_alert() -> None:
    assert list(SECTIONS) == [rule["alert"] for rule in ALERTS]


def test_runbooks_speak_of_what_there_is() -> None:
    text = RUNBOOKS.read_text("utf-8")
    series = set(re.findall(r"\bagent_executor_\w+", text))
    assert series - defined_metrics().keys() == set()
    recorded = {rule["record"] for rule in rules(RECORDING)}
    assert set(re.findall(r"\b\w+:\w+:\w+", text)) <= recorded
    titles = {
        title
        for path in (ROOT / "deploy" / "grafana").glob("*.py")
        for title in re.findall(r'"([A-Z][^"]+)"', path.read_text("utf-8"))
    }
    for panel in re.findall(r"panel \*([^*]+)\*", text):
        assert any(title.startswith(panel) for title in titles), panel

"""What the documents list is what there is: errors, routes, permissions, metrics, targets, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.serving import metric_names
from agent_executor.serving.metrics import CounterDefinition, Definition
from deploy.environment_example import variables_of
from protos.compiler import ROOT
from protos.contracts import HTTP_STATUS_OF_CODE, Contracts

README = ROOT / "README.md"
METRICS = ROOT / "deploy" / "docs" / "metrics.md"
SECURITY = ROOT / "deploy" / "docs" / "security.md"
DOCUMENTS = (README, *sorted((ROOT / "deploy" / "docs").glob("*.md")))


def table(document: Path, first_heading: str) -> list[list[str]]:
    """Returns the cells of the table that begins with this heading, without its head."""
    _, _, rest = document.read_text(encoding="utf-8").partition(f"\n| {first_heading} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def headings(document: Path) -> set[str]:
    """Returns what links may name in a document."""
    return {
        re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    }


def quoted(cell: str) -> list[str]:
    """Returns what a cell has in back quotes."""
    return re.findall(r"`([^`]+)`", cell)


def test_the_errors_are_those_of_the_contract(reason_codes: dict[str, str]) -> None:
    shown = [
        [*quoted(reason), *quoted(code), int(status)]
        for reason, code, status, _ in table(README, "code")
    ]
    assert shown == [
        [reason, code, HTTP_STATUS_OF_CODE[code]] for reason, code in reason_codes.items()
    ]


def test_the_routes_are_those_of_the_contract(contracts: Contracts) -> None:
    routes = {}
    for method in contracts.methods:
        for rule in contracts.bindings(method):
            verb = rule.WhichOneof("pattern")
            routes[f"{verb.upper()} {getattr(rule, verb)}"] = method.name
    assert {quoted(route)[0]: quoted(rpc)[0] for route, rpc in table(README, "route")} == routes


def test_the_permissions_are_those_of_the_contract(contracts: Contracts) -> None:
    required = {
        permission
        for method in contracts.methods
        for error in contracts.errors(method)
        for permission in re.findall(r"PERMISSION_DENIED without ([a-z_:]+)", error.text)
    }
    shown = {quoted(permission)[0] for permission, _ in table(SECURITY, "permission")}
    assert shown == required | {"tool:<name>", "api_key:admin"}


def test_the_metrics_are_those_there_are() -> None:
    defined = {
        f"{member.name}_total" if isinstance(member, CounterDefinition) else member.name: list(
            member.labels
        )
        for member in vars(metric_names).values()
        if isinstance(member, Definition)
    }
    shown = {quoted(name)[0]: quoted(labels) for name, labels, *_ in table(METRICS, "metric")}
    assert shown == defined


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_targets_are_those_of_the_makefile(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", document.read_text("utf-8"), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        led_to = document.parent / path if path else document
        assert led_to.exists(), target
        assert not heading or heading in headings(led_to), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_variables_are_settings(document: Path) -> None:
    example = (ROOT / "deploy" / ".env.example").read_text(encoding="utf-8")
    known = set(re.findall(r"^#([A-Z0-9_]+)=", example, re.MULTILINE))
    # The example leaves out what `up` decides.
    known |= {variable.name for variable in variables_of(GatewaySettings)}
    prefixes = "EXECUTOR|TOOL_RUNNER|LEDGER|WEB|GATEWAY|OTEL"
    named = set(
        re.findall(rf"\b(?:{prefixes})_[A-Z_]*[A-Z]\b", document.read_text(encoding="utf-8"))
    )
    assert named <= known

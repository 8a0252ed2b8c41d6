"""The host's side of an attack: it has tools run, and looks at what they did to the host."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_executor.tool_runner.isolation.limits import SandboxLimits
from tests.integration.tool_runner.isolation.sandbox_process import ENVIRONMENTS, REPOSITORY
from tests.integration.tool_runner.isolation.sandboxes import ATTACKER, CLASS_NAME, tool

# In the tool-runner's environment and memory, where no tool may see it.
RUNNER_SECRET = "secret-of-the-tool-runner"
IDLE_WORKERS = 2
# Small where an attack has to come to a limit.
LIMITS = {"launchers": 1, "idle_workers": IDLE_WORKERS, "cpu_seconds": 1, "http_requests": 5}
_SETTLE_SECONDS_MAX = 60
# Its socket and its pidfd.
_DESCRIPTORS_OF_WORKER = 2
_WELL_BEHAVED = tool("return sum(arguments['numbers'])")

# What native code can do more: frames of its own making, and machine code.
NATIVE = (
    ATTACKER
    + """
import json, mmap, signal, struct, sys, time

def send(kind, payload=b"", length=None):
    data = struct.pack(">IB", len(payload) if length is None else length, kind) + payload
    while data:
        data = data[os.write(3, data):]

def request(url="small", **changes):
    fields = {"method": "GET", "url": url, "headers": None, "params": None, "data": None,
              "json": None, "timeout": 5, "credential": ""}
    return json.dumps({**fields, **changes}).encode()

def run_machine_code(code, at=0):
    libc.mmap.restype = ctypes.c_void_p
    # Below 4 GiB, where code of 32 bits can be.
    page = libc.mmap(None, ctypes.c_size_t(4096), 7, 0x22 | 0x40, -1, ctypes.c_long(0))
    ctypes.memmove(page, code(page) if callable(code) else code, 4096)
    return ctypes.CFUNCTYPE(ctypes.c_long)(page)()

def readable(address):
    # rt_sigprocmask(2) tells without a crash whether there is memory.
    return libc.syscall(14, 1, ctypes.c_void_p(address), None, ctypes.c_size_t(8)) == 0

def count_that_work(*functions):
    worked = 0
    for function in functions:
        try:
            result = function()
        except BaseException:
            continue
        if result != -1:
            worked += 1
    return worked
"""
)


def attack(body: str, before: str = "") -> str:
    """Returns the source of a tool that attacks, with what attacks have in common."""
    return tool(body, NATIVE + before)


@dataclass(frozen=True)
class HostProcess:
    """A process as the host sees it; ``state`` is a letter, Z for a zombie."""

    pid: int
    parent: int
    session: int
    state: str


class Arena:
    """A pool in another process, and what there is of it on the host."""

    def __init__(self, process: subprocess.Popen[str], environment: str) -> None:
        self.environment = environment
        self.pid = process.pid
        self._process = process
        self._answers: dict[int, dict[str, Any]] = {}
        self._last_id = 0
        assert process.stdout is not None
        self.status: dict[str, Any] = json.loads(process.stdout.readline())
        self._sessions = {os.getsid(pid) for pid in self.state()["launcher_pids"]}

    @property
    def tier(self) -> str:
        """The tier that the pool has come to."""
        tier: str = self.status["tier"]
        return tier

    def begin(
        self,
        source: str,
        *,
        arguments: dict[str, Any] | None = None,
        timeout_seconds: float = 20,
        operation: str = "call",
        class_name: str = CLASS_NAME,
    ) -> int:
        """Starts a call, and returns its number."""
        return self._send(
            call_of(
                source,
                arguments=arguments,
                timeout_seconds=timeout_seconds,
                operation=operation,
                class_name=class_name,
            )
        )

    def finish(self, number: int) -> dict[str, Any]:
        """Returns the answer to a call: its ``result``, or its ``error`` with a ``message``."""
        assert self._process.stdout is not None
        while number not in self._answers:
            answer = json.loads(self._process.stdout.readline())
            self._answers[answer.pop("id")] = answer
        answer = self._answers.pop(number)
        # An exception that is no error of ours means that a tool has broken the tool-runner.
        assert "crash" not in answer, answer
        return answer

    def call(self, source: str, **options: Any) -> dict[str, Any]:
        """Returns the answer to a call."""
        return self.finish(self.begin(source, **options))

    def result(self, source: str, **options: Any) -> Any:
        """Returns the result of a call that succeeds."""
        answer = self.call(source, **options)
        assert "result" in answer, answer
        return answer["result"]

    def failure(self, source: str, **options: Any) -> dict[str, Any]:
        """Returns the answer to a call that fails."""
        answer = self.call(source, **options)
        assert "error" in answer, answer
        return answer

    def storm(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Makes all calls at once, and returns their answers."""
        answers: list[dict[str, Any]] = self.finish(self.begin_storm(calls))["answers"]
        return answers

    def begin_storm(self, calls: list[dict[str, Any]]) -> int:
        """Starts calls at once, and returns the number under which all are answered."""
        return self._send({"operation": "storm", "calls": calls})

    def state(self) -> dict[str, Any]:
        """Returns the pool's status, and what its broker has seen since it was asked last."""
        return self.finish(self._send({"operation": "state"}))

    def release(self) -> None:
        """Lets the tools go on whose HTTP requests are held."""
        self.finish(self._send({"operation": "release"}))

    def wait_until_held(self) -> None:
        """Waits until a tool has made an HTTP request that is held."""
        deadline = time.monotonic() + _SETTLE_SECONDS_MAX
        while "hold" not in self.state()["requests_seen"]:
            assert time.monotonic() < deadline

    def processes(self) -> list[HostProcess]:
        """Returns all processes below the tool-runner, and those that have left it.

        What a dead launcher leaves is the host's first process's to bury, at its leisure.
        """
        everyone = host_processes()
        found = {self.pid}
        while True:
            children = {each.pid for each in everyone if each.parent in found} - found
            if not children:
                break
            found |= children
        # A number can be another's as soon as nobody is left in the session.
        self._sessions &= {each.session for each in everyone}
        # A launcher that has just been forked is still in the session of the tests themselves.
        self._sessions |= {e.pid for e in everyone if e.parent == self.pid and e.session == e.pid}
        return [
            each
            for each in everyone
            if each.pid != self.pid
            and (each.pid in found or each.session in self._sessions)
            and (each.parent, each.state) != (1, "Z")
        ]

    def descriptors(self) -> int:
        """Returns how many descriptors the tool-runner has open, those of idle workers aside."""
        opened = sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())
        return opened - _DESCRIPTORS_OF_WORKER * int(self.state()["idle_workers"])

    def _pidfds(self) -> int:
        """Returns how many processes the tool-runner holds; each launcher that is ready twice."""
        links: list[str] = []
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                links.append(str(descriptor.readlink()))
        return sum("pidfd" in link for link in links)

    def memory_kib(self) -> int:
        """Returns the memory of the tool-runner's own process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def cpu_seconds(self) -> float:
        """Returns what the tool-runner's own process has computed."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self, descriptors: int | None = None, *, idle_workers: int = IDLE_WORKERS) -> None:
        """Waits until the pool is whole and nothing else is left of the calls before.

        Args:
            descriptors: How many the tool-runner had open before, the last of a worker that was
                just gone perhaps included; None if nobody has looked.
            idle_workers: How many the pool keeps. It has more, until they are used up, if calls
                that waited gave theirs back because their time was over.
        """
        launchers = 2 if self.tier == "namespaces" else 1
        most = idle_workers + SandboxLimits().busy_workers_max
        deadline = time.monotonic() + _SETTLE_SECONDS_MAX
        while True:
            state = self.state()
            processes = self.processes()
            expected = launchers * len(state["launcher_pids"]) + state["idle_workers"]
            if (
                idle_workers <= state["idle_workers"] <= most
                and state["busy_workers"] == 0
                # A launcher that is not ready, or that is being tested, has fewer or more of them.
                and self._pidfds() == 2 * len(state["launcher_pids"]) + state["idle_workers"]
                and len(processes) == expected
                and all(each.state in "SRD" for each in processes)
                and (descriptors is None or self.descriptors() <= descriptors)
            ):
                return
            assert time.monotonic() < deadline, (state, processes, self.descriptors(), descriptors)
            time.sleep(0.002)

    def assert_well_behaved_call_works(self) -> None:
        """Makes a call that has to succeed."""
        assert self.result(_WELL_BEHAVED, arguments={"numbers": [1, 2, 39]}) == 42

    def close(self) -> None:
        """Ends the pool, of which nothing may be left."""
        assert self.processes()
        self._process.communicate()
        assert self._process.returncode == 0
        # What a dead launcher leaves is dead, too, and buried by the host's first process.
        left = [e for e in host_processes() if e.session in self._sessions and e.state != "Z"]
        assert left == []

    def _send(self, request: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        self._last_id += 1
        self._process.stdin.write(json.dumps({**request, "id": self._last_id}) + "\n")
        self._process.stdin.flush()
        return self._last_id


def call_of(
    source: str,
    *,
    arguments: dict[str, Any] | None = None,
    timeout_seconds: float = 20,
    operation: str = "call",
    class_name: str = CLASS_NAME,
    organization_id: str = "",
) -> dict[str, Any]:
    """Returns a call as the attacked pool takes it."""
    return {
        "operation": operation,
        "source": source,
        "class_name": class_name,
        "organization_id": organization_id,
        "arguments_json": json.dumps(arguments or {}),
        "timeout_seconds": timeout_seconds,
    }


def host_processes() -> list[HostProcess]:
    """Returns all processes of the host."""
    processes = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            processes.append(HostProcess(int(entry.name), int(parent), int(session), state))
    return processes


@contextlib.contextmanager
def open_arena(environment: str, limits: dict[str, int] | None = None) -> Iterator[Arena]:
    """Starts a pool in an environment; at the end nothing may be left of it."""
    process = subprocess.Popen(
        (
            *(sys.executable, "-m", "tests.security.sandbox.attacked_pool"),
            *(environment, json.dumps(limits or LIMITS)),
        ),
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONDONTWRITEBYTECODE": "1", "RUNNER_SECRET": RUNNER_SECRET},
    )
    try:
        arena = Arena(process, environment)
        assert arena.status["available"], arena.status
        assert arena.tier == ENVIRONMENTS[environment].expected_tier
        yield arena
        arena.close()
    finally:
        process.kill()
        process.communicate()

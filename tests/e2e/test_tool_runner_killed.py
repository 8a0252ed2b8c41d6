"""kill -9 in mid-call, at random instants: no unsafe effect happens twice, and no call is lost.

The witness is a web server that the tools reach by requests: it counts what came, by call.
``--full`` kills a hundred times.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from agent_executor.api.tool_runner.v1 import (
    policy_service_pb2,
    policy_service_pb2_grpc,
    tool_call_service_pb2,
    tool_service_pb2,
)
from tests.integration.tool_runner.running_tool_runner import (
    Caller,
    Platform,
    environment_of,
    make_request,
)
from tests.platforms import COMMAND, command_environment
from tests.web_server import HOST, WebServer, running_web_server

_LOGGER = logging.getLogger(__name__)

ROUNDS: Final = 10
ROUNDS_FULL: Final = 100
CALLS_PER_ROUND: Final = 12
# A round of calls takes about as long, so that the instants are spread over all that they do.
KILL_SECONDS_MAX: Final = 0.1
IDLE_WORKERS: Final = 8
# What is promised of the pool. Others may need this machine's processors for a while, so it is
# enough if the promise is kept in half of the cases, and among other tests they need more.
WHOLE_AGAIN_SECONDS: Final = 5.0
WHOLE_AGAIN_SECONDS_FULL: Final = 1.0
CALL_TIMEOUT_SECONDS: Final = 60.0
ADMIN: Final = ("tool:*", "policy:admin")

UNKNOWN: Final = "OUTCOME_UNKNOWN"
VICTIMS: Final = ("tool-runner", "launcher", "worker")
# By the names of the tools: their effects, and the methods of what they ask for.
CUSTOM_TOOLS: Final = {
    "post_it": ("unsafe", "POST"),
    "put_it": ("idempotent", "PUT"),
    "get_it": ("read_only", "GET"),
}
SOURCE: Final = """
import time

from agent_executor import ToolBase


class Witnessed(ToolBase):
    def __init__(self):
        super().__init__("{name}", "Has an effect that the witness sees.", effect="{effect}")

    def _execute_impl(self, arguments):
        time.sleep(0.02)
        self.http.request("{method}", "{origin}/" + arguments["call"])
        time.sleep(0.02)
        return arguments["call"]
"""


@dataclass
class ToolRunnerProcess:
    """The tool-runner as ``agent-executor up`` would keep it: on one port, started again if dead."""

    data_dir: Path
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Starts it; it serves a little later."""
        environment = environment_of(self.data_dir) | {
            "TOOL_RUNNER_GRPC_PORT": str(self.port),
            "TOOL_RUNNER_EGRESS_ALLOWED_CIDRS": '["127.0.0.0/8", "::1/128"]',
            "TOOL_RUNNER_SANDBOX_IDLE_WORKERS": str(IDLE_WORKERS),
            "TOOL_RUNNER_LOG_LEVEL": "error",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent_executor.tool_runner"],
            env=environment,
            stdin=subprocess.DEVNULL,
        )

    def kill(self, victim: str) -> list[int]:
        """Kills a process of it as ``kill -9`` does, and returns those that may not be left."""
        everything = list(_descendants_of(self.process.pid))
        if victim == "tool-runner":
            self.process.kill()
            self.process.wait()
            return everything
        workers = [pid for pid in everything if not _children_of(pid)]
        chosen = workers if victim == "worker" else sorted(set(everything) - set(workers))
        # The one that was chosen may have ended by itself.
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(random.choice(chosen), signal.SIGKILL)
        return []


def _children_of(pid: int) -> list[int]:
    """Returns a process's children, at once, so that the instant stays as random as it was."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _descendants_of(pid: int) -> Iterator[int]:
    for child in _children_of(pid):
        yield child
        yield from _descendants_of(child)


@dataclass
class World:
    """A tool-runner, the witness of what its tools do, and a caller that asks again.

    Attributes:
        calls_hit: Calls that were under way when something was killed.
        whole_again_seconds: From a kill, or from when the tool-runner served again, until the pool
            had all its workers.
    """

    runner: ToolRunnerProcess
    platform: Platform
    caller: Caller
    web: WebServer
    calls_hit: int = 0
    whole_again_seconds: dict[str, list[float]] = field(
        default_factory=lambda: {victim: [] for victim in VICTIMS}
    )

    def request(self, number: str, tool_name: str) -> tool_call_service_pb2.ExecuteToolCallRequest:
        arguments = {"call": number}
        if tool_name == "http_request":
            arguments = {"method": "POST", "url": f"{self.web.origin}/{number}"}
        return make_request(tool_name, json.dumps(arguments), number)

    async def call(self, request: tool_call_service_pb2.ExecuteToolCallRequest) -> Any:
        """Makes a call as the executor does: sent again under its id after a lost stream."""
        grant = self.platform.grant(request, lifetime_seconds=2 * CALL_TIMEOUT_SECONDS)
        return await self.caller.execute("stream", request, grant, CALL_TIMEOUT_SECONDS)

    async def prepare(self) -> None:
        """Registers the tools and lets them reach the witness."""
        token = self.platform.token(*ADMIN)
        policy = policy_service_pb2_grpc.PolicyServiceStub(self.caller.channel)
        await policy.AddAllowedDomain(
            policy_service_pb2.AddAllowedDomainRequest(domain=HOST),
            metadata=token,
            wait_for_ready=True,
        )
        for name, (effect, method) in CUSTOM_TOOLS.items():
            source = SOURCE.format(name=name, effect=effect, method=method, origin=self.web.origin)
            await self.caller.tools.CreateTool(
                tool_service_pb2.CreateToolRequest(
                    name=name,
                    source=source,
                    class_name="Witnessed",
                    allowed_origins=[self.web.origin],
                ),
                metadata=token,
            )

    async def until_whole(self) -> None:
        """Waits until the pool has all its workers."""
        token = self.platform.token(*ADMIN)
        async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    sandbox = await self.caller.tools.GetSandbox(
                        tool_service_pb2.GetSandboxRequest(), metadata=token
                    )
                    if sandbox.available and sandbox.idle_workers >= IDLE_WORKERS:
                        return
                await asyncio.sleep(0.005)

    async def until_serving(self) -> None:
        """Waits until it answers, after a start."""
        async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
            await self.caller.tools.GetSandbox(
                tool_service_pb2.GetSandboxRequest(),
                metadata=self.platform.token(*ADMIN),
                wait_for_ready=True,
            )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    data_dir = tmp_path / "data"
    platform = Platform.in_folder(data_dir)
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    runner = ToolRunnerProcess(data_dir, port)
    runner.start()
    caller = Caller(port)
    try:
        with running_web_server() as web:
            world = World(runner, platform, caller, web)
            await world.prepare()
            yield world
    finally:
        await caller.close()
        runner.process.kill()
        runner.process.wait()


async def play_round(world: World, name: str, victim: str) -> dict[str, Any]:
    """Makes calls, kills in their midst, and returns their answers by their ids."""
    tool_names = (*CUSTOM_TOOLS, "http_request")
    requests = {
        f"{name}-{number}": tool_names[number % len(tool_names)]
        for number in range(CALLS_PER_ROUND)
    }
    calls = [
        asyncio.create_task(world.call(world.request(number, tool_name)))
        for number, tool_name in requests.items()
    ]
    await asyncio.sleep(random.uniform(0, KILL_SECONDS_MAX))
    world.calls_hit += sum(not call.done() for call in calls)
    killed_at = time.monotonic()
    doomed = world.runner.kill(victim)
    if victim == "tool-runner":
        await asyncio.to_thread(_wait_until_gone, doomed)
        world.runner.start()
        await world.until_serving()
        served_at = time.monotonic()
        await world.until_whole()
        world.whole_again_seconds[victim].append(time.monotonic() - served_at)
    answers = dict(zip(requests, await asyncio.gather(*calls), strict=True))
    if victim != "tool-runner":
        await world.until_whole()
        world.whole_again_seconds[victim].append(time.monotonic() - killed_at)
    return answers


def _wait_until_gone(pids: list[int]) -> None:
    """Waits until processes have ended: a sandbox does not outlive its tool-runner."""
    deadline = time.monotonic() + 60.0
    while left := [pid for pid in pids if _runs(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.005)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def assert_done_once(world: World, answers: dict[str, Any]) -> Counter[str]:
    """Holds each call's answer against what the witness saw of it, and counts the outcomes."""
    seen = Counter(request.path.removeprefix("/") for request in world.web.requests)
    outcomes: Counter[str] = Counter()
    for number, answer in answers.items():
        is_unsafe = answer.tool_name in {"post_it", "http_request"}
        outcomes[answer.code or "success"] += 1
        assert answer.success or answer.code == UNKNOWN, answer
        if answer.success:
            assert seen[number] >= 1, answer
        if is_unsafe:
            assert seen[number] <= 1, answer
    return outcomes


async def assert_repeats_agree(world: World, answers: dict[str, Any]) -> None:
    """Asks for each call again: what is known stays, and what may run again does."""
    for number, answer in answers.items():
        again = await world.call(world.request(number, answer.tool_name))
        if answer.success or answer.tool_name in {"post_it", "http_request"}:
            assert again == answer
        else:
            assert again.success, again


def assert_one_key_per_request(world: World) -> None:
    """Holds a request that was made again to have had the key of the first one."""
    keys: dict[str, set[str]] = {}
    for request in world.web.requests:
        if request.method != "GET":
            keys.setdefault(request.path, set()).add(request.headers["idempotency-key"])
    assert {len(each) for each in keys.values()} == {1}
    assert len(set.union(*keys.values())) == len(keys)


def assert_audit_is_whole(world: World) -> None:
    verified = subprocess.run(
        [*COMMAND, "audit", "verify", "--data-dir", str(world.runner.data_dir)],
        env=command_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert verified.returncode == 0, verified


@pytest.fixture
def rounds(full: bool) -> int:
    return ROUNDS_FULL if full else ROUNDS


@pytest.mark.timeout(1200)
async def test_no_instant_of_a_death_repeats_an_effect_or_loses_a_call(
    world: World, rounds: int, full: bool
) -> None:
    await world.until_whole()
    answers: dict[str, Any] = {}
    for number in range(rounds):
        answers |= await play_round(world, f"round-{number}", VICTIMS[number % len(VICTIMS)])
    assert len(answers) == rounds * CALLS_PER_ROUND
    outcomes = assert_done_once(world, answers)
    await assert_repeats_agree(world, answers)
    assert_done_once(world, answers)
    assert_one_key_per_request(world)
    assert_audit_is_whole(world)
    report = {
        victim: f"{statistics.median(seconds):.3f} s, at most {max(seconds):.3f} s"
        for victim, seconds in world.whole_again_seconds.items()
    }
    _LOGGER.info(
        "%s calls, %s under way at a kill, outcomes %s; the pool whole again after %s",
        *(len(answers), world.calls_hit, dict(outcomes), report),
    )
    assert world.calls_hit > rounds
    for victim, seconds in world.whole_again_seconds.items():
        most = WHOLE_AGAIN_SECONDS_FULL if full else WHOLE_AGAIN_SECONDS
        assert statistics.median(seconds) < most, (victim, seconds)

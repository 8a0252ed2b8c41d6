from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from agent_executor.errors import OutcomeUnknownError
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.pool import WorkerPool
from tests.integration.tool_runner.isolation.sandbox_process import REPOSITORY
from tests.integration.tool_runner.isolation.sandboxes import Sandbox, runnable_environments, tool
from tests.integration.tool_runner.isolation.test_pool import (
    ECHO,
    is_alive,
    is_whole,
    processes_below,
)


def gone_within(pids: set[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("environment", runnable_environments())
def test_nothing_outlives_a_tool_runner_that_is_killed(environment: str) -> None:
    with subprocess.Popen(
        (
            sys.executable,
            "-m",
            "tests.integration.tool_runner.isolation.sandbox_process",
            environment,
        ),
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={},
    ) as process:
        sandbox = Sandbox(process)
        assert sandbox.result(tool("return 1")) == 1
        # The worker of the call is being replaced.
        started = time.monotonic()
        while len(below := processes_below(process.pid)) < 4:
            assert time.monotonic() - started < 60, below
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert gone_within(below, 60)


async def test_launchers_killed_at_random_instants_cost_no_call_that_only_waited() -> None:
    limits = SandboxLimits(idle_workers=4, launchers=2)
    pool = WorkerPool(limits)
    await pool.start()
    kills = 20
    outcomes: list[str] = []

    async def caller() -> None:
        while not killing.done():
            try:
                outcomes.append(await pool.call(ECHO, "{}", timeout_seconds=30))
            except OutcomeUnknownError:
                outcomes.append("unknown")

    async def kill() -> None:
        for _ in range(kills):
            await asyncio.sleep(random.uniform(0, 0.3))
            for pid in pool.launcher_pids[:1]:
                os.kill(pid, signal.SIGKILL)

    killing = asyncio.create_task(kill())
    await asyncio.gather(killing, *(caller() for _ in range(8)))
    assert set(outcomes) <= {"{}", "unknown"}
    assert outcomes.count("unknown") <= kills * limits.busy_workers_max
    started = time.monotonic()
    while not is_whole(pool, limits)():
        assert time.monotonic() - started < 60
        await asyncio.sleep(0.01)
    await pool.close()

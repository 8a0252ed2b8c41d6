"""Workers that are ready and calls that wait, without processes."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.worker_handle import WorkerHandle
from agent_executor.tool_runner.isolation.worker_queue import WorkerQueue

LIMITS = SandboxLimits(idle_workers=2, busy_workers_max=2, queued_calls_max=3, launchers=1)


class Worker:
    """A worker that is told to end, and no process."""

    def __init__(self) -> None:
        self.is_killed = False

    def kill(self) -> None:
        self.is_killed = True


class Pool:
    """A queue whose missing workers start when a test says so."""

    def __init__(self) -> None:
        self.starting = 0
        self.workers: list[Worker] = []
        self.queue = WorkerQueue(LIMITS, self._refill)
        self._refill()

    def _refill(self) -> None:
        self.starting = max(self.starting, LIMITS.idle_workers - self.queue.idle)

    def start_workers(self) -> None:
        while self.starting:
            self.starting -= 1
            self.workers.append(Worker())
            self.queue.add(cast("WorkerHandle", self.workers[-1]))


@pytest.mark.parametrize("starts_first", [True, False])
async def test_a_worker_that_is_given_back_leaves_no_more_than_are_wanted(
    starts_first: bool,
) -> None:
    pool = Pool()
    pool.start_workers()
    calls = [asyncio.create_task(pool.queue.take("tool", "acme")) for _ in range(4)]
    await asyncio.sleep(0)
    pool.start_workers()
    # The two that wait get workers and are given up in the same instant.
    for _ in range(2):
        pool.queue.release("acme", 0.3)
    if starts_first:
        pool.start_workers()
    for call in calls[2:]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    pool.start_workers()
    alive = [worker for worker in pool.workers if not worker.is_killed]
    assert (pool.queue.idle, pool.queue.busy, pool.queue.waiting) == (LIMITS.idle_workers, 0, 0)
    # Two have served the calls that ended.
    assert len(alive) == LIMITS.idle_workers + 2

"""Waiting for the end of a run that people are to decide about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.drivers import RunDrivers
from agent_executor.executor.run_event import ApprovalRequested
from agent_executor.executor.run_log import RunLog


async def wait_for_end(log: RunLog, drivers: RunDrivers, now_ms: Callable[[], int]) -> None:
    """Returns once a parked run has ended, wherever it goes on.

    Who waits also looks after the calls that expire: in the library nobody else does.

    Raises:
        UnavailableError: The storage failed.
    """
    run_id = log.run.run_id
    timers: list[asyncio.TimerHandle] = []

    async def wake() -> None:
        # Whoever keeps the leases finds the run as well.
        with contextlib.suppress(AgentExecutorError):
            await drivers.wake(run_id)

    def expect(approvals: Iterable[ApprovalRequested]) -> None:
        for asked in approvals:
            delay_seconds = max(0.0, (asked.expires_at_ms - now_ms()) / 1000)
            loop = asyncio.get_running_loop()
            timers.append(loop.call_later(delay_seconds, lambda: drivers.in_background(wake())))

    try:
        expect(log.state.approvals)
        async for event in drivers.feed.follow(run_id, log.run.last_sequence):
            if isinstance(event.payload, ApprovalRequested):
                expect([event.payload])
    finally:
        for timer in timers:
            timer.cancel()

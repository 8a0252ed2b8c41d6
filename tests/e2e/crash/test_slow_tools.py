"""A tool that takes longer than any lease: it runs once under a live owner, and under a dead one.

Twenty seconds with ``--full``, under the product's own leases; else shorter, with shorter leases.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests.e2e.crash.checking import Checker
from tests.e2e.crash.conftest import MakeFleet
from tests.e2e.crash.executors import Fleet

TOOL_SECONDS = 2.0
TOOL_SECONDS_FULL = 20.0
LEASE_SECONDS_MAX = 3.0


@pytest.fixture
def tool_seconds(full: bool) -> float:
    return TOOL_SECONDS_FULL if full else TOOL_SECONDS


@pytest.fixture
async def fleet(make_fleet: MakeFleet, tool_seconds: float) -> AsyncIterator[Fleet]:
    async with make_fleet("postgres", 3) as fleet:
        # It takes half of its time before its effect and half after it.
        await fleet.organization.prepare(tool_seconds / 2)
        for executor in fleet.executors:
            await executor.start()
        fleet.agent_id = await fleet.create_agent(fleet.executors[0])
        yield fleet


def effects(fleet: Fleet, name: str) -> int:
    return len(fleet.organization.peers.witness.requests_to(f"/{name}-1-0"))


async def test_it_runs_once_under_a_live_owner_and_under_a_dead_one(
    fleet: Fleet, tool_seconds: float
) -> None:
    owner, heir, _ = fleet.executors
    checker = Checker(fleet)
    names = ("slow-live", "slow-dead")
    started = time.monotonic()
    live = await fleet.start_run(heir, f"{names[0]} post_it")
    dead = await fleet.start_run(owner, f"{names[1]} post_it")
    for run_id in (live, dead):
        await fleet.wait_for_event(heir, run_id, "tool_call_started")
    owner.kill()
    await owner.died()
    events = await checker.check(heir, live)
    assert time.monotonic() - started >= tool_seconds
    assert "run_resumed" not in {event.type for event in events}
    events = await checker.check(heir, dead)
    assert [event.type for event in events].count("run_resumed") == 1
    # The heir asks for the very call that goes on, and it is not done again.
    assert [effects(fleet, name) for name in names] == [1, 1]
    await checker.check_organization(heir)


async def test_an_owner_that_stood_still_for_longer_than_its_lease_adds_nothing(
    fleet: Fleet,
) -> None:
    owner, heir, _ = fleet.executors
    checker = Checker(fleet)
    run_id = await fleet.start_run(owner, "slow-still post_it")
    await fleet.wait_for_event(heir, run_id, "tool_call_started")
    owner.send(signal.SIGSTOP)
    try:
        # Its own death is not known, so the time until then is not measured.
        owner.deaths.append(time.time())
        await fleet.wait_for_event(heir, run_id, "run_resumed")
    finally:
        owner.send(signal.SIGCONT)
    await checker.check(heir, run_id)
    assert effects(fleet, "slow-still") == 1
    # The owner is alive, knows that it has lost the run, and goes on with others.
    await checker.check(heir, await fleet.start_run(owner, "slow-next"))
    await asyncio.sleep(0)
    await checker.check_organization(owner)

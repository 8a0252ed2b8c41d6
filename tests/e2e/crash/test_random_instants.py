"""kill -9 of an executor at random instants, while runs go on and readers follow them.

``--full`` kills two hundred times, and then starts executors as they are in production.
"""

from __future__ import annotations

import asyncio
import logging
import random
import statistics

import pytest

from tests.e2e.crash.checking import Checker
from tests.e2e.crash.conftest import MakeFleet
from tests.e2e.crash.executors import Executor, Fleet
from tests.integration.executor.stream_history import History, faults_of

_LOGGER = logging.getLogger(__name__)

ROUNDS = 2
ROUNDS_FULL = 50
RUNS_PER_EXECUTOR = 3
# A run alone takes about as long, so that the instants are spread over all that it does.
KILL_SECONDS_MAX = 0.6
SCRIPTS = (
    "",
    "post_it",
    "post_it,put_it,get_it",
    "post_it,post_it/get_it",
    "put_it/post_it/get_it",
)
# What is promised. Others may need this machine's processors for a while, so it is enough if the
# promise is kept in half of the cases.
RESUMED_SECONDS = 5.0


async def play_round(fleet: Fleet, checker: Checker, name: str, *, is_cold: bool) -> None:
    """Starts runs, kills an executor in their midst, and checks every run and every reader."""
    victim = random.choice(fleet.executors)
    count = RUNS_PER_EXECUTOR * len(fleet.executors)
    histories = {f"{name}-{number}": History() for number in range(count)}

    async def run(name: str) -> str:
        run_id = await fleet.start_surely(f"{name} {random.choice(SCRIPTS)}")
        await fleet.follow(run_id, histories[name])
        return run_id

    async def kill_and_start_again() -> None:
        await asyncio.sleep(random.uniform(0, KILL_SECONDS_MAX))
        victim.kill()
        await victim.died()
        # At once, while others look for its runs, or after they have found them.
        if len(fleet.executors) > 1:
            await asyncio.sleep(random.choice((0.0, RESUMED_SECONDS)) if is_cold else 0.0)
        await victim.start(is_cold=is_cold)

    killing = asyncio.create_task(kill_and_start_again())
    run_ids = await asyncio.gather(*map(run, histories))
    await killing
    for run_id, history in zip(run_ids, histories.values(), strict=True):
        log = await checker.check(victim, run_id)
        assert faults_of(history, log) == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("database", "executors"), [("sqlite", 1), ("sqlite", 3), ("postgres", 1), ("postgres", 3)]
)
async def test_no_instant_of_a_death_loses_or_repeats_anything(
    make_fleet: MakeFleet, database: str, executors: int, full: bool
) -> None:
    async with make_fleet(database, executors) as fleet:
        await start_all(fleet.executors, is_cold=full)
        fleet.agent_id = await fleet.create_agent(fleet.executors[0])
        checker = Checker(fleet)
        for number in range(ROUNDS_FULL if full else ROUNDS):
            name = f"random-{database}-{executors}-{number}"
            await play_round(fleet, checker, name, is_cold=full)
        runs = await fleet.list_runs(fleet.executors[0])
        assert len(runs) == checker.report.runs
        await checker.check_organization(fleet.executors[0])
        _LOGGER.info("%s with %s executors: %s", database, executors, checker.report)
        seconds = checker.report.resume_seconds
        assert not seconds or statistics.median(seconds) < RESUMED_SECONDS, seconds


async def start_all(executors: list[Executor], *, is_cold: bool) -> None:
    for executor in executors:
        await executor.start(is_cold=is_cold)

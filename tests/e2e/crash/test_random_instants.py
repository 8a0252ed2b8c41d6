"""kill -9 of an executor at random instants, while runs go on and readers follow them.

``--full`` kills two hundred times.
"""

from __future__ import annotations

import asyncio
import logging
import random
import statistics
from collections.abc import Sequence

import pytest

from tests.e2e.crash.checking import Checker
from tests.e2e.crash.conftest import MakeFleet
from tests.e2e.crash.executors import Fleet
from tests.integration.executor.stream_history import History, faults_of

_LOGGER = logging.getLogger(__name__)

ROUNDS = 2
ROUNDS_FULL = 50
COLD_STARTS = 1
COLD_STARTS_FULL = 20
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


async def play_round(
    fleet: Fleet, checker: Checker, name: str, restart_delays_seconds: Sequence[float]
) -> None:
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
        await asyncio.sleep(random.choice(restart_delays_seconds))
        await victim.start()

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
        for executor in fleet.executors:
            await executor.start()
        fleet.agent_id = await fleet.create_agent(fleet.executors[0])
        checker = Checker(fleet)
        # At once, while others look for its runs, or after they have found them.
        delays = (0.0, RESUMED_SECONDS) if full and executors > 1 else (0.0,)
        for number in range(ROUNDS_FULL if full else ROUNDS):
            await play_round(fleet, checker, f"random-{database}-{executors}-{number}", delays)
        runs = await fleet.list_runs(fleet.executors[0])
        assert len(runs) == checker.report.runs
        await checker.check_organization(fleet.executors[0])
        _LOGGER.info("%s with %s executors: %s", database, executors, checker.report)
        seconds = checker.report.resume_seconds
        # Other tests share the processors of a small run.
        most = RESUMED_SECONDS if full else 3 * RESUMED_SECONDS
        assert not seconds or statistics.median(seconds) < most, seconds


@pytest.mark.timeout(600)
async def test_an_executor_that_has_to_load_its_code_first_resumes_as_soon(
    make_fleet: MakeFleet, full: bool
) -> None:
    async with make_fleet("sqlite", 1) as fleet:
        (executor,) = fleet.executors
        await executor.start()
        fleet.agent_id = await fleet.create_agent(executor)
        checker = Checker(fleet)
        processor_seconds = []
        for number in range(COLD_STARTS_FULL if full else COLD_STARTS):
            run_id = await fleet.start_run(executor, f"cold-{number} post_it")
            executor.kill()
            await executor.died()
            await executor.start(is_cold=True)
            await checker.check(executor, run_id)
            processor_seconds.append(executor.processor_seconds)
        await checker.check_organization(executor)
        _LOGGER.info("cold starts: %s; %s s of a processor", checker.report, processor_seconds)
        # What it needs of a processor is what it takes on a machine that is not needed by others.
        assert statistics.median(processor_seconds) < RESUMED_SECONDS

"""kill -9 of the executor at every event boundary of a run with tool calls.

The executor kills itself before and after each of a run's commits; see ``executor_process``.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import grpc
import pytest

from tests.e2e.crash.checking import Checker
from tests.e2e.crash.conftest import MakeFleet
from tests.e2e.crash.executors import Executor, Fleet

_LOGGER = logging.getLogger(__name__)

SCRIPT = "post_it,put_it,get_it/post_it"


def boundaries() -> Iterator[str]:
    for number in itertools.count(1):
        yield f"{number} before"
        yield f"{number} after"


async def run_into_death(fleet: Fleet, victim: Executor, name: str) -> bool:
    """Starts a run and returns whether its executor has died of it."""
    try:
        run_id = await fleet.start_run(victim, f"{name} {SCRIPT}")
        await fleet.wait_for_event(victim, run_id, "run_finished")
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error
        await victim.died()
        return True
    return False


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("database", "executors"), [("sqlite", 1), ("postgres", 3)])
async def test_no_boundary_of_a_death_loses_or_repeats_anything(
    make_fleet: MakeFleet, database: str, executors: int
) -> None:
    async with make_fleet(database, executors) as fleet:
        victim, heir = fleet.executors[0], fleet.executors[-1]
        checker = Checker(fleet)
        plans = boundaries()
        for one in fleet.executors[1:]:
            await one.start()
        await victim.start(f"create {next(plans)}")
        fleet.agent_id = await fleet.create_agent(victim)
        known: set[str] = set()
        for number in itertools.count(1):
            has_died = await run_into_death(fleet, victim, f"{database}-{executors}-{number}")
            if not has_died:
                break
            if heir is victim:
                await victim.start(f"create {next(plans)}")
            new = {run.id for run in await fleet.list_runs(heir)} - known
            # Before its first commit there is no run.
            assert len(new) == (number > 1)
            for run_id in new:
                await checker.check(heir, run_id)
            known |= new
            if heir is not victim:
                await victim.start(f"create {next(plans)}")
        await checker.check_organization(heir)
        _LOGGER.info("%s with %s executors: %s", database, executors, checker.report)
        assert checker.report.deaths == 2 * (number // 2)

"""kill -9 of the executor at every event boundary of a run with tool calls.

The executor kills itself before and after each of a run's commits; see ``executor_process``. The
small size takes some of the boundaries, others each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import pytest

from agent_executor.api.executor.v1 import agent_pb2, run_service_pb2
from tests.e2e.crash.checking import Checker
from tests.e2e.crash.conftest import MakeFleet
from tests.e2e.crash.executors import Executor, Fleet, expect_death

_LOGGER = logging.getLogger(__name__)

SCRIPT = "post_it,put_it,get_it/post_it"
# So many boundaries it has at least: each model call is begun, answered and followed by its tools.
BOUNDARIES_MIN = 18
# Of a run whose every driver dies after its third commit.
LONG_SCRIPT = "/".join(["post_it", "put_it"] * 6)
LIVES_MIN = 11
ASK = agent_pb2.ApprovalPolicy(rules=[agent_pb2.ApprovalRule(tool="post_it")])


def boundaries(stride: int) -> Iterator[str]:
    every = (f"{number} {when}" for number in itertools.count(1) for when in ("before", "after"))
    return itertools.islice(every, random.randrange(stride), None, stride)


async def run_into_death(fleet: Fleet, victim: Executor, name: str) -> bool:
    """Starts a run and returns whether its executor has died of it."""
    try:
        run_id = await fleet.start_run(victim, f"{name} {SCRIPT}")
    except grpc.aio.AioRpcError as error:
        expect_death(error)
        await victim.died()
        return True
    return not await ended_before_death(fleet, victim, run_id)


async def ended_before_death(fleet: Fleet, executor: Executor, run_id: str) -> bool:
    """Waits for a run's end or its executor's, and returns whether it was the run's."""
    try:
        await fleet.wait_for_event(executor, run_id, "run_finished")
    except grpc.aio.AioRpcError as error:
        expect_death(error)
        await executor.died()
        return False
    return True


@asynccontextmanager
async def approving(fleet: Fleet) -> AsyncIterator[None]:
    """Approves whatever a person is asked, at the first executor that answers."""

    async def approve(executor: Executor) -> None:
        request = run_service_pb2.ListApprovalsRequest()
        asked = await executor.runs.ListApprovals(request, metadata=fleet.metadata)
        for approval in asked.approvals:
            await executor.runs.ResolveApproval(
                run_service_pb2.ResolveApprovalRequest(
                    run_id=approval.run_id, tool_call_id=approval.tool_call_id, decision="approve"
                ),
                metadata=fleet.metadata,
            )

    async def approve_forever() -> None:
        while True:
            for executor in fleet.executors:
                # It may die of it, after it was durable or before.
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await approve(executor)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(approve_forever())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("database", "executors", "asks", "stride"),
    [
        ("sqlite", 1, False, 4),
        ("postgres", 1, False, 9),
        ("postgres", 3, False, 5),
        ("sqlite", 1, True, 9),
        ("postgres", 3, True, 9),
    ],
)
async def test_no_boundary_of_a_death_loses_or_repeats_anything(
    make_fleet: MakeFleet, database: str, executors: int, asks: bool, stride: int, full: bool
) -> None:
    stride = 1 if full else stride
    plans = boundaries(stride)
    async with make_fleet(database, executors) as fleet, approving(fleet):
        victim, heir = fleet.executors[0], fleet.executors[-1]
        checker = Checker(fleet)
        for one in fleet.executors[1:]:
            await one.start()
        plan = next(plans)
        await victim.start(f"create {plan}")
        fleet.agent_id = await fleet.create_agent(victim, approval_policy=ASK if asks else None)
        known: set[str] = set()
        prefix = f"{database}-{executors}-{asks}"
        while await run_into_death(fleet, victim, f"{prefix}-{plan.replace(' ', '-')}"):
            dead_at, plan = plan, next(plans)
            if heir is victim:
                await victim.start(f"create {plan}")
            new = {run.id for run in await fleet.list_runs(heir)} - known
            # Before its first commit there is no run.
            assert len(new) == (dead_at != "1 before")
            for run_id in new:
                await checker.check(heir, run_id)
            known |= new
            if heir is not victim:
                await victim.start(f"create {plan}")
        await checker.check_organization(heir)
        title = f"{database}, {executors} executors{', approvals' if asks else ''}"
        _LOGGER.info("%s: %s", title, checker.report)
        assert checker.report.deaths >= BOUNDARIES_MIN // stride


@pytest.mark.timeout(600)
async def test_a_run_goes_on_whose_every_driver_dies_of_it(make_fleet: MakeFleet) -> None:
    async with make_fleet("sqlite", 1) as fleet:
        (executor,) = fleet.executors
        await executor.start()
        fleet.agent_id = await fleet.create_agent(executor, max_model_turns=20)
        run_id = await fleet.start_run(executor, f"chain {LONG_SCRIPT}")
        executor.kill()
        while not await ended_before_death(fleet, executor, run_id):
            await executor.start("claim 3 after")
        checker = Checker(fleet)
        await checker.check(executor, run_id)
        await checker.check_organization(executor)
        _LOGGER.info("the same run: %s", checker.report)
        assert checker.report.deaths >= LIVES_MIN

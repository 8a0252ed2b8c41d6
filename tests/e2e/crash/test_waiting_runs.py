"""kill -9 of every executor while runs wait: for people, for their turn, for money, for each other."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from agent_executor.api.executor.v1 import (
    agent_pb2,
    conversation_service_pb2,
    run_service_pb2,
)
from tests.e2e.crash.checking import Checker
from tests.e2e.crash.conftest import MakeFleet
from tests.e2e.crash.executors import Executor, Fleet

ASK = agent_pb2.ApprovalPolicy(rules=[agent_pb2.ApprovalRule(tool="post_it")])
EVERYWHERE = pytest.mark.parametrize(("database", "executors"), [("sqlite", 1), ("postgres", 3)])


async def start_all(fleet: Fleet) -> None:
    for executor in fleet.executors:
        await executor.start()


async def kill_all(fleet: Fleet) -> None:
    for executor in fleet.executors:
        executor.kill()
    for executor in fleet.executors:
        await executor.died()


async def approve(fleet: Fleet, executor: Executor, run_id: str) -> None:
    await executor.runs.ResolveApproval(
        run_service_pb2.ResolveApprovalRequest(
            run_id=run_id, tool_call_id=f"{run_id}_1_0", decision="approve"
        ),
        metadata=fleet.metadata,
        wait_for_ready=True,
    )


async def wait_for_state(fleet: Fleet, executor: Executor, run_id: str, state: str) -> None:
    async with asyncio.timeout(60):
        while (await fleet.get_run(executor, run_id)).state != state:  # noqa: ASYNC110 -- polled from outside
            await asyncio.sleep(0.02)


@EVERYWHERE
async def test_a_run_that_is_parked_for_a_person(
    make_fleet: MakeFleet, database: str, executors: int
) -> None:
    async with make_fleet(database, executors) as fleet:
        await start_all(fleet)
        first, last = fleet.executors[0], fleet.executors[-1]
        fleet.agent_id = await fleet.create_agent(first, approval_policy=ASK)
        checker = Checker(fleet)
        name = f"approval-{database}"
        run_ids = [
            await fleet.start_run(first, f"{name}-{number} post_it,put_it/get_it")
            for number in range(3)
        ]
        for run_id in run_ids:
            await wait_for_state(fleet, last, run_id, "waiting")
        await kill_all(fleet)
        # Whoever is told of a decision dies with it in the database: before it can take the run up,
        # and once it has.
        for executor in fleet.executors:
            await executor.start("claim 0 before" if executor is last else "")
        for run_id in run_ids:
            assert (await fleet.get_run(last, run_id)).state == "waiting"
        for run_id, next_death in zip(run_ids, ("claim 0 after", ""), strict=False):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await approve(fleet, last, run_id)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            await last.died()
            if next_death:
                # The next one to take it up at its start may be this one, which is to live for that.
                await last.start()
                await fleet.events(last, run_id)
                last.kill()
                await last.died()
            await last.start(next_death)
        await approve(fleet, first, run_ids[-1])
        for run_id in run_ids:
            events = await checker.check(last, run_id)
            decided = [event for event in events if event.type == "approval_resolved"]
            assert [event.approval_resolved.decision for event in decided] == ["approved"]
        await checker.check_organization(first)


@EVERYWHERE
async def test_runs_that_wait_for_their_turn(
    make_fleet: MakeFleet, database: str, executors: int
) -> None:
    async with make_fleet(database, executors, EXECUTOR_MAX_ACTIVE_RUNS="1") as fleet:
        await start_all(fleet)
        first, last = fleet.executors[0], fleet.executors[-1]
        fleet.agent_id = await fleet.create_agent(first)
        checker = Checker(fleet)
        run_ids = [
            await fleet.start_run(first, f"queued-{database}-{number} post_it")
            for number in range(3 * executors + 1)
        ]
        await kill_all(fleet)
        await start_all(fleet)
        for run_id in run_ids:
            await checker.check(last, run_id)
        assert len(await fleet.list_runs(last)) == len(run_ids)
        await checker.check_organization(first)


@EVERYWHERE
async def test_a_run_that_is_paused_for_want_of_money(
    make_fleet: MakeFleet, database: str, executors: int
) -> None:
    async with make_fleet(database, executors, EXECUTOR_PAUSE_RETRY_SECONDS="0.2") as fleet:
        await start_all(fleet)
        first, last = fleet.executors[0], fleet.executors[-1]
        fleet.agent_id = await fleet.create_agent(first, on_budget_exceeded="pause")
        checker = Checker(fleet)
        await fleet.organization.set_limit(0)
        run_id = await fleet.start_run(first, f"paused-{database} post_it")
        await wait_for_state(fleet, last, run_id, "paused")
        await kill_all(fleet)
        await start_all(fleet)
        await fleet.wait_for_event(last, run_id, "run_resumed")
        assert (await fleet.get_run(first, run_id)).state == "paused"
        await fleet.organization.set_limit(1_000)
        events = await checker.check(last, run_id)
        assert [event.type for event in events].count("run_continued") == 1
        await checker.check_organization(first)


@EVERYWHERE
async def test_a_conversation_whose_executor_dies_in_each_of_its_runs(
    make_fleet: MakeFleet, database: str, executors: int
) -> None:
    async with make_fleet(database, executors) as fleet:
        first, last = fleet.executors[0], fleet.executors[-1]
        await start_all(fleet)
        fleet.agent_id = await fleet.create_agent(first)
        checker = Checker(fleet)
        run_id = ""
        for number in range(3):
            text = f"talk-{database}-{number} post_it"
            run_id = await fleet.start_run(first, text, conversation_id="ours")
            await fleet.wait_for_event(last, run_id, "tool_call_started")
            first.kill()
            await first.died()
            await first.start()
            await checker.check(last, run_id)
        request = conversation_service_pb2.GetConversationRequest(conversation_id="ours")
        kept = await last.conversations.GetConversation(request, metadata=fleet.metadata)
        assert (kept.run_count, kept.last_run_id) == (3, run_id)
        assert [message.role for message in kept.messages] == ["user", "assistant"] * 6
        await checker.check_organization(first)


@EVERYWHERE
async def test_a_cancelled_run_whose_driver_dies_before_it_hears_of_it(
    make_fleet: MakeFleet, database: str, executors: int
) -> None:
    async with make_fleet(database, executors) as fleet:
        first, last = fleet.executors[0], fleet.executors[-1]
        await start_all(fleet)
        fleet.agent_id = await fleet.create_agent(first)
        await fleet.organization.prepare(tool_seconds=2.0)
        run_id = await fleet.start_run(first, f"cancel-{database} post_it")
        await fleet.wait_for_event(last, run_id, "tool_call_started")
        first.kill()
        await first.died()
        if first is last:
            await first.start()
        request = run_service_pb2.CancelRunRequest(run_id=run_id, reason="enough")
        receipt = await last.runs.CancelRun(request, metadata=fleet.metadata, wait_for_ready=True)
        assert receipt.state == "cancelled"
        assert receipt.unknown_call_ids == [f"{run_id}_1_0"]
        events = await fleet.events(last, run_id)
        assert [event.type for event in events].count("run_finished") == 1
        await Checker(fleet).check_organization(last)

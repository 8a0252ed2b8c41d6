"""Runs: starting, waiting, following, taking over, draining."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agent_executor.errors import (
    AgentInactiveError,
    AgentNotFoundError,
    LimitExceededError,
    PermissionDeniedError,
    RunNotFoundError,
    ToolNotFoundError,
)
from agent_executor.executor.driving.leases import LeaseKeeper
from agent_executor.executor.log.run_event import RunResumed
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.platforms import ADA, CALCULATOR, EVE, Platform, until_idle


async def test_execute_answers_the_run_that_the_journal_has() -> None:
    platform = Platform()
    view = await platform.runs.execute(await platform.agent(), "hello", ADA)
    assert view.state.state == "completed"
    stored = await platform.runs.get(view.run.run_id, ADA)
    assert stored == view


@pytest.mark.parametrize(
    ("fields", "error"),
    [({"is_active": False}, AgentInactiveError), ({"tools": {"nope": True}}, ToolNotFoundError)],
)
async def test_what_cannot_be_run_is_refused_and_leaves_nothing(
    fields: dict[str, object], error: type[Exception]
) -> None:
    platform = Platform()
    agent_id = await platform.agent(**fields)
    with pytest.raises(error):
        await platform.runs.execute(agent_id, "hello", ADA)
    assert await platform.runs.list_runs(ADA, 10) == []


async def test_another_organization_finds_neither_agent_nor_run() -> None:
    platform = Platform()
    agent_id = await platform.agent()
    view = await platform.runs.execute(agent_id, "hello", ADA)
    with pytest.raises(AgentNotFoundError):
        await platform.runs.execute(agent_id, "hello", EVE)
    with pytest.raises(RunNotFoundError):
        await platform.runs.get(view.run.run_id, EVE)
    with pytest.raises(RunNotFoundError):
        await anext(platform.runs.follow(view.run.run_id, 0, EVE))
    assert await platform.runs.list_runs(EVE, 10) == []


async def test_each_permission_is_needed() -> None:
    platform = Platform()
    agent_id = await platform.agent()
    nobody = SecurityContext("acme", "bob", frozenset())
    with pytest.raises(PermissionDeniedError):
        await platform.runs.execute(agent_id, "hello", nobody)
    with pytest.raises(PermissionDeniedError):
        await platform.runs.list_runs(nobody, 1)
    with pytest.raises(PermissionDeniedError):
        await platform.agents.get(agent_id, nobody)


async def test_a_caller_that_goes_away_does_not_stop_the_run() -> None:
    platform = Platform()
    platform.tools.gate = asyncio.Event()
    agent_id = await platform.agent(tools=CALCULATOR)
    waiting = asyncio.create_task(platform.runs.execute(agent_id, "What is 2 + 3?", ADA))
    await platform.tools.wait_until_asked()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    platform.tools.gate.set()
    await platform.runs.drain(5.0)
    (run,) = await platform.runs.list_runs(ADA, 10)
    assert run.state == "completed"


async def test_a_started_run_is_durable_before_it_is_answered() -> None:
    platform = Platform()
    view = await platform.runs.start(await platform.agent(), "hello", ADA)
    assert await platform.journal.get("acme", view.run.run_id) is not None
    await platform.runs.drain(5.0)
    assert (await platform.runs.get(view.run.run_id, ADA)).state.state == "completed"


async def test_followers_see_every_event_once_from_wherever_they_begin() -> None:
    platform = Platform()
    platform.tools.gate = asyncio.Event()
    view = await platform.runs.start(await platform.agent(tools=CALCULATOR), "What is 2 + 3?", ADA)

    async def follow(after: int) -> list[int]:
        return [event.sequence async for event in platform.runs.follow(view.run.run_id, after, ADA)]

    followers = [asyncio.create_task(follow(after)) for after in (0, 1, 3)]
    await platform.tools.wait_until_asked()
    platform.tools.gate.set()
    seen = await asyncio.gather(*followers)
    last = (await platform.runs.get(view.run.run_id, ADA)).run.last_sequence
    assert seen == [list(range(after + 1, last + 1)) for after in (0, 1, 3)]


async def test_runs_beyond_the_limits_are_refused_with_a_time() -> None:
    platform = Platform(max_active_runs=1, max_waiting_runs=1)
    platform.tools.gate = asyncio.Event()
    agent_id = await platform.agent(tools=CALCULATOR)
    for _ in range(2):
        await platform.runs.start(agent_id, "What is 2 + 3?", ADA)
    with pytest.raises(LimitExceededError) as refusal:
        await platform.runs.start(agent_id, "What is 2 + 3?", ADA)
    assert refusal.value.retry_after_seconds
    assert platform.tools.running <= 1
    platform.tools.gate.set()
    await until_idle(platform.runs)
    assert {run.state for run in await platform.runs.list_runs(ADA, 10)} == {"completed"}


async def test_a_run_of_a_dead_executor_is_taken_over_and_finished() -> None:
    dead = Platform(worker="dead")
    dead.tools.gate = asyncio.Event()
    view = await dead.runs.start(await dead.agent(tools=CALCULATOR), "What is 2 + 3?", ADA)
    await dead.tools.wait_until_asked()
    await dead.runs.drain(0.0)

    heir = Platform(journal=dead.journal, store=dead.store, worker="heir")
    assert await heir.runs.take_over() == 1
    await heir.runs.drain(5.0)
    stored = await heir.runs.get(view.run.run_id, ADA)
    assert stored.state.state == "completed"
    events = await heir.journal.events(view.run.run_id)
    assert [event.payload for event in events if isinstance(event.payload, RunResumed)] == [
        RunResumed(attempt=2)
    ]
    same_call = {dead.tools.requests[0].tool_call_id}
    assert {request.tool_call_id for request in heir.tools.requests} == same_call


async def test_the_caller_of_a_run_that_was_taken_over_is_told_of_its_end_elsewhere() -> None:
    platform = Platform()
    platform.tools.gate = asyncio.Event()
    agent_id = await platform.agent(tools=CALCULATOR)
    waiting = asyncio.create_task(platform.runs.execute(agent_id, "What is 2 + 3?", ADA))
    await platform.tools.wait_until_asked()

    heir = Platform(journal=platform.journal, store=platform.store, worker="heir")
    assert await heir.runs.take_over() == 1
    platform.tools.gate.set()
    view = await waiting
    assert (view.state.state, view.run.owner, view.run.attempt) == ("completed", heir.owner, 2)


async def test_a_run_that_kills_its_executors_is_ended() -> None:
    platform = Platform()
    view = await platform.runs.start(await platform.agent(), "hello", ADA)
    await platform.runs.drain(0.0)
    run = await platform.journal.get("acme", view.run.run_id)
    assert run is not None
    platform.journal._runs[run.run_id] = msgspec.structs.replace(run, attempt=10)
    heir = Platform(journal=platform.journal, store=platform.store, worker="heir")
    await heir.runs.take_over()
    await heir.runs.drain(5.0)
    stored = await heir.runs.get(run.run_id, ADA)
    assert (stored.state.state, stored.run.code) == ("failed", "INTERNAL")


async def test_a_restarted_worker_claims_its_own_runs_at_once() -> None:
    dead = Platform(worker="w")
    await dead.journal.renew_lease(dead.owner, dead.now_ms + 60_000)
    view = await dead.runs.start(await dead.agent(), "hello", ADA)
    await dead.runs.drain(0.0)

    reborn = Platform(journal=dead.journal, store=dead.store, worker="w", incarnation=2)
    keeper = LeaseKeeper(
        journal=reborn.journal,
        agents=reborn.agents,
        runs=reborn.runs,
        owner=reborn.owner,
        now_ms=lambda: reborn.now_ms,
    )
    await keeper.start()
    await reborn.runs.drain(5.0)
    await keeper.stop()
    assert (await reborn.runs.get(view.run.run_id, ADA)).state.state == "completed"

"""Runs that find no free place wait for their turn in the journal, and are driven in it."""

from __future__ import annotations

import asyncio

import pytest

from agent_executor.errors import LimitExceededError, UnavailableError
from agent_executor.executor.driving.engine import EngineLimits
from agent_executor.executor.log.run_event import RunResumed, RunStarted
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.platforms import ADA, CALCULATOR, Platform, until_idle

SUM = "What is 2 + 3?"
BOB = SecurityContext("modest", "bob", frozenset({"*"}))


async def busy(**options: object) -> tuple[Platform, str]:
    """Returns a platform whose only place is taken until its tools may answer, and an agent."""
    platform = Platform(max_active_runs=1, **options)  # type: ignore[arg-type]  # passed on
    platform.tools.gate = asyncio.Event()
    agent_id = await platform.agent(tools=CALCULATOR)
    await platform.runs.start(agent_id, SUM, ADA)
    await platform.tools.wait_until_asked()
    return platform, agent_id


def free(platform: Platform) -> None:
    assert platform.tools.gate is not None
    platform.tools.gate.set()


async def test_a_run_without_a_place_is_durable_has_no_owner_and_no_task() -> None:
    platform, agent_id = await busy()
    tasks = platform.runs.active_count
    view = await platform.runs.start(agent_id, SUM, ADA)
    assert (view.state.state, view.run.state) == ("pending", "pending")
    stored = await platform.journal.get("acme", view.run.run_id)
    assert stored is not None
    assert (stored.owner, stored.attempt, stored.state) == ("", 0, "pending")
    assert (await platform.runs.get(view.run.run_id, ADA)).state.state == "pending"
    assert platform.runs.active_count == tasks
    free(platform)
    await until_idle(platform.runs)
    ended = await platform.runs.get(view.run.run_id, ADA)
    assert (ended.state.state, ended.run.attempt) == ("completed", 1)
    events = await platform.journal.events(view.run.run_id)
    assert not [event for event in events if isinstance(event.payload, RunResumed)]


async def test_the_caller_of_a_waiting_run_gets_its_end() -> None:
    platform, agent_id = await busy()
    calling = asyncio.create_task(platform.runs.execute(agent_id, SUM, ADA))
    await until_waiting(platform, 1)
    free(platform)
    view = await calling
    assert view.state.state == "completed"
    assert view == await platform.runs.get(view.run.run_id, ADA)


async def until_waiting(platform: Platform, count: int) -> None:
    async with asyncio.timeout(60):
        while sum((await platform.journal.count_waiting()).values()) < count:  # noqa: ASYNC110 -- a write makes no event
            await asyncio.sleep(0)


async def test_the_caller_of_a_waiting_run_gets_its_end_from_another_executor_too() -> None:
    platform, agent_id = await busy()
    platform.drivers.ends._poll_interval_seconds = 0.001
    calling = asyncio.create_task(platform.runs.execute(agent_id, SUM, ADA))
    await until_waiting(platform, 1)
    other = Platform(journal=platform.journal, store=platform.store, worker="other")
    await other.journal.renew_lease(platform.owner, platform.now_ms + 60_000)
    assert await other.runs.take_over() == 1
    await until_idle(other.runs)
    view = await calling
    assert (view.state.state, view.run.owner) == ("completed", other.owner)
    free(platform)
    await until_idle(platform.runs)


async def test_an_executor_that_drains_tells_waiting_callers_at_once_and_leaves_the_queue() -> None:
    platform, agent_id = await busy()
    calling = asyncio.create_task(platform.runs.execute(agent_id, SUM, ADA))
    await until_waiting(platform, 1)
    platform.runs.begin_drain()
    with pytest.raises(UnavailableError, match="elsewhere"):
        await calling
    free(platform)
    await platform.runs.drain(5.0)
    assert await platform.journal.count_waiting() == {"acme": 1}
    late = await platform.runs.start(agent_id, SUM, ADA)
    with pytest.raises(UnavailableError, match="elsewhere"):
        await platform.runs.execute(agent_id, SUM, ADA)
    heir = Platform(journal=platform.journal, store=platform.store, worker="heir")
    assert await heir.runs.take_over() == 3
    await until_idle(heir.runs)
    assert (await heir.runs.get(late.run.run_id, ADA)).state.state == "completed"


async def test_the_organization_that_holds_fewer_places_is_next() -> None:
    platform = Platform(max_active_runs=4, max_waiting_runs=20)
    platform.tools.gate = asyncio.Event()
    agent_id = await platform.agent(tools=CALCULATOR)
    bobs = await platform.agents.create({"name": "Bob's", "tools": CALCULATOR}, "", BOB)
    for _ in range(12):
        await platform.runs.start(agent_id, SUM, ADA)
    await platform.tools.wait_until_asked(4)
    for _ in range(3):
        await platform.runs.start(bobs.agent_id, SUM, BOB)
    order: list[str] = []
    ask = platform.tools.run

    def answer_one(request: object) -> object:
        order.append(request.run_id)  # type: ignore[attr-defined]  # a ToolRequest
        return ask(request)  # type: ignore[arg-type]  # passed on

    platform.tools.run = answer_one  # type: ignore[assignment]  # a test's own
    free(platform)
    await until_idle(platform.runs)
    bobs_runs = {run.run_id for run in await platform.runs.list_runs(BOB, 10)}
    places = [place for place, run_id in enumerate(order) if run_id in bobs_runs]
    # Four were under way; then Bob's have at least every second turn until they are done.
    assert len(places) == 3
    assert max(places) < 4 + 2 * 3 + 1
    assert len(order) == 15


async def test_a_new_run_does_not_overtake_those_that_wait() -> None:
    platform, agent_id = await busy()
    waiting = await platform.runs.start(agent_id, SUM, ADA)
    claim, may_claim = platform.journal.claim, asyncio.Event()

    async def claim_late(*args: object, **options: object) -> object:
        await may_claim.wait()
        return await claim(*args, **options)  # type: ignore[arg-type]  # passed on

    platform.journal.claim = claim_late  # type: ignore[assignment, method-assign]  # a test's own
    free(platform)
    async with asyncio.timeout(60):
        while platform.drivers._places.free == 0:  # noqa: ASYNC110 -- a place makes no event
            await asyncio.sleep(0)
    # The claim is under way, and the place is meant for whom it finds.
    late = await platform.runs.start(agent_id, SUM, ADA)
    assert late.state.state == "pending"
    may_claim.set()
    await until_idle(platform.runs)
    for view in (waiting, late):
        assert (await platform.runs.get(view.run.run_id, ADA)).state.state == "completed"


async def test_a_claim_that_fails_is_made_again() -> None:
    platform, agent_id = await busy()
    view = await platform.runs.start(agent_id, SUM, ADA)
    claim, failures = platform.journal.claim, [UnavailableError("busy"), ValueError("a bug")]

    async def claim_or_fail(*args: object, **options: object) -> object:
        if failures:
            raise failures.pop()
        return await claim(*args, **options)  # type: ignore[arg-type]  # passed on

    platform.journal.claim = claim_or_fail  # type: ignore[assignment, method-assign]  # a test's own
    free(platform)
    await until_idle(platform.runs)
    assert (await platform.runs.get(view.run.run_id, ADA)).state.state == "pending"
    platform.drivers._scheduler.note_waiting()
    await until_idle(platform.runs)
    assert (await platform.runs.take_over()) == 1
    await until_idle(platform.runs)
    assert (await platform.runs.get(view.run.run_id, ADA)).state.state == "completed"


async def test_runs_of_a_dead_owner_are_not_kept_waiting_by_a_full_queue() -> None:
    dead = Platform(worker="dead")
    dead.tools.gate = asyncio.Event()
    agent_id = await dead.agent(tools=CALCULATOR)
    left = await dead.runs.start(agent_id, SUM, ADA)
    await dead.tools.wait_until_asked()
    await dead.runs.drain(0.0)
    heir = Platform(journal=dead.journal, store=dead.store, worker="heir", max_active_runs=1)
    heir.tools.gate = asyncio.Event()
    await heir.runs.start(agent_id, SUM, ADA)
    await heir.tools.wait_until_asked()
    queued = [(await heir.runs.start(agent_id, SUM, ADA)).run.run_id for _ in range(3)]
    assert await heir.runs.take_over() == 0
    heir.tools.gate.set()
    await until_idle(heir.runs)
    order = [request.run_id for request in heir.tools.requests]
    assert order[1] == left.run.run_id
    assert set(order[2:]) == set(queued)


async def test_waiting_for_a_turn_does_not_use_up_a_runs_time() -> None:
    platform, agent_id = await busy(limits=EngineLimits(run_timeout_seconds=10.0))
    view = await platform.runs.start(agent_id, "hello", ADA)
    platform.now_ms += 60_000
    free(platform)
    await until_idle(platform.runs)
    ended = await platform.runs.get(view.run.run_id, ADA)
    assert (ended.state.state, ended.state.queued_ms) == ("completed", 60_000)
    started = (await platform.journal.events(view.run.run_id))[0].payload
    assert isinstance(started, RunStarted)
    assert started.is_queued


async def test_one_organization_cannot_fill_the_queue_for_the_others() -> None:
    platform, agent_id = await busy(max_waiting_runs=3, max_waiting_per_organization=2)
    theirs = (await platform.agents.create({"name": "Theirs"}, "", BOB)).agent_id
    for _ in range(2):
        await platform.runs.start(agent_id, SUM, ADA)
    with pytest.raises(LimitExceededError, match="organization"):
        await platform.runs.start(agent_id, SUM, ADA)
    await platform.runs.start(theirs, "hello", BOB)
    with pytest.raises(LimitExceededError) as refusal:
        await platform.runs.execute(theirs, "hello", BOB)
    assert 1.0 <= (refusal.value.retry_after_seconds or 0.0) <= 60.0
    assert sum((await platform.journal.count_waiting()).values()) == 3
    free(platform)
    await until_idle(platform.runs)

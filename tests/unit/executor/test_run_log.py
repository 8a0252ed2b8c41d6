"""A run's log as its driver holds it: what it writes, and what it takes to be written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agent_executor.errors import LeaseLostError, UnavailableError
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log import run_log
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import RunContinued, RunEvent, RunFinished
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.streams.feed import RunFeed
from tests.unit.executor.worlds import ScriptedModel, World


async def begun() -> World:
    """Returns a world whose run is durable."""
    world = World(ScriptedModel([]))
    await world.log.commit()
    return world


def lose_the_next_answer(world: World) -> None:
    """Lets the connection break once, during a commit that is one all the same."""
    append = world.journal.append

    async def append_and_break(run: RunRecord, events: Sequence[RunEvent], end: object) -> None:
        del end
        await append(run, events)
        world.journal.append = append  # type: ignore[method-assign]  # a test's own
        raise UnavailableError("the connection is lost")

    world.journal.append = append_and_break  # type: ignore[assignment, method-assign]  # a test's own


async def test_a_run_that_somebody_reads_is_parked_without_news() -> None:
    world = World(ScriptedModel([]))
    feed = RunFeed(world.journal)
    log = RunLog(world.journal, world.log.run, world.log.state, lambda: 1_000, feed)
    log.add(RunContinued(1))
    log._waiting[:0] = world.log._waiting
    with feed.reading("run"):
        await log.commit()
        await log.park(2_000)
    assert log.is_parked


async def test_what_was_written_though_its_answer_was_lost_is_not_written_again() -> None:
    world = await begun()
    lose_the_next_answer(world)
    world.log.add(RunContinued(1))
    with pytest.raises(UnavailableError):
        await world.log.commit()
    world.log.add(RunFinished("completed"))
    await world.log.commit()
    assert await world.event_types() == ["run_started", "run_continued", "run_finished"]
    assert world.log.run.ended_at_ms


async def test_a_run_that_was_taken_over_after_a_lost_answer_is_lost() -> None:
    world = await begun()
    lose_the_next_answer(world)
    world.log.add(RunContinued(1))
    with pytest.raises(UnavailableError):
        await world.log.commit()
    assert await world.journal.claim("heir/1", 2_000, 1)
    with pytest.raises(LeaseLostError):
        await world.log.commit()


async def test_a_new_run_whose_answer_was_lost_is_not_created_again() -> None:
    world = World(ScriptedModel([]))
    create = world.journal.create

    async def create_once(*args: object) -> str:
        await create(*args)  # type: ignore[arg-type]  # passed on
        raise UnavailableError("the connection is lost")

    world.journal.create = create_once  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(UnavailableError):
        await world.log.commit()
    world.log.add(RunContinued(1))
    assert await world.log.commit() == "run"
    assert await world.event_types() == ["run_started", "run_continued"]


@pytest.mark.parametrize("is_lost", [False, True], ids=("refused", "answer lost"))
async def test_a_run_that_is_under_way_waits_for_its_storage(
    is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "STORAGE_RETRY_SECONDS", 0.0)
    world = await begun()
    append, failures = world.journal.append, [UnavailableError("a standby takes over")] * 3

    async def append_or_fail(*args: object) -> None:
        if is_lost and len(failures) == 3:
            await append(*args)  # type: ignore[arg-type]  # passed on
        if failures:
            raise failures.pop()
        await append(*args)  # type: ignore[arg-type]  # passed on

    world.journal.append = append_or_fail  # type: ignore[assignment, method-assign]  # a test's own
    feed, run = RunFeed(world.journal), world.log.run
    log = RunLog(world.journal, run, world.log.state, lambda: 1_000, feed, 60.0)
    log.add(RunContinued(1))
    await log.commit()
    assert not failures
    assert await world.event_types() == ["run_started", "run_continued"]


async def test_whoever_starts_a_run_hears_at_once_that_the_storage_fails() -> None:
    world = World(ScriptedModel([]))

    async def fail(*args: object) -> str:
        del args
        raise UnavailableError("the database is away")

    world.journal.create = fail  # type: ignore[assignment, method-assign]  # a test's own
    run = world.log.run
    log = RunLog(world.journal, run, RunState(), lambda: 1_000, RunFeed(world.journal), 60.0)
    log.add(RunContinued(1))
    with pytest.raises(UnavailableError):
        await log.commit()


async def test_a_run_that_was_taken_over_waits_for_no_storage() -> None:
    world = await begun()
    assert await world.journal.claim("heir/1", 2_000, 1)
    feed, run = RunFeed(world.journal), world.log.run
    log = RunLog(world.journal, run, world.log.state, lambda: 1_000, feed, 3600.0)
    log.add(RunContinued(1))
    async with asyncio.timeout(60):
        with pytest.raises(LeaseLostError):
            await log.commit()

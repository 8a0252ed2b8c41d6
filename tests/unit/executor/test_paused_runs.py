"""Paused runs in the hands of an executor: they hold up nobody, and outlive it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent_executor.errors import UnavailableError
from agent_executor.executor.driving.engine import EngineLimits
from agent_executor.executor.journal.journal import RunFilter
from agent_executor.executor.log.run_event import RunPaused
from agent_executor.executor.runs.run_view import RunView
from tests.unit.executor.platforms import ADA, Platform

OFTEN = EngineLimits(pause_retry_seconds=0.001)


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Returns once a condition holds."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 -- what is waited for makes no event
            await asyncio.sleep(0)


async def wait_for(platform: Platform, run_id: str, state: str) -> RunView:
    """Returns a run once it is in a state."""

    async def is_in_it() -> bool:
        return (await platform.runs.get(run_id, ADA)).state.state == state

    await eventually(is_in_it)
    return await platform.runs.get(run_id, ADA)


async def paused_run(platform: Platform) -> str:
    """Returns the id of a run that waits for money."""
    platform.ledger.limit_nano_usd = 0
    agent_id = await platform.agent(on_budget_exceeded="pause")
    run_id = (await platform.runs.start(agent_id, "hello", ADA)).run.run_id
    await wait_for(platform, run_id, "paused")
    return run_id


async def test_a_paused_run_goes_on_by_itself_once_there_is_money() -> None:
    platform = Platform(limits=OFTEN)
    run_id = await paused_run(platform)
    platform.ledger.limit_nano_usd = 10**9
    await wait_for(platform, run_id, "completed")
    await platform.runs.drain(5.0)


async def test_paused_runs_give_their_place_to_others() -> None:
    platform = Platform(max_active_runs=1, limits=EngineLimits(pause_retry_seconds=60.0))
    for _ in range(3):
        await paused_run(platform)
    platform.ledger.limit_nano_usd = 10**9
    view = await platform.runs.execute(await platform.agent(), "hello", ADA)
    assert view.state.state == "completed"
    await platform.runs.drain(0.0)


async def test_an_executor_that_drains_leaves_paused_runs_at_once() -> None:
    platform = Platform(limits=EngineLimits(pause_retry_seconds=60.0))
    run_id = await paused_run(platform)
    async with asyncio.timeout(60):
        await platform.runs.drain(60.0)
    assert (await platform.runs.get(run_id, ADA)).state.state == "paused"


async def test_a_caller_of_a_paused_run_is_told_when_the_executor_drains() -> None:
    platform = Platform(limits=EngineLimits(pause_retry_seconds=60.0))
    platform.ledger.limit_nano_usd = 0
    agent_id = await platform.agent(on_budget_exceeded="pause")
    waiting = asyncio.create_task(platform.runs.execute(agent_id, "hello", ADA))
    await eventually(lambda: platform.runs.list_runs(ADA, 1, run_filter=RunFilter(state="paused")))
    async with asyncio.timeout(60):
        await platform.runs.drain(60.0)
    with pytest.raises(UnavailableError, match="elsewhere"):
        await waiting


async def test_a_run_may_be_paused_for_many_lives_of_its_executors() -> None:
    first = Platform(worker="w0", limits=OFTEN)
    run_id = await paused_run(first)
    await first.runs.drain(0.0)
    for life in range(1, 15):
        heir = Platform(journal=first.journal, store=first.store, worker=f"w{life}", limits=OFTEN)
        heir.ledger.limit_nano_usd = 0
        assert await heir.runs.take_over() == 1
        await eventually(heir.has_been_refused)
        await heir.runs.drain(0.0)
    last = Platform(journal=first.journal, store=first.store, worker="last", limits=OFTEN)
    await last.runs.take_over()
    view = await wait_for(last, run_id, "completed")
    await last.runs.drain(5.0)
    assert view.run.attempt == 16
    payloads = [event.payload for event in await last.journal.events(run_id)]
    assert sum(isinstance(payload, RunPaused) for payload in payloads) == 1

"""Deadlines of runs: whose word holds, and what of a run's life does not count."""

from __future__ import annotations

import pytest

from agent_executor.executor.driving.engine import EngineLimits
from agent_executor.executor.log.deadlines import remaining_seconds, timeout_seconds
from agent_executor.executor.log.run import RunState
from agent_executor.executor.runs.run_options import RunOptions
from tests.unit.executor.platforms import ADA, Platform


@pytest.mark.parametrize(
    ("state", "remaining"),
    [
        (RunState(state="running"), 50.0),
        (RunState(state="running", timeout_seconds=20), 10.0),
        (RunState(state="running", queued_ms=2_000, paused_ms=3_000), 55.0),
        (RunState(state="pending", queued_at_ms=1_000), 60.0),
        (RunState(state="running", timeout_seconds=5), -5.0),
    ],
)
def test_what_is_left(state: RunState, remaining: float) -> None:
    assert remaining_seconds(state, 1_000, 11_000, 60.0) == remaining


@pytest.mark.parametrize(
    ("agents", "runs", "holds"), [(0, 0, 600.0), (30, 0, 30.0), (0, 40, 40.0), (30, 40, 40.0)]
)
async def test_a_run_s_own_word_goes_before_its_agent_s(
    agents: int, runs: int, holds: float
) -> None:
    platform = Platform()
    agent_id = await platform.agent(run_timeout_seconds=agents)
    options = RunOptions(timeout_seconds=runs)
    view = await platform.runs.execute(agent_id, "hello", ADA, options)
    assert timeout_seconds(view.state, 600.0) == holds


async def test_a_run_ends_at_its_own_deadline() -> None:
    platform = Platform(limits=EngineLimits(run_timeout_seconds=600.0))
    agent_id = await platform.agent(tools={"calculator": True})

    def take_long(request: object) -> object:
        del request
        platform.now_ms += 3_000
        return answered

    answered = platform.tools.run(None)  # type: ignore[arg-type]  # not looked at
    platform.tools.run = take_long  # type: ignore[assignment]  # a test's own
    view = await platform.runs.execute(
        agent_id, "What is 2 + 3?", ADA, RunOptions(timeout_seconds=2)
    )
    assert (view.state.state, view.run.code) == ("failed", "DEADLINE_EXCEEDED")
    assert "within 2 seconds" in view.run.error


async def test_whoever_takes_a_run_over_keeps_its_deadline() -> None:
    platform = Platform(worker="dead", limits=EngineLimits(run_timeout_seconds=600.0))
    agent_id = await platform.agent()
    view = await platform.runs.start(agent_id, "hello", ADA, RunOptions(timeout_seconds=2))
    await platform.runs.drain(0.0)
    heir = Platform(journal=platform.journal, store=platform.store, worker="heir")
    heir.now_ms = platform.now_ms + 3_000
    assert await heir.runs.take_over() == 1
    await heir.runs.drain(5.0)
    ended = await heir.runs.get(view.run.run_id, ADA)
    assert (ended.state.state, ended.run.code) == ("failed", "DEADLINE_EXCEEDED")

"""Runs that a budget refuses: they end, or pause until there is money, and never for ever."""

from __future__ import annotations

import asyncio

import pytest

from agent_executor.errors import (
    AgentExecutorError,
    BudgetExceededError,
    ModelError,
    UnavailableError,
    UnknownModelError,
)
from agent_executor.executor.driving.engine import (
    DEFAULT_MAX_PAUSE_SECONDS,
    DEFAULT_PAUSE_RETRY_SECONDS,
    EngineLimits,
)
from agent_executor.executor.log.run_event import RunContinued, RunPaused, RunStarted
from agent_executor.executor.models.model import TextBlock
from agent_executor.executor.peers.ledger import Hold
from tests.unit.executor.platforms import ADA
from tests.unit.executor.worlds import ScriptedModel, World, use

DAY_MS = 86_400_000
PAUSED = ["run_started", "model_call_started", "model_call_failed", "run_paused"]


def paused_world(*, resets_at_ms: int = 0) -> World:
    """Returns a world whose budget covers nothing, with an agent that pauses."""
    world = World(ScriptedModel([[TextBlock("hi")]]), on_budget_exceeded="pause")
    world.ledger.limit_nano_usd = 0
    world.ledger.resets_at_ms = resets_at_ms
    return world


async def test_a_run_ends_by_default_and_says_how_much_is_left() -> None:
    world = World(ScriptedModel([[use()]]))
    limit = 3 * (10 + 4096 + 5_000)
    world.ledger.limit_nano_usd = limit
    settle = world.ledger.settle

    async def settle_dearly(*args: object) -> int:
        cost = await settle(*args)  # type: ignore[arg-type]  # passed on
        world.ledger.limit_nano_usd = 0
        return cost

    world.ledger.settle = settle_dearly  # type: ignore[assignment, method-assign]  # a test's own
    state = await world.drive()
    assert state.state == "budget_exceeded"
    assert state.finished is not None
    assert "left" in state.finished.error
    assert len(state.tool_results) == 1, "what it had is kept"
    assert state.cost_nano_usd == 45


async def test_a_run_whose_agent_pauses_waits_and_has_called_no_model() -> None:
    world = paused_world()
    state = await world.drive()
    assert await world.event_types() == PAUSED
    assert state.state == "paused"
    assert state.pause == RunPaused(
        1, "the budget 'everything' has 0 left", "BUDGET_EXCEEDED", "everything"
    )
    assert world.delay_seconds == DEFAULT_PAUSE_RETRY_SECONDS
    run = await world.journal.get("acme", "run")
    assert run is not None
    assert (run.state, run.ended_at_ms) == ("paused", 0)


async def test_a_try_that_is_refused_again_logs_nothing() -> None:
    world = paused_world()
    await world.drive()
    for _ in range(3):
        assert (await world.drive()).state == "paused"
    assert world.ledger.refused == 4
    assert await world.event_types() == PAUSED


async def test_a_run_goes_on_once_the_limit_is_raised() -> None:
    world = paused_world()
    await world.drive()
    world.ledger.limit_nano_usd = 10**9
    world.now_ms += 60_000
    state = await world.drive()
    assert state.state == "completed"
    assert await world.event_types() == [
        *PAUSED,
        "run_continued",
        "model_call_started",
        "model_call_completed",
        "model_call_settled",
        "run_finished",
    ]
    events = await world.journal.events("run")
    assert RunContinued(turn=1) in [event.payload for event in events]
    assert (state.pause, state.paused_ms) == (None, 60_000)
    assert set(world.ledger.settled) == {"run_1_m2"}
    assert world.ledger.settled["run_1_m2"].attempt == 2
    assert world.ledger.open_nano_usd == 0


async def test_the_pause_does_not_count_towards_the_time_of_the_run() -> None:
    world = paused_world()
    world.engine._limits = EngineLimits(run_timeout_seconds=30.0)
    world.model.answers = [[use()], [TextBlock("done")]]  # type: ignore[union-attr]  # scripted
    await world.drive()
    world.ledger.limit_nano_usd = 10**9
    world.now_ms += 3_600_000
    assert (await world.drive()).state == "completed"


async def test_a_paused_run_tries_again_at_the_reset_if_that_is_sooner() -> None:
    world = paused_world(resets_at_ms=1_000 + 4_000)
    await world.drive()
    assert world.delay_seconds == 4.0
    world.now_ms += 4_000
    await world.drive()
    assert world.delay_seconds == DEFAULT_PAUSE_RETRY_SECONDS, "the reset has been"


async def test_a_pause_that_nobody_ends_is_over_after_a_day() -> None:
    world = paused_world()
    await world.drive()
    world.now_ms += int(DEFAULT_MAX_PAUSE_SECONDS * 1000) - 1
    assert (await world.drive()).state == "paused"
    world.now_ms += 1
    state = await world.drive()
    assert (state.state, state.finished and state.finished.code) == (
        "budget_exceeded",
        "BUDGET_EXCEEDED",
    )
    assert world.delay_seconds is None


async def test_a_pause_until_a_reset_lasts_beyond_the_reset() -> None:
    world = paused_world(resets_at_ms=20 * DAY_MS)
    await world.drive()
    world.now_ms = 20 * DAY_MS + 1_000
    assert (await world.drive()).state == "paused", "a day is left for those that come first"
    world.now_ms += DAY_MS
    assert (await world.drive()).state == "budget_exceeded"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (UnavailableError("the ledger is away"), "paused"),
        (UnknownModelError("the price is gone"), "failed"),
        (BudgetExceededError("an ancestor's limit is reached"), "budget_exceeded"),
    ],
)
async def test_what_else_the_ledger_may_say_to_a_paused_run(
    error: AgentExecutorError, state: str
) -> None:
    world = paused_world()
    await world.drive()
    world.ledger.error = error
    assert (await world.drive()).state == state


@pytest.mark.parametrize(
    "error", [UnavailableError("away"), UnknownModelError("no price"), BudgetExceededError("none")]
)
async def test_only_a_budget_pauses_a_run(error: AgentExecutorError) -> None:
    world = World(ScriptedModel([]), on_budget_exceeded="pause")
    world.ledger.error = error
    assert (await world.drive()).state in ("failed", "budget_exceeded")


async def test_a_paused_run_is_taken_over_paused() -> None:
    world = paused_world()
    await world.drive()
    await world.take_over()
    assert (await world.drive()).state == "paused"
    assert await world.event_types() == [*PAUSED, "run_resumed"]
    assert world.log.state.fruitful_attempt == world.log.run.attempt == 2
    await world.take_over()
    world.ledger.limit_nano_usd = 10**9
    assert (await world.drive()).state == "completed"
    assert world.ledger.open_nano_usd == 0


async def test_money_that_a_dead_driver_got_is_not_held_twice() -> None:
    world = paused_world()
    await world.drive()
    world.ledger.limit_nano_usd = 10**9
    commit, commits = world.log.commit, 0

    async def commit_or_die(*args: object) -> str:
        nonlocal commits
        commits += 1
        if commits == 2:
            raise ZeroDivisionError
        return await commit()

    world.log.commit = commit_or_die  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(ZeroDivisionError):
        await world.drive()
    assert set(world.ledger.holds) == {"run_1_m2"}
    await world.take_over()
    assert (await world.drive()).state == "completed"
    assert set(world.ledger.holds) == {"run_1_m2"}
    assert world.ledger.open_nano_usd == 0


async def test_an_id_that_a_dead_driver_used_for_another_request_is_given_up() -> None:
    world = paused_world()
    await world.drive()
    world.ledger.limit_nano_usd = 10**9
    await world.ledger.reserve(Hold("run_1_m2", "agent", "run", "model", 7, 7, 60), ADA)
    assert (await world.drive()).state == "completed"
    assert set(world.ledger.settled) == {"run_1_m3"}
    assert world.ledger.voided == {"run_1_m2"}


async def test_a_first_hold_under_an_id_that_was_used_takes_the_next_one() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    await world.ledger.reserve(Hold("run_1_m1", "agent", "run", "model", 7, 7, 60), ADA)
    world.ledger.expire("run_1_m1")
    assert (await world.drive()).state == "completed"
    assert set(world.ledger.settled) == {"run_1_m2"}


async def test_refusals_are_not_counted_as_tries_of_the_model() -> None:
    world = paused_world()
    world.model.answers = [  # type: ignore[union-attr]  # scripted
        *[ModelError("overloaded", retry_after_seconds=0.0)] * 3,
        [TextBlock("hi")],
    ]
    await world.drive()
    world.ledger.limit_nano_usd = 10**9
    assert (await world.drive()).state == "completed"


async def test_a_hold_that_only_needs_a_settlement_waits_for_it() -> None:
    world = World(ScriptedModel([[use()], [TextBlock("done")]]))
    settle, reserve, refused = world.ledger.settle, world.ledger.reserve, asyncio.Event()

    async def settle_late(*args: object) -> int:
        await refused.wait()
        return await settle(*args)  # type: ignore[arg-type]  # passed on

    async def reserve_and_tell(*args: object) -> int:
        try:
            return await reserve(*args)  # type: ignore[arg-type]  # passed on
        except BudgetExceededError:
            refused.set()
            raise

    world.ledger.settle = settle_late  # type: ignore[assignment, method-assign]  # a test's own
    world.ledger.reserve = reserve_and_tell  # type: ignore[assignment, method-assign]  # a test's own
    # Enough for one call at its worst, and for what another one has really cost.
    world.ledger.limit_nano_usd = 3 * (4096 + 1024 + 2_000)
    assert (await world.drive()).state == "completed"
    assert world.ledger.refused == 1


async def test_a_run_in_the_background_says_so_after_a_pause_too() -> None:
    world = World(
        ScriptedModel([[TextBlock("hi")]]),
        on_budget_exceeded="pause",
        started=RunStarted("agent", 1, "model", "hello", is_background=True),
    )
    world.ledger.limit_nano_usd = 0
    await world.drive()
    await world.take_over()
    world.ledger.limit_nano_usd = 10**9
    await world.drive()
    (settled,) = world.ledger.settled.values()
    assert settled.purpose is not None
    assert settled.purpose.is_background

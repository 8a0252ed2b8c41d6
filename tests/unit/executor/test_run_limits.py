"""Runs with a limit of their own, and trees of them: what is held, drawn and given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_executor.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    ModelError,
    RunFinishedError,
    RunNotFoundError,
    UnavailableError,
)
from agent_executor.executor.log.run_event import RunStarted
from agent_executor.executor.model_calls import run_money
from agent_executor.executor.models.model import TextBlock
from agent_executor.executor.peers.ledger import AmountHold
from agent_executor.executor.runs.new_runs import MAX_RUNS_IN_CHAIN
from agent_executor.executor.runs.run_options import RunOptions
from tests.unit.executor.memory_ledger import COST_NANO_USD_PER_TOKEN
from tests.unit.executor.platforms import ADA, CALCULATOR, EVE, Platform
from tests.unit.executor.worlds import ScriptedModel, StuckModel, World, use

ENOUGH = COST_NANO_USD_PER_TOKEN * 50_000
LIMITED = RunStarted("agent", 1, "model", "hello", max_cost_nano_usd=ENOUGH)


def limited_world(model: ScriptedModel | StuckModel, **agent: Any) -> World:
    return World(model, started=LIMITED, **agent)


async def test_a_limit_is_held_before_the_first_call_and_given_back_at_the_end() -> None:
    world = limited_world(ScriptedModel([[use()], [TextBlock("done")]]))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked()
    amount = world.ledger.reserved["run"]
    assert amount.asked == AmountHold("run", "agent", "run", ENOUGH, 1200)
    assert amount.state == "open"
    assert world.ledger.holds["run_1_m1"].amount_id == "run"
    world.tools.gate.set()
    state = await driving
    assert state.state == "completed"
    assert amount.state == "voided"
    assert amount.spent_nano_usd == state.cost_nano_usd == world.ledger.spent_nano_usd
    assert world.ledger.open_nano_usd == 0


async def test_a_run_without_a_limit_holds_no_amount() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    await world.drive()
    assert set(world.ledger.reserved) == {"run_1_m1"}
    assert world.ledger.holds["run_1_m1"].amount_id == ""


@pytest.mark.parametrize("policy", ["end", "pause"])
async def test_the_runs_own_limit_ends_it_whatever_its_agent_says(policy: str) -> None:
    calls = 3 * (4096 + 2 * 1024 + 1_000)
    world = World(
        ScriptedModel([[use(1)], [use(2)], [TextBlock("done")]]),
        started=RunStarted("agent", 1, "model", "hello", max_cost_nano_usd=calls),
        on_budget_exceeded=policy,
    )

    def spend(_: object) -> object:
        world.ledger.reserved["run"].spent_nano_usd += calls // 2
        raise UnavailableError("no matter")

    world.tools.run = spend  # type: ignore[assignment]  # a test's own
    state = await world.drive()
    assert state.state == "budget_exceeded"
    assert world.ledger.reserved["run"].state == "voided"
    assert len(state.tool_results) == 1


@pytest.mark.parametrize(
    "answer", [ModelError("refused"), [TextBlock("hi")]], ids=["failed", "completed"]
)
async def test_however_a_run_ends_its_amount_is_given_back(
    answer: ModelError | list[TextBlock],
) -> None:
    world = limited_world(ScriptedModel([answer]))
    await world.drive()
    assert world.ledger.reserved["run"].state == "voided"


async def test_an_amount_that_a_budget_refuses_pauses_the_run() -> None:
    world = limited_world(ScriptedModel([[TextBlock("hi")]]), on_budget_exceeded="pause")
    world.ledger.limit_nano_usd = ENOUGH - 1
    assert (await world.drive()).state == "paused"
    assert world.ledger.reserved == {}
    world.ledger.limit_nano_usd = ENOUGH
    assert (await world.drive()).state == "completed"
    assert world.ledger.reserved["run"].state == "voided"


async def test_an_amount_that_a_budget_refuses_ends_the_run() -> None:
    world = limited_world(ScriptedModel([]))
    world.ledger.limit_nano_usd = ENOUGH - 1
    assert (await world.drive()).state == "budget_exceeded"


async def test_no_amount_is_held_for_a_run_that_never_comes_to_be() -> None:
    world = limited_world(ScriptedModel([]))

    async def fail(*_: object) -> None:
        raise UnavailableError("disk full")

    world.journal.create = fail  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(UnavailableError):
        await world.drive()
    assert world.ledger.reserved == {}


async def test_an_heir_goes_on_with_the_amount_and_holds_none_twice() -> None:
    world = limited_world(ScriptedModel([[use()], [TextBlock("done")]]))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked()
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)
    amount = world.ledger.reserved["run"]
    assert amount.state == "open", "a run that is taken over keeps its amount"

    world.tools.gate = None
    await world.take_over()
    assert (await world.drive()).state == "completed"
    assert world.ledger.renewed == ["run"]
    assert [one for one in world.ledger.reserved.values() if isinstance(one.asked, AmountHold)] == [
        amount
    ]
    assert amount.state == "voided"
    assert world.ledger.open_nano_usd == 0


async def test_an_heir_of_a_run_whose_amount_never_was_holds_it() -> None:
    world = limited_world(ScriptedModel([[TextBlock("hi")]]))
    await world.log.commit()
    await world.take_over()
    assert (await world.drive()).state == "completed"
    assert world.ledger.reserved["run"].state == "voided"


async def test_a_run_that_died_after_giving_its_amount_back_still_ends() -> None:
    world = limited_world(ScriptedModel([[TextBlock("hi")]]))
    void = world.ledger.void

    async def void_and_die(*args: object) -> None:
        await void(*args)  # type: ignore[arg-type]  # passed on
        raise ZeroDivisionError

    world.ledger.void = void_and_die  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(ZeroDivisionError):
        await world.drive()
    world.ledger.void = void  # type: ignore[method-assign]  # as it was
    await world.take_over()
    assert (await world.drive()).state == "completed"


async def test_an_amount_that_ended_while_nobody_drove_the_run_is_not_held_again() -> None:
    world = limited_world(ScriptedModel([[use()], [TextBlock("done")]]))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked()
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)
    world.ledger.expire("run")
    world.tools.gate = None
    await world.take_over()
    state = await world.drive()
    assert state.state == "budget_exceeded"
    assert state.finished is not None
    assert "nobody drove" in state.finished.error


async def test_an_executor_that_lost_the_run_leaves_the_amount_to_its_heir() -> None:
    world = limited_world(ScriptedModel([[TextBlock("hi")]]))
    settle = world.ledger.settle

    async def settle_after_the_take_over(*args: object) -> int:
        await world.journal.claim("heir/1", 0, 1)
        return await settle(*args)  # type: ignore[arg-type]  # passed on

    world.ledger.settle = settle_after_the_take_over  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(UnavailableError):
        await world.drive()
    assert world.ledger.reserved["run"].state == "open"


async def test_an_amount_is_renewed_for_as_long_as_its_run_is_driven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_money, "RENEWALS_PER_TTL", 10**6)
    world = limited_world(ScriptedModel([[use()], [TextBlock("done")]]))
    world.tools.gate, world.ledger.unavailable_times = asyncio.Event(), 0
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked()
    world.ledger.unavailable_times = 1
    async with asyncio.timeout(60):
        while len(world.ledger.renewed) < 3:  # noqa: ASYNC110 -- a renewal makes no event
            await asyncio.sleep(0)
    world.tools.gate.set()
    await driving
    renewed = len(world.ledger.renewed)
    await asyncio.sleep(0.01)
    assert len(world.ledger.renewed) == renewed


class TestTrees:
    async def test_a_run_draws_from_its_parents_amount(self) -> None:
        platform = Platform()
        platform.tools.gate = asyncio.Event()
        agent_id = await platform.agent(tools=CALCULATOR)
        parent = await platform.runs.start(
            agent_id, "What is 2 + 3?", ADA, RunOptions(max_cost_nano_usd=ENOUGH)
        )
        parent_id = parent.run.run_id
        await platform.tools.wait_until_asked()
        child = await platform.runs.execute(
            agent_id, "hello", ADA, RunOptions(parent_run_id=parent_id)
        )
        assert child.run.parent_run_id == parent_id
        assert child.state.state == "completed"
        child_id = child.run.run_id
        assert platform.ledger.holds[f"{child_id}_1_m1"].amount_id == parent_id
        amount = platform.ledger.reserved[parent_id]
        assert amount.spent_nano_usd == platform.ledger.spent_nano_usd
        grandchild = await platform.runs.execute(
            agent_id,
            "hello",
            ADA,
            RunOptions(parent_run_id=parent_id, max_cost_nano_usd=ENOUGH // 3),
        )
        own = platform.ledger.reserved[grandchild.run.run_id]
        assert own.parent_id == parent_id
        assert own.state == "voided"
        platform.tools.gate.set()
        await platform.runs.drain(5.0)
        assert platform.ledger.open_nano_usd == 0
        assert amount.spent_nano_usd == platform.ledger.spent_nano_usd

    async def test_the_nearest_ancestor_with_a_limit_is_drawn_from(self) -> None:
        platform = Platform()
        platform.tools.gate = asyncio.Event()
        agent_id = await platform.agent(tools=CALCULATOR)
        sum_of = "What is 2 + 3?"
        first = await platform.runs.start(
            agent_id, sum_of, ADA, RunOptions(max_cost_nano_usd=ENOUGH)
        )
        await platform.tools.wait_until_asked(1)
        second = await platform.runs.start(
            agent_id, sum_of, ADA, RunOptions(parent_run_id=first.run.run_id)
        )
        await platform.tools.wait_until_asked(2)
        third = await platform.runs.execute(
            agent_id, "hello", ADA, RunOptions(parent_run_id=second.run.run_id)
        )
        hold = platform.ledger.holds[f"{third.run.run_id}_1_m1"]
        assert hold.amount_id == first.run.run_id
        platform.tools.gate.set()
        await platform.runs.drain(5.0)

    async def test_a_child_of_an_unlimited_run_draws_from_the_budgets(self) -> None:
        platform = Platform()
        platform.tools.gate = asyncio.Event()
        agent_id = await platform.agent(tools=CALCULATOR)
        parent = await platform.runs.start(agent_id, "What is 2 + 3?", ADA)
        await platform.tools.wait_until_asked()
        child = await platform.runs.execute(
            agent_id, "hello", ADA, RunOptions(parent_run_id=parent.run.run_id)
        )
        assert platform.ledger.holds[f"{child.run.run_id}_1_m1"].amount_id == ""
        platform.tools.gate.set()
        await platform.runs.drain(5.0)

    async def test_a_child_whose_parent_has_ended_meanwhile_gets_no_more(self) -> None:
        platform = Platform()
        platform.tools.gate = asyncio.Event()
        agent_id = await platform.agent(tools=CALCULATOR, on_budget_exceeded="pause")
        sum_of = "What is 2 + 3?"
        parent = await platform.runs.start(
            agent_id, sum_of, ADA, RunOptions(max_cost_nano_usd=ENOUGH)
        )
        await platform.tools.wait_until_asked(1)
        child = await platform.runs.start(
            agent_id, sum_of, ADA, RunOptions(parent_run_id=parent.run.run_id)
        )
        await platform.tools.wait_until_asked(2)
        await platform.ledger.void(parent.run.run_id, ADA)
        platform.tools.gate.set()
        await platform.runs.drain(5.0)
        ended = await platform.runs.get(child.run.run_id, ADA)
        assert ended.state.state == "budget_exceeded"

    async def test_only_a_run_under_way_of_the_organization_can_start_another(self) -> None:
        platform = Platform()
        agent_id = await platform.agent()
        ended = (await platform.runs.execute(agent_id, "hello", ADA)).run.run_id
        with pytest.raises(RunFinishedError):
            await platform.runs.execute(agent_id, "hello", ADA, RunOptions(parent_run_id=ended))
        with pytest.raises(RunNotFoundError):
            await platform.runs.start(agent_id, "hello", ADA, RunOptions(parent_run_id="nobody's"))
        platform.tools.gate = asyncio.Event()
        theirs = await platform.agents.create({"name": "Theirs"}, "", EVE)
        view = await platform.runs.start(
            await platform.agent(tools=CALCULATOR), "What is 2 + 3?", ADA
        )
        with pytest.raises(RunNotFoundError):
            await platform.runs.start(
                theirs.agent_id, "hello", EVE, RunOptions(parent_run_id=view.run.run_id)
            )
        await platform.runs.drain(0.0)
        assert len(await platform.runs.list_runs(ADA, 10)) == 2

    @pytest.mark.parametrize("limit_nano_usd", [0, ENOUGH], ids=["unlimited", "limited"])
    async def test_so_many_runs_start_one_another_and_no_more(self, limit_nano_usd: int) -> None:
        platform = Platform(max_active_runs=2 * MAX_RUNS_IN_CHAIN)
        platform.tools.gate = asyncio.Event()
        agent_id = await platform.agent(tools=CALCULATOR)
        run_id = ""
        for number in range(1, MAX_RUNS_IN_CHAIN + 1):
            limit = limit_nano_usd * (2 * MAX_RUNS_IN_CHAIN - number)
            options = RunOptions(parent_run_id=run_id, max_cost_nano_usd=limit)
            view = await platform.runs.start(agent_id, "What is 2 + 3?", ADA, options)
            run_id = view.run.run_id
        await platform.tools.wait_until_asked(MAX_RUNS_IN_CHAIN)
        options = RunOptions(parent_run_id=run_id)
        for start in (platform.runs.start, platform.runs.execute):
            with pytest.raises(FailedPreconditionError, match="last of 32 runs"):
                await start(agent_id, "hello", ADA, options)
        # One above it may still start others beside it.
        parent_id = (await platform.runs.get(run_id, ADA)).run.parent_run_id
        await platform.runs.execute(agent_id, "hello", ADA, RunOptions(parent_run_id=parent_id))
        platform.tools.gate.set()
        await platform.runs.drain(5.0)
        assert {run.state for run in await platform.runs.list_runs(ADA, 100)} == {"completed"}

    @pytest.mark.parametrize(
        ("agents", "callers", "holds"), [(0, 0, 0), (7, 0, 7), (0, 7, 7), (7, 9, 7), (9, 7, 7)]
    )
    async def test_of_two_limits_the_lower_one_holds(
        self, agents: int, callers: int, holds: int
    ) -> None:
        platform = Platform()
        agent_id = await platform.agent(max_cost_nano_usd=agents)
        view = await platform.runs.start(
            agent_id, "hello", ADA, RunOptions(max_cost_nano_usd=callers)
        )
        assert view.state.max_cost_nano_usd == holds
        await platform.runs.drain(5.0)


@pytest.mark.parametrize(("least", "most"), [(-1, 10), (11, 10)])
async def test_the_least_output_of_an_agent_is_within_its_most(least: int, most: int) -> None:
    platform = Platform()
    with pytest.raises(InvalidArgumentError, match="min_output_tokens"):
        await platform.agent(min_output_tokens=least, max_output_tokens=most)
    agent_id = await platform.agent(min_output_tokens=10, max_output_tokens=10)
    with pytest.raises(InvalidArgumentError, match="min_output_tokens"):
        await platform.agents.update(agent_id, {"max_output_tokens": 9}, None, ADA)
    assert (await platform.agents.get(agent_id, ADA)).version == 1

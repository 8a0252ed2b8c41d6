"""Runs some of whose tool calls wait for a person, as their driver sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agent_executor.errors import LeaseLostError, UnavailableError
from agent_executor.executor.approvals.approval import Approval, Decision
from agent_executor.executor.approvals.policy import ApprovalPolicy, ApprovalRule
from agent_executor.executor.driving.drivers import MAX_FRUITLESS_ATTEMPTS
from agent_executor.executor.driving.engine import EngineLimits
from agent_executor.executor.log.run import RunState, fold
from agent_executor.executor.log.run_event import (
    ApprovalResolved,
    RunResumed,
    RunStarted,
    ToolCallStarted,
)
from agent_executor.executor.models.model import TextBlock, ToolResultBlock, ToolUseBlock
from agent_executor.executor.peers.tools import ToolOutcome, ToolRequest
from tests.unit.executor.peers import answer
from tests.unit.executor.worlds import ScriptedModel, World

EMAIL = ApprovalRule("email", reason="It is sent.")
HOUR_MS = 3_600_000


def ask(tool_name: str, number: int = 1) -> ToolUseBlock:
    return ToolUseBlock(f"toolu_{number}", tool_name, {"n": number})


def waiting_world(*uses: ToolUseBlock, **world: Any) -> World:
    """Returns a world whose agent may send an email only if a person lets it."""
    model = ScriptedModel([list(uses or [ask("email")]), [TextBlock("done")]])
    policy = ApprovalPolicy((EMAIL,), timeout_seconds=3_600)
    made = World(model, approval_policy=policy, **world)
    made.agent = msgspec.structs.replace(made.agent, tools={"email": True, "read": True})
    made.tools.tool_names = ("email", "read")
    return made


async def decide(
    world: World, state: str = "approved", number: int = 0, *, reason: str = "", edited: str = ""
) -> Approval:
    decision = Decision(state, "bob", reason, edited, world.now_ms)
    decided = await world.approvals.decide("acme", "run", f"run_1_{number}", decision)
    assert decided is not None
    assert decision.is_that_of(decided)
    return decided


async def wake(world: World) -> RunState:
    """Lets another executor go on with the parked run, and drives it."""
    attempt = world.log.run.attempt
    run = await world.journal.claim_run(f"heir/{attempt + 1}", "run", world.now_ms)
    assert run is not None, "somebody drives it"
    world.log = world.log_of(run, fold(await world.journal.events("run")))
    world.log.add(RunResumed(run.attempt))
    return await world.drive()


async def pending(world: World) -> list[Approval]:
    return await world.approvals.list_pending("acme", 100, world.now_ms)


def seen(world: World) -> list[ToolResultBlock]:
    """Returns the results that the model was given."""
    assert isinstance(world.model, ScriptedModel)
    blocks = world.model.requests[1].messages[-1].content
    return [block for block in blocks if isinstance(block, ToolResultBlock)]


async def test_a_call_waits_and_its_run_is_parked() -> None:
    world = waiting_world()
    state = await world.drive()
    assert await world.event_types() == [
        "run_started",
        "model_call_started",
        "model_call_completed",
        "approval_requested",
        "model_call_settled",
    ]
    assert state.state == "waiting"
    assert world.tools.requests == []
    run = await world.journal.get("acme", "run")
    assert run is not None
    assert (run.owner, run.wake_at_ms, run.state) == ("", 1_000 + HOUR_MS, "waiting")
    assert await pending(world) == [
        Approval(
            "run_1_0",
            "run",
            "acme",
            "agent",
            "email",
            '{"n":1}',
            "It is sent.",
            1_000,
            1_000 + HOUR_MS,
        )
    ]
    assert world.delay_seconds is None


async def test_a_call_that_a_person_lets_pass_is_made_as_the_model_asked() -> None:
    world = waiting_world()
    await world.drive()
    world.now_ms += 60_000
    await decide(world, reason="fine")
    state = await wake(world)
    assert (state.state, state.waited_ms) == ("completed", 60_000)
    assert await world.event_types() == [
        "run_started",
        "model_call_started",
        "model_call_completed",
        "approval_requested",
        "model_call_settled",
        "run_resumed",
        "approval_resolved",
        "tool_call_started",
        "tool_call_completed",
        "model_call_started",
        "model_call_completed",
        "model_call_settled",
        "run_finished",
    ]
    [request] = world.tools.requests
    assert (request.tool_call_id, request.arguments_json) == ("run_1_0", '{"n":1}')
    [result] = seen(world)
    assert result == ToolResultBlock("toolu_1", "42")
    events = [event.payload for event in await world.journal.events("run")]
    assert ApprovalResolved("run_1_0", "approved", "bob", "fine") in events


async def test_a_call_that_a_person_denies_is_never_made() -> None:
    world = waiting_world()
    await world.drive()
    await decide(world, "denied", reason="Not to them.")
    state = await wake(world)
    assert state.state == "completed"
    assert world.tools.requests == []
    [result] = seen(world)
    assert result.is_error
    assert msgspec.json.decode(result.content) == {
        "success": False,
        "error": "A person denied this call: Not to them.",
        "tool_name": "email",
        "code": "PERMISSION_DENIED",
    }
    types = await world.event_types()
    assert "tool_call_started" not in types
    assert types.count("tool_call_completed") == 1
    assert state.given_calls == (), "the ledger is not told of a call that was not made"


async def test_a_denial_needs_no_reason() -> None:
    world = waiting_world()
    await world.drive()
    await decide(world, "denied")
    await wake(world)
    assert '"A person denied this call."' in seen(world)[0].content


async def test_edited_arguments_are_sent_and_the_model_is_told() -> None:
    world = waiting_world()
    await world.drive()
    await decide(world, edited='{"n":7}')
    state = await wake(world)
    [request] = world.tools.requests
    assert request.arguments_json == '{"n":7}'
    assert isinstance(world.model, ScriptedModel)
    question, result = world.model.requests[1].messages[-2:]
    assert question.content == (ask("email"),), "what the model said is left as it was"
    [block] = result.content
    assert isinstance(block, ToolResultBlock)
    assert msgspec.json.decode(block.content) == {
        "result": 42,
        "note": "A person changed the arguments of this call before it was made.",
        "arguments": {"n": 7},
    }
    assert [call.arguments_json for call in state.turn_calls] == []
    started = [
        event.payload
        for event in await world.journal.events("run")
        if isinstance(event.payload, ToolCallStarted)
    ]
    assert started == [ToolCallStarted("run_1_0", "toolu_1", "email", '{"n":7}', "edited")]


async def test_an_edited_call_that_fails_says_both() -> None:
    world = waiting_world()
    world.tools.run = lambda request: ToolOutcome(False, "null", "It broke.", "INTERNAL", 1)
    await world.drive()
    await decide(world, edited='{"n":7}')
    await wake(world)
    error = msgspec.json.decode(seen(world)[0].content)["error"]
    assert error.startswith("It broke. A person changed the arguments")


async def test_a_call_about_which_nobody_decides_is_denied() -> None:
    world = waiting_world()
    await world.drive()
    world.now_ms += HOUR_MS - 1
    assert await world.journal.claim("heir/2", world.now_ms, 9) == []
    world.now_ms += 1
    state = await wake(world)
    assert state.state == "completed"
    assert world.tools.requests == []
    assert "Nobody decided about this call in time" in seen(world)[0].content
    events = [event.payload for event in await world.journal.events("run")]
    assert ApprovalResolved("run_1_0", "expired") in events


async def test_the_claim_of_what_is_due_finds_an_expired_call() -> None:
    world = waiting_world()
    await world.drive()
    world.now_ms += HOUR_MS
    [run] = await world.journal.claim("heir/2", world.now_ms, 9)
    assert run.run_id == "run"


async def test_other_calls_of_the_turn_run_at_once() -> None:
    world = waiting_world(ask("read", 1), ask("email", 2), ask("read", 3), ask("email", 4))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked(2)
    assert world.tools.running == 2, "they do not run in parallel"
    waiting = [approval.tool_call_id for approval in await pending(world)]
    assert waiting == ["run_1_1", "run_1_3"], "people can decide while others run"
    assert (await world.stored()).state == "running"
    world.tools.gate.set()
    state = await driving
    assert state.state == "waiting"
    assert [done.tool_call_id for done in state.turn_results] == ["run_1_0", "run_1_2"]
    await decide(world, number=3)
    world.tools.run = lambda request: answer('"sent"')
    state = await wake(world)
    assert (state.state, len(state.approvals)) == ("waiting", 1)
    await decide(world, "denied", 1)
    state = await wake(world)
    assert state.state == "completed"
    assert [block.tool_use_id for block in seen(world)] == [f"toolu_{n}" for n in (1, 2, 3, 4)]
    assert [block.content == '"sent"' for block in seen(world)] == [False, False, False, True]
    assert sorted(request.tool_call_id for request in world.tools.requests) == [
        "run_1_0",
        "run_1_2",
        "run_1_3",
    ]


async def test_a_decision_while_others_run_is_taken_up_without_parking() -> None:
    world = waiting_world(ask("read", 1), ask("email", 2))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked(1)
    await decide(world, number=1)
    world.tools.gate.set()
    state = await driving
    assert (state.state, state.waited_ms) == ("completed", 0)
    assert "run_resumed" not in await world.event_types()


async def test_the_first_expiry_wakes_the_run_and_leaves_the_later_calls() -> None:
    world = waiting_world(ask("email", 1), ask("email", 2))
    await world.drive()
    await world.approvals.decide(
        "acme", "run", "run_1_0", Decision("denied", "bob", "", "", world.now_ms)
    )
    state = await wake(world)
    assert [asked.tool_call_id for asked in state.approvals] == ["run_1_1"]
    run = await world.journal.get("acme", "run")
    assert run is not None
    assert (run.owner, run.wake_at_ms) == ("", 1_000 + HOUR_MS)


async def test_waiting_does_not_count_towards_the_time_of_the_run() -> None:
    world = waiting_world(limits=EngineLimits(run_timeout_seconds=30.0))
    await world.drive()
    world.now_ms += HOUR_MS - 1
    await decide(world)
    assert (await wake(world)).state == "completed"


async def test_other_calls_do_count_while_one_waits() -> None:
    world = waiting_world(
        ask("read", 1), ask("email", 2), limits=EngineLimits(run_timeout_seconds=30.0)
    )

    def slow(request: ToolRequest) -> ToolOutcome:
        del request
        world.now_ms += 29_000
        return answer()

    world.tools.run = slow
    await world.drive()
    await decide(world, number=1)
    state = await wake(world)
    assert state.finished is not None
    assert (state.state, state.finished.code) == ("failed", "DEADLINE_EXCEEDED")


async def test_a_run_may_be_woken_more_often_than_it_may_be_taken_over() -> None:
    count = MAX_FRUITLESS_ATTEMPTS + 5
    world = waiting_world(*(ask("email", number) for number in range(count)))
    state = await world.drive()
    for number in range(count):
        await decide(world, "denied" if number % 2 else "approved", number)
        state = await wake(world)
    assert state.state == "completed"
    assert world.log.run.attempt > MAX_FRUITLESS_ATTEMPTS
    assert world.log.run.attempt - state.fruitful_attempt <= 1


async def test_a_driver_that_lost_the_run_takes_nothing_up() -> None:
    world = waiting_world(ask("read", 1), ask("email", 2))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked(1)
    await decide(world, number=1)
    assert await world.journal.claim_run("heir/2", "run", world.now_ms) is not None
    world.tools.gate.set()
    with pytest.raises(LeaseLostError):
        await driving
    assert [request.tool_name for request in world.tools.requests] == ["read"]
    assert len(await world.approvals.decided("run")) == 1, "it is left to the heir"


async def test_what_a_dead_driver_logged_is_announced_by_its_heir() -> None:
    world = waiting_world()
    request = world.approvals.request

    async def dies(*args: object) -> None:
        raise asyncio.CancelledError

    world.approvals.request = dies  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(asyncio.CancelledError):
        await world.drive()
    assert await pending(world) == []
    world.approvals.request = request  # type: ignore[method-assign]  # as it was
    state = await wake(world)
    assert state.state == "waiting"
    assert len(await pending(world)) == 1


async def test_what_is_in_the_log_already_is_not_taken_up_again() -> None:
    world = waiting_world(ask("email", 1), ask("email", 2))
    take_up = world.approvals.take_up
    told: list[object] = []

    async def fails(*args: object) -> None:
        told.append(args)
        raise UnavailableError("The storage is away.")

    world.approvals.take_up = fails  # type: ignore[assignment, method-assign]  # a test's own
    await world.drive()
    await decide(world)
    state = await wake(world)
    assert told
    assert (state.state, len(world.tools.requests)) == ("waiting", 1)
    assert await world.approvals.runs_to_wake(9) == ["run"]
    world.approvals.take_up = take_up  # type: ignore[method-assign]  # as it was
    state = await wake(world)
    assert (state.state, len(world.tools.requests)) == ("waiting", 1)
    assert await world.approvals.runs_to_wake(9) == []
    resolved = [kind for kind in await world.event_types() if kind == "approval_resolved"]
    assert len(resolved) == 1


async def test_a_limit_of_its_own_is_held_while_the_run_is_parked() -> None:
    started = RunStarted("agent", 1, "model", "hello", max_cost_nano_usd=10**12)
    world = waiting_world(started=started)
    policy = ApprovalPolicy((EMAIL,), timeout_seconds=30 * 86_400)
    world.agent = msgspec.structs.replace(world.agent, approval_policy=policy)
    await world.drive()
    run = await world.journal.get("acme", "run")
    assert run is not None
    assert run.wake_at_ms == 1_000 + 8 * HOUR_MS, "the amount would end before the decision"
    for _ in range(3):
        world.now_ms += 8 * HOUR_MS
        assert (await wake(world)).state == "waiting"
    await decide(world)
    assert (await wake(world)).state == "completed"
    assert world.ledger.open_nano_usd == 0


async def test_a_run_is_looked_at_soon_again_whose_amount_could_not_be_renewed() -> None:
    started = RunStarted("agent", 1, "model", "hello", max_cost_nano_usd=10**12)
    world = waiting_world(started=started)
    renew = world.ledger.renew

    async def away(*args: object) -> None:
        raise UnavailableError("The ledger is away.")

    world.ledger.renew = away  # type: ignore[assignment, method-assign]  # a test's own
    await world.drive()
    run = await world.journal.get("acme", "run")
    assert run is not None
    assert 0 < run.wake_at_ms - world.now_ms < 1_300_000 / 3
    world.ledger.renew = renew  # type: ignore[method-assign]  # as it was


async def test_a_run_whose_time_is_over_waits_for_nobody() -> None:
    world = waiting_world(
        ask("read", 1), ask("email", 2), limits=EngineLimits(run_timeout_seconds=30.0)
    )

    def too_slow(request: ToolRequest) -> ToolOutcome:
        del request
        world.now_ms += 31_000
        return answer()

    world.tools.run = too_slow
    state = await world.drive()
    assert state.state == "failed"
    assert await pending(world) == []

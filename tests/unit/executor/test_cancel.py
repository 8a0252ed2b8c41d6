"""Ending runs before their time: what is stopped, what is not begun, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from agent_executor.errors import (
    CancelledRunError,
    ModelError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RunNotFoundError,
    UnavailableError,
)
from agent_executor.executor.driving.engine import EngineLimits
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import CancelRequested, RunStarted
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelDelta,
    ModelRequest,
    ModelResponse,
    TextBlock,
)
from agent_executor.executor.peers.tools import ToolOutcome, ToolRequest
from agent_executor.executor.runs.cancel_receipt import CancelReceipt, receipt_of
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.memory_ledger import COST_NANO_USD_PER_TOKEN
from tests.unit.executor.peers import answer, stop_harmlessly
from tests.unit.executor.platforms import ADA, CALCULATOR, EVE, Platform
from tests.unit.executor.worlds import USAGE, ScriptedModel, World, use

WHY = CancelRequested("bob", "too slow")
DONE = (TextBlock("done"),)


class OpenModel:
    """A provider that begins to answer and goes on until it is told to end, or is cancelled.

    Attributes:
        is_open: Whether a connection is open.
        answers: What it says when it is told to end.
    """

    name = "open"

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.is_open = False
        self.begun = asyncio.Event()
        self.end = asyncio.Event()
        self.calls = 0

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        self.calls += 1
        self.is_open = True
        try:
            if on_delta is not None and self.text:
                on_delta(ModelDelta("text", 0, self.text))
            self.begun.set()
            await self.end.wait()
            return ModelResponse("msg", request.model, DONE, "end_turn", USAGE)
        finally:
            self.is_open = False


async def cancelled(
    world: World, begun: Callable[[], Awaitable[object]], *, then: Callable[[], None] = lambda: None
) -> RunState:
    """Drives a run and asks for its end once something has begun."""
    driving = asyncio.create_task(world.drive())
    await begun()
    world.log.request_cancel(WHY)
    then()
    async with asyncio.timeout(60):
        return await driving


async def until(condition: Callable[[], bool]) -> None:
    """Returns once something holds of which nothing tells."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- see above
            await asyncio.sleep(0)


async def receipt(world: World) -> CancelReceipt:
    return receipt_of("run", await world.journal.events("run"), ())


async def test_a_model_call_is_broken_off_and_settled_at_what_was_delivered() -> None:
    model = OpenModel(text="x" * 41)
    world = World(model)
    state = await cancelled(world, model.begun.wait)
    assert not model.is_open
    assert (state.state, state.finished and state.finished.code) == ("cancelled", "RUN_CANCELLED")
    (settlement,) = world.ledger.settled.values()
    assert settlement.estimated
    assert settlement.usage.output_tokens == 11, "41 bytes are about 11 tokens"
    assert settlement.usage.input_tokens > 0
    assert world.ledger.open_nano_usd == 0
    said = await receipt(world)
    assert said.was_stopped
    assert said.stopped_call_ids == ("run_1_m1",)
    assert said.cost_nano_usd == world.ledger.spent_nano_usd
    held = world.ledger.reserved["run_1_m1"].held_nano_usd
    assert said.released_nano_usd == held - said.cost_nano_usd > 0


async def test_the_log_says_who_and_why_before_what_was_stopped() -> None:
    model = OpenModel()
    world = World(model)
    await cancelled(world, model.begun.wait)
    types = await world.event_types()
    assert types[-4:] == [
        "cancel_requested",
        "model_call_failed",
        "model_call_settled",
        "run_finished",
    ]
    events = await world.journal.events("run")
    assert events[-4].payload == WHY


async def test_an_answer_that_came_in_the_same_instant_stays() -> None:
    model = OpenModel()
    world = World(model)
    state = await cancelled(world, model.begun.wait, then=model.end.set)
    # It came after all, or not at all; it is never paid for and lost.
    if state.state == "completed":
        assert state.finished is not None
        assert state.finished.response == "done"
        assert not (await receipt(world)).was_stopped
        assert "cancel_requested" not in await world.event_types()
    else:
        assert state.state == "cancelled"


async def test_an_answer_that_is_durable_stays() -> None:
    world = World(ScriptedModel([DONE]))
    settle = world.ledger.settle

    async def cancel_then_settle(*arguments: object) -> int:
        world.log.request_cancel(WHY)
        return await settle(*arguments)  # type: ignore[arg-type]  # handed on as they came

    world.ledger.settle = cancel_then_settle  # type: ignore[assignment,method-assign]  # what a test may do
    state = await world.drive()
    assert state.state == "completed"
    said = await receipt(world)
    assert (said.was_stopped, said.state, said.stopped_call_ids) == (False, "completed", ())


async def test_tools_that_run_are_stopped_and_those_that_wait_are_not_begun() -> None:
    model = ScriptedModel([[use(1), use(2), use(3), use(4)], DONE])
    world = World(model, limits=EngineLimits(max_parallel_tool_calls=2))
    world.tools.gate = asyncio.Event()
    state = await cancelled(world, lambda: world.tools.wait_until_asked(2))
    assert state.state == "cancelled"
    assert len(world.tools.requests) == 2, "a tool was begun after the request"
    assert world.tools.running == 0
    assert len(model.requests) == 1
    said = await receipt(world)
    assert said.stopped_call_ids == ("run_1_0", "run_1_1")
    assert said.never_begun_call_ids == ("run_1_2", "run_1_3")
    assert said.unknown_call_ids == said.finished_call_ids == ()
    assert not state.pending_tool_calls, "a later conversation needs a result for each call"


async def test_the_tool_runners_word_on_an_unsafe_tool_is_kept() -> None:
    world = World(ScriptedModel([[use(1), use(2), use(3)], DONE]))
    world.tools.gate = asyncio.Event()

    def stopped(request: ToolRequest) -> ToolOutcome:
        if request.tool_call_id == "run_1_0":
            raise OutcomeUnknownError("It was stopped while it ran.")
        if request.tool_call_id == "run_1_1":
            return answer("7")
        raise CancelledRunError("It was stopped.")

    world.tools.stopped = stopped
    state = await cancelled(world, lambda: world.tools.wait_until_asked(3))
    said = await receipt(world)
    assert set(said.stopped_call_ids) == {"run_1_0", "run_1_2"}
    assert said.unknown_call_ids == ("run_1_0",)
    assert said.finished_call_ids == ("run_1_1",)
    assert [result.success for result in state.tool_results] == [False, True, False]


async def test_a_retry_is_not_waited_for() -> None:
    world = World(ScriptedModel([ModelError("busy", retry_after_seconds=100.0), DONE]))
    started = asyncio.get_running_loop().time()

    state = await cancelled(world, lambda: until(lambda: bool(world.ledger.voided)))
    assert asyncio.get_running_loop().time() - started < 5
    assert state.state == "cancelled"
    assert (await receipt(world)).stopped_call_ids == ()


async def test_a_tool_runner_that_is_away_is_not_waited_for() -> None:
    world = World(ScriptedModel([DONE]))
    asked = asyncio.Event()

    async def describe(*arguments: object) -> None:
        asked.set()
        raise UnavailableError("away")

    world.tools.describe = describe  # type: ignore[assignment,method-assign]  # what a test may do
    state = await cancelled(world, asked.wait)
    assert state.state == "cancelled"


async def test_the_amount_of_a_run_is_free_again() -> None:
    model = OpenModel()
    started = RunStarted("agent", 1, "model", "hello", max_cost_nano_usd=10**6)
    world = World(model, started=started)
    await cancelled(world, model.begun.wait)
    assert world.ledger.open_nano_usd == 0
    assert world.ledger.reserved["run"].state == "voided"
    said = await receipt(world)
    assert said.released_nano_usd == 10**6 - said.cost_nano_usd
    assert said.cost_nano_usd % COST_NANO_USD_PER_TOKEN == 0 != said.cost_nano_usd


async def test_an_heir_sees_the_request_and_does_not_ask_the_model_again() -> None:
    model = OpenModel()
    world = World(model)
    driving = asyncio.create_task(world.drive())
    await model.begun.wait()
    # As after kill -9: the call is open in the log, and its owner is gone.
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)
    await world.take_over()
    world.log.request_cancel(WHY)
    state = await world.drive()
    assert state.state == "cancelled"
    assert model.calls == 1
    assert world.ledger.open_nano_usd == 0
    assert (await receipt(world)).was_stopped


async def test_an_heir_does_not_know_what_became_of_tools() -> None:
    world = World(ScriptedModel([[use(1), use(2)], DONE]))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked(2)
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)
    await world.take_over()
    world.log.request_cancel(WHY)
    await world.drive()
    said = await receipt(world)
    assert said.unknown_call_ids == said.stopped_call_ids == ("run_1_0", "run_1_1")
    assert len(world.tools.requests) == 2, "an heir that ends a run sends no call again"


async def test_an_heir_stops_tools_and_hears_what_became_of_them() -> None:
    world = World(ScriptedModel([[use(1), use(2), use(3)], DONE]))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked(3)
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)
    await world.take_over()
    world.log.request_cancel(WHY)

    def left(request: ToolRequest) -> ToolOutcome:
        if request.tool_call_id == "run_1_0":
            return answer("7")
        if request.tool_call_id == "run_1_1":
            return stop_harmlessly(request)
        raise UnavailableError("away")

    world.tools.left = left
    state = await world.drive()
    assert [request.tool_call_id for request in world.tools.stops] == [
        *("run_1_0", "run_1_1", "run_1_2")
    ]
    assert world.tools.stops[0] == world.tools.requests[0]
    said = await receipt(world)
    assert said.finished_call_ids == ("run_1_0",)
    assert said.stopped_call_ids == ("run_1_1", "run_1_2")
    assert said.unknown_call_ids == ("run_1_2",)
    assert (state.state, state.tool_results[0].result_json) == ("cancelled", "7")


async def test_a_run_that_is_paused_ends_at_once() -> None:
    world = World(ScriptedModel([DONE]), on_budget_exceeded="pause")
    world.ledger.limit_nano_usd = 0
    state = await world.drive()
    assert state.state == "paused"
    world.log.request_cancel(WHY)
    state = await world.drive()
    assert (state.state, state.pause) == ("cancelled", None)
    assert isinstance(world.model, ScriptedModel)
    assert world.model.requests == []


# Over the use cases.


async def cancel(platform: Platform, run_id: str, reason: str = "enough") -> CancelReceipt:
    async with asyncio.timeout(60):
        return await platform.runs.cancel(run_id, reason, ADA)


async def busy(platform: Platform, *, parent_run_id: str = "") -> str:
    """Starts a run in the background and returns its id once it runs a tool."""
    if platform.tools.gate is None:
        platform.tools.gate = asyncio.Event()
    before = len(platform.tools.requests)
    agent_id = await platform.agent(tools=CALCULATOR)
    options = RunOptions(parent_run_id=parent_run_id)
    view = await platform.runs.start(agent_id, "What is 2 + 3?", ADA, options)
    await platform.tools.wait_until_asked(before + 1)
    return view.run.run_id


async def stored(platform: Platform, run_id: str) -> RunRecord:
    run = await platform.journal.get("acme", run_id)
    assert run is not None
    return run


async def store_request(platform: Platform, run_id: str) -> None:
    """Stores a request as an executor does that dies right after."""
    run = await stored(platform, run_id)
    await platform.journal.request_cancel(msgspec.structs.replace(run, cancel_requested_at_ms=1))


async def test_a_background_run_is_stopped_and_everybody_gets_the_same_receipt() -> None:
    platform = Platform()
    run_id = await busy(platform)
    receipts = await asyncio.gather(*(cancel(platform, run_id) for _ in range(3)))
    assert receipts[0].was_stopped
    assert receipts[0].stopped_call_ids
    receipts.append(await cancel(platform, run_id))
    receipts.append(await cancel(Platform(journal=platform.journal, worker="other"), run_id))
    assert all(one == receipts[0] for one in receipts)
    run = (await platform.runs.get(run_id, ADA)).run
    assert (run.state, run.code) == ("cancelled", "RUN_CANCELLED")
    assert platform.runs.active_count == 0
    assert platform.ledger.open_nano_usd == 0


async def test_a_caller_that_waits_is_answered_that_its_run_was_cancelled() -> None:
    platform = Platform()
    platform.tools.gate = asyncio.Event()
    agent_id = await platform.agent(tools=CALCULATOR)
    waiting = asyncio.create_task(platform.runs.execute(agent_id, "What is 2 + 3?", ADA))
    await platform.tools.wait_until_asked()
    (run,) = await platform.runs.list_runs(ADA, 1)
    await cancel(platform, run.run_id)
    view = await waiting
    assert (view.state.state, view.run.code) == ("cancelled", "RUN_CANCELLED")


async def test_a_run_that_waits_for_a_place_needs_none_to_end() -> None:
    platform = Platform(max_active_runs=1)
    first = await busy(platform)
    agent_id = await platform.agent()
    second = (await platform.runs.start(agent_id, "hello", ADA)).run.run_id
    said = await cancel(platform, second)
    assert (said.was_stopped, said.stopped_call_ids, said.cost_nano_usd) == (True, (), 0)
    assert (await platform.runs.get(first, ADA)).run.state == "running"
    await cancel(platform, first)
    # The place was given back once, and only once.
    platform.tools.gate = None
    view = await platform.runs.execute(await platform.agent(), "hello", ADA)
    assert view.state.state == "completed"


async def test_a_paused_run_is_woken_to_end() -> None:
    platform = Platform()
    platform.ledger.limit_nano_usd = 0
    agent_id = await platform.agent(on_budget_exceeded="pause")
    run_id = (await platform.runs.start(agent_id, "hello", ADA)).run.run_id
    await until(lambda: platform.journal._runs[run_id].state == "paused")
    said = await cancel(platform, run_id)
    assert (said.was_stopped, said.state) == (True, "cancelled")


async def test_a_run_of_another_executor_is_stopped_by_its_owner() -> None:
    owner = Platform()
    other = Platform(journal=owner.journal, store=owner.store, worker="other")
    await owner.journal.renew_lease(owner.owner, 10**15)
    run_id = await busy(owner)
    said = await cancel(other, run_id)
    assert said.was_stopped
    assert len(said.stopped_call_ids) == 1
    assert owner.tools.running == 0
    assert other.runs.active_count == 0
    assert (await owner.runs.get(run_id, ADA)).run.attempt == 1


async def test_a_run_that_nobody_drives_is_ended_by_whoever_is_asked() -> None:
    owner = Platform()
    other = Platform(journal=owner.journal, store=owner.store, worker="other")
    other.ledger = owner.ledger
    await owner.journal.renew_lease(owner.owner, 10**15)
    run_id = await busy(owner)
    # As after kill -9: nothing ends, and the lease does.
    await owner.runs.drain(0.0)
    await owner.journal.release_leases("w")
    said = await cancel(other, run_id)
    assert said.was_stopped
    assert said.unknown_call_ids == said.stopped_call_ids != ()


async def test_whoever_takes_a_run_over_finds_the_request() -> None:
    owner = Platform()
    run_id = await busy(owner)
    await owner.runs.drain(0.0)
    await store_request(owner, run_id)
    heir = Platform(journal=owner.journal, store=owner.store, worker="heir")
    assert await heir.runs.take_over() == 1
    await heir.runs.drain(5.0)
    assert (await heir.runs.get(run_id, ADA)).run.state == "cancelled"


async def test_runs_that_a_run_has_started_end_with_it() -> None:
    platform = Platform()
    root = await busy(platform)
    child = await busy(platform, parent_run_id=root)
    grandchild = await busy(platform, parent_run_id=child)
    stranger = await busy(platform)
    said = await cancel(platform, root)
    assert said.stopped_run_ids == tuple(sorted([child, grandchild]))
    for run_id in (root, child, grandchild):
        assert (await platform.runs.get(run_id, ADA)).run.state == "cancelled"
    assert (await platform.runs.get(stranger, ADA)).run.state == "running"
    assert (await cancel(platform, root)) == said
    # A child that is stopped says so of itself too.
    assert (await cancel(platform, child)).stopped_run_ids == (grandchild,)
    await cancel(platform, stranger)


async def test_runs_below_one_that_has_ended_end_too() -> None:
    platform = Platform()
    root = await busy(platform)
    child = await busy(platform, parent_run_id=root)
    grandchild = await busy(platform, parent_run_id=child)
    # As if it had answered, whatever it started going on without it.
    run = await stored(platform, child)
    platform.journal._runs[child] = msgspec.structs.replace(run, state="completed", ended_at_ms=1)
    said = await cancel(platform, root)
    assert said.stopped_run_ids == (grandchild,)


async def test_a_child_that_begins_while_its_parent_is_ended_ends_too() -> None:
    platform = Platform()
    root = await busy(platform)
    # The request is stored, and the parent not told of it yet, when the child begins.
    await platform.drivers.cancellations.close()
    await store_request(platform, root)
    agent_id = await platform.agent()
    view = await platform.runs.execute(agent_id, "hello", ADA, RunOptions(parent_run_id=root))
    assert view.state.state == "cancelled"


async def test_a_run_that_has_ended_is_left_as_it_is() -> None:
    platform = Platform()
    view = await platform.runs.execute(
        await platform.agent(tools=CALCULATOR), "What is 2 + 3?", ADA
    )
    said = await cancel(platform, view.run.run_id)
    assert said == CancelReceipt(
        view.run.run_id,
        "completed",
        was_stopped=False,
        finished_call_ids=(f"{view.run.run_id}_1_0",),
        cost_nano_usd=view.state.cost_nano_usd,
    )
    assert await platform.runs.get(view.run.run_id, ADA) == view


async def test_who_may_not_cannot() -> None:
    platform = Platform()
    run_id = await busy(platform)
    with pytest.raises(RunNotFoundError):
        await platform.runs.cancel(run_id, "", EVE)
    with pytest.raises(RunNotFoundError):
        await platform.runs.cancel("nope", "", ADA)
    reader = SecurityContext("acme", "ada", frozenset({"run:read"}))
    with pytest.raises(PermissionDeniedError):
        await platform.runs.cancel(run_id, "", reader)
    assert (await platform.runs.get(run_id, ADA)).run.state == "running"
    await cancel(platform, run_id)


async def test_a_run_that_does_not_end_in_time_is_said_to_go_on_ending() -> None:
    owner = Platform()
    other = Platform(journal=owner.journal, store=owner.store, worker="other")
    await owner.journal.renew_lease(owner.owner, 10**15)
    run_id = await busy(owner)
    # The owner lives and hears nothing.
    await owner.drivers.cancellations.close()
    with pytest.raises(UnavailableError):
        await other.runs.cancel(run_id, "", ADA, timeout_seconds=0.05)
    run = await stored(owner, run_id)
    assert run.cancel_user_id == "ada"
    await cancel(owner, run_id)

"""The engine, with peers that do what a test tells them to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from agent_executor.errors import (
    AgentExecutorError,
    DeadlineExceededError,
    LeaseLostError,
    LimitExceededError,
    ModelError,
    UnavailableError,
    UnknownModelError,
)
from agent_executor.executor.driving.engine import EngineLimits
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run_event import ModelCallStarted, RunEvent
from agent_executor.executor.model_calls import model_holds, model_turn
from agent_executor.executor.model_calls.model_call import DEFAULT_MODEL_TIMEOUT_SECONDS
from agent_executor.executor.models.model import (
    TextBlock,
    ToolSpecification,
)
from agent_executor.executor.peers.ledger import Hold
from agent_executor.executor.peers.tools import ToolOutcome, ToolRequest
from agent_executor.executor.streams.feed import RunFeed
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.peers import RecordingToolRunner, answer
from tests.unit.executor.platforms import ADA
from tests.unit.executor.worlds import ScriptedModel, StuckModel, World, use


def set_loop_time(monkeypatch: pytest.MonkeyPatch, read: Callable[[], float]) -> None:
    """Lets model turns see another time than the event loop's."""
    for module in (model_turn, model_holds):
        monkeypatch.setattr(module, "loop_seconds", read)


async def test_an_answer_without_tools_completes_the_run() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    state = await world.drive()
    assert (state.state, state.finished and state.finished.response) == ("completed", "hi")
    assert state == world.log.state
    assert await world.event_types() == [
        "run_started",
        "model_call_started",
        "model_call_completed",
        "model_call_settled",
        "run_finished",
    ]
    assert (state.tokens_used, state.cost_nano_usd) == (15, 45)


async def test_a_tool_call_is_run_and_its_result_is_seen_by_the_model() -> None:
    world = World(ScriptedModel([[TextBlock("let me"), use()], [TextBlock("42")]]))
    state = await world.drive()
    assert [request.tool_call_id for request in world.tools.requests] == ["run_1_0"]
    seen = world.tool_result_seen_by_the_model()
    assert (seen.tool_use_id, seen.content, seen.is_error) == ("toolu_1", "42", False)
    assert state.state == "completed"
    assert set(world.ledger.settled) == {"run_1_m1", "run_2_m1"}


async def test_tool_calls_of_a_turn_run_in_parallel_within_the_bound() -> None:
    blocks = [use(number) for number in range(5)]
    world = World(
        ScriptedModel([blocks, [TextBlock("done")]]),
        limits=EngineLimits(max_parallel_tool_calls=3),
    )
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked(times=3)
    world.tools.gate.set()
    state = await driving
    assert world.tools.running_max == 3
    assert [result.tool_call_id for result in state.tool_results] == [
        f"run_1_{index}" for index in range(5)
    ]


async def test_a_result_is_durable_while_its_siblings_still_run() -> None:
    world = World(ScriptedModel([[use(1), use(2)], [TextBlock("done")]]))
    gate = asyncio.Event()
    first_is_durable = asyncio.Event()

    class Readers(RunFeed):
        def committed(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
            if world.log.state.turn_results:
                first_is_durable.set()

    world.log._readers = Readers(world.journal)

    class FirstIsQuick(RecordingToolRunner):
        async def execute(self, request: ToolRequest, *args: object, **kw: object) -> ToolOutcome:
            if request.tool_call_id == "run_1_1":
                await gate.wait()
            return answer()

    world.engine._tools = FirstIsQuick()
    driving = asyncio.create_task(world.drive())
    await first_is_durable.wait()
    assert len((await world.stored()).pending_tool_calls) == 1
    gate.set()
    assert (await driving).state == "completed"


async def test_a_failed_tool_is_an_error_result_and_the_run_goes_on() -> None:
    world = World(ScriptedModel([[use()], [TextBlock("sorry")]]))
    world.tools.run = lambda request: ToolOutcome(False, "null", "no", "TOOL_EXECUTION_ERROR", 1)
    state = await world.drive()
    seen = world.tool_result_seen_by_the_model()
    assert seen.is_error
    assert '"code":"TOOL_EXECUTION_ERROR"' in seen.content
    assert state.state == "completed"


async def test_a_tool_runner_that_is_away_is_an_error_result() -> None:
    world = World(ScriptedModel([[use()], [TextBlock("sorry")]]))

    def away(request: ToolRequest) -> ToolOutcome:
        raise UnavailableError("the tool-runner is away")

    world.tools.run = away
    state = await world.drive()
    assert [(result.success, result.code) for result in state.tool_results] == [
        (False, "UNAVAILABLE")
    ]
    assert state.state == "completed"


async def test_a_refused_hold_ends_the_run_before_the_model_is_called() -> None:
    world = World(ScriptedModel([]))
    world.ledger.limit_nano_usd = 0
    state = await world.drive()
    assert (state.state, state.finished and state.finished.code) == (
        "budget_exceeded",
        "BUDGET_EXCEEDED",
    )
    assert state.cost_nano_usd == 0


async def test_a_hold_outlasts_the_longest_model_call() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    await world.drive()
    (hold,) = world.ledger.holds.values()
    assert hold.ttl_seconds > DEFAULT_MODEL_TIMEOUT_SECONDS
    assert hold.writes_cache, "providers cache the conversation, which costs more than plain input"


async def test_a_model_without_a_price_fails_the_run() -> None:
    world = World(ScriptedModel([]))
    world.ledger.error = UnknownModelError("no price is known")
    state = await world.drive()
    assert (state.state, state.finished and state.finished.code) == ("failed", "UNKNOWN_MODEL")


async def test_no_model_is_called_while_the_ledger_is_away() -> None:
    world = World(ScriptedModel([]))
    world.ledger.error = UnavailableError("the ledger is away")
    state = await world.drive()
    assert (state.state, state.finished and state.finished.code) == ("failed", "UNAVAILABLE")


async def test_settling_is_tried_until_the_ledger_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent_executor.executor.peers.retries.FIRST_DELAY_SECONDS", 0.0)
    world = World(ScriptedModel([[TextBlock("hi")]]))
    settle = world.ledger.settle
    failures: list[AgentExecutorError] = [
        UnavailableError("away"),
        DeadlineExceededError("late"),
        LimitExceededError("too many calls wait"),
    ]

    async def settle_or_fail(*args: object) -> int:
        if failures:
            raise failures.pop()
        return await settle(*args)  # type: ignore[arg-type]  # passed on

    world.ledger.settle = settle_or_fail  # type: ignore[assignment, method-assign]  # a test's own
    state = await world.drive()
    assert (state.state, state.cost_nano_usd) == ("completed", 45)


async def test_a_model_error_that_may_pass_is_tried_again_under_a_new_id() -> None:
    busy = ModelError("overloaded", retry_after_seconds=0.0)
    world = World(ScriptedModel([busy, [TextBlock("hi")]]))
    state = await world.drive()
    assert state.state == "completed"
    assert world.ledger.voided == {"run_1_m1"}
    assert set(world.ledger.settled) == {"run_1_m2"}


async def test_a_model_error_that_stays_fails_the_run_and_costs_nothing() -> None:
    busy = ModelError("overloaded", retry_after_seconds=0.0)
    world = World(ScriptedModel([busy] * 4))
    state = await world.drive()
    assert (state.state, state.finished and state.finished.code) == ("failed", "MODEL_ERROR")
    assert state.cost_nano_usd == 0
    assert len(world.ledger.voided) == 4


async def test_a_refused_request_is_not_tried_again() -> None:
    world = World(ScriptedModel([ModelError("invalid request")]))
    state = await world.drive()
    assert state.state == "failed"
    assert len(world.model.requests) == 1  # type: ignore[union-attr]  # scripted


async def test_the_limit_of_model_turns_ends_the_run_and_keeps_what_it_had() -> None:
    world = World(ScriptedModel([[use(1)], [use(2)]]), max_model_turns=2)
    state = await world.drive()
    assert (state.state, state.finished and state.finished.code) == ("failed", "LIMIT_EXCEEDED")
    assert len(state.tool_results) == 2


async def test_an_open_model_call_of_a_dead_owner_is_estimated_and_made_again() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    world.log.add(ModelCallStarted("run_1_m1", 1))
    await world.log.commit()
    await world.ledger.reserve(Hold("run_1_m1", "agent", "run", "model", 1, 1, 60), ADA)
    state = await world.drive()
    assert state.state == "completed"
    assert world.ledger.settled["run_1_m1"].estimated
    assert not world.ledger.settled["run_1_m2"].estimated


async def test_an_open_model_call_without_a_hold_was_never_made() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    world.log.add(ModelCallStarted("run_1_m1", 1))
    await world.log.commit()
    state = await world.drive()
    assert set(world.ledger.settled) == {"run_1_m2"}
    assert state.cost_nano_usd == 45


async def test_a_recorded_answer_is_not_paid_again_after_a_crash() -> None:
    world = World(ScriptedModel([[use()]]))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked()
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)

    world.tools.gate = None
    world.model.answers = [[TextBlock("42")]]  # type: ignore[union-attr]  # scripted
    run = await world.journal.get("acme", "run")
    assert run is not None
    world.log = world.log_of(run, await world.stored())
    state = await world.drive()
    assert state.state == "completed"
    assert len(world.model.requests) == 2  # type: ignore[union-attr]  # scripted
    ids = [request.tool_call_id for request in world.tools.requests]
    assert ids == ["run_1_0", "run_1_0"], "the repeat has the same id"


async def test_the_deadline_of_the_run_books_the_cut_model_call_as_an_estimate() -> None:
    world = World(StuckModel(), limits=EngineLimits(run_timeout_seconds=0.05))
    state = await world.drive()
    assert (state.state, state.finished and state.finished.code) == (
        "failed",
        "DEADLINE_EXCEEDED",
    )
    assert world.ledger.settled["run_1_m1"].estimated


async def test_a_run_whose_time_is_over_makes_no_further_call() -> None:
    world = World(ScriptedModel([[use()]]), limits=EngineLimits(run_timeout_seconds=1.0))

    def late(request: ToolRequest) -> ToolOutcome:
        world.now_ms += 1_000
        return answer()

    world.tools.run = late
    state = await world.drive()
    assert (state.state, state.finished and state.finished.code) == (
        "failed",
        "DEADLINE_EXCEEDED",
    )
    assert [result.success for result in state.tool_results] == [True]


async def test_a_retry_that_would_come_too_late_is_not_waited_for() -> None:
    busy = ModelError("overloaded", retry_after_seconds=60.0)
    world = World(ScriptedModel([busy]), limits=EngineLimits(run_timeout_seconds=30.0))
    state = await world.drive()
    assert (state.state, state.finished and state.finished.code) == ("failed", "MODEL_ERROR")


async def test_events_that_could_not_be_written_are_written_by_the_next_commit() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    append = world.journal.append
    failures = [UnavailableError("disk full")]

    async def append_or_fail(*args: object) -> None:
        if failures:
            raise failures.pop()
        await append(*args)  # type: ignore[arg-type]  # passed on

    world.journal.append = append_or_fail  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(UnavailableError):
        await world.drive()
    await world.log.commit()
    assert await world.stored() == world.log.state


async def test_a_driver_that_lost_its_lease_stops_without_a_word() -> None:
    world = World(ScriptedModel([[use()], [TextBlock("42")]]))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked()
    (claimed,) = await world.journal.claim("other/1", 0, 1)
    before = await world.event_types()
    world.tools.gate.set()
    with pytest.raises(LeaseLostError):
        await driving
    assert await world.event_types() == before
    assert claimed.attempt == 2


async def test_a_lease_that_is_lost_among_parallel_tool_calls_is_named_as_such() -> None:
    world = World(ScriptedModel([[use(1), use(2)]]))
    world.tools.gate = asyncio.Event()
    driving = asyncio.create_task(world.drive())
    await world.tools.wait_until_asked(2)
    await world.journal.claim("other/1", 0, 1)
    world.tools.gate.set()
    with pytest.raises(LeaseLostError):
        await driving


async def test_a_tool_call_that_waited_for_its_place_has_what_is_left_of_the_run() -> None:
    limits = EngineLimits(
        run_timeout_seconds=30.0, tool_timeout_seconds=20.0, max_parallel_tool_calls=1
    )
    world = World(ScriptedModel([[use(1), use(2), use(3)]]), limits=limits)
    execute, timeouts = world.tools.execute, []

    async def execute_slowly(
        request: ToolRequest, security: SecurityContext, *, timeout_seconds: float, **_: object
    ) -> ToolOutcome:
        timeouts.append(timeout_seconds)
        world.now_ms += 18_000
        return await execute(request, security, timeout_seconds=timeout_seconds)

    world.tools.execute = execute_slowly  # type: ignore[method-assign]  # a test's own
    await world.drive()
    assert timeouts == [20.0, 12.0, 0.0]


async def test_the_model_has_what_the_wait_for_the_tools_left_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(StuckModel())
    describe, loop_seconds = world.tools.describe, 0.0

    async def describe_late(*args: object) -> tuple[ToolSpecification, ...]:
        nonlocal loop_seconds
        loop_seconds = 599.9
        return await describe(*args)  # type: ignore[arg-type]  # passed on

    set_loop_time(monkeypatch, lambda: loop_seconds)
    world.tools.describe = describe_late  # type: ignore[assignment, method-assign]  # a test's own
    async with asyncio.timeout(60):
        state = await world.drive()
    assert state.finished is not None
    assert state.finished.code == "DEADLINE_EXCEEDED"


async def test_an_executor_that_was_stopped_while_an_heir_took_over_does_not_call_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    reserve, loop_seconds = world.ledger.reserve, 0.0

    async def reserve_after_the_stop(*args: object) -> int:
        nonlocal loop_seconds
        while await world.journal.get("acme", "run") is None:  # noqa: ASYNC110 -- a commit makes no event
            await asyncio.sleep(0)
        loop_seconds = 10.0
        await world.journal.claim("heir/1", 0, 1)
        return await reserve(*args)  # type: ignore[arg-type]  # passed on

    set_loop_time(monkeypatch, lambda: loop_seconds)
    world.ledger.reserve = reserve_after_the_stop  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(LeaseLostError):
        await world.drive()
    assert isinstance(world.model, ScriptedModel)
    assert world.model.requests == []
    assert await world.event_types() == ["run_started", "model_call_started"]


async def test_an_executor_that_was_stopped_and_kept_its_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    reserve, loop_seconds = world.ledger.reserve, 0.0

    async def reserve_late(*args: object) -> int:
        nonlocal loop_seconds
        loop_seconds = 10.0
        return await reserve(*args)  # type: ignore[arg-type]  # passed on

    set_loop_time(monkeypatch, lambda: loop_seconds)
    world.ledger.reserve = reserve_late  # type: ignore[assignment, method-assign]  # a test's own
    assert (await world.drive()).state == "completed"

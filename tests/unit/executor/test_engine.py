"""The engine, with peers that do what a test tells them to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry.trace import NoOpTracer
from prometheus_client import CollectorRegistry

from agent_executor.errors import (
    AgentExecutorError,
    LeaseLostError,
    ModelError,
    UnavailableError,
    UnknownModelError,
)
from agent_executor.executor.agent import AgentVersion
from agent_executor.executor.engine import Engine, EngineLimits
from agent_executor.executor.journal import RunRecord
from agent_executor.executor.journal_memory import MemoryJournal
from agent_executor.executor.model_turn import ModelLimits, ModelTurn
from agent_executor.executor.models.model import (
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ResponseBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from agent_executor.executor.run import RunState, fold
from agent_executor.executor.run_event import ModelCallStarted, RunStarted, payload_type
from agent_executor.executor.run_log import RunLog
from agent_executor.executor.run_telemetry import RunTelemetry
from agent_executor.executor.tools import ToolOutcome, ToolRequest
from agent_executor.serving.metrics import Metrics
from tests.unit.executor.peers import MemoryLedger, RecordingToolRunner, answer

USAGE = ModelUsage(10, 5)


class ScriptedModel:
    """A provider that answers with what it was given, in order."""

    name = "scripted"

    def __init__(self, answers: Sequence[Sequence[ResponseBlock] | AgentExecutorError]) -> None:
        self.answers = list(answers)
        self.requests: list[ModelRequest] = []

    async def generate(self, request: ModelRequest) -> ModelResponse:
        self.requests.append(request)
        answered = self.answers.pop(0)
        if isinstance(answered, AgentExecutorError):
            raise answered
        asks = any(isinstance(block, ToolUseBlock) for block in answered)
        return ModelResponse(
            "msg", request.model, tuple(answered), "tool_use" if asks else "end_turn", USAGE
        )


class StuckModel:
    """A provider that never answers."""

    name = "stuck"

    async def generate(self, request: ModelRequest) -> ModelResponse:
        del request
        await asyncio.Event().wait()
        raise AssertionError


class World:
    """An engine, its peers and one run."""

    def __init__(
        self,
        model: ScriptedModel | StuckModel,
        *,
        limits: EngineLimits | None = None,
        max_model_turns: int = 5,
    ) -> None:
        self.model = model
        self.tools = RecordingToolRunner()
        self.ledger = MemoryLedger()
        self.journal = MemoryJournal()
        telemetry = RunTelemetry(NoOpTracer(), Metrics(CollectorRegistry()))
        self.now_ms = 1_000
        self.agent = AgentVersion(
            "agent",
            "acme",
            1,
            "Agent",
            0,
            0,
            tools={"calculator": True},
            max_model_turns=max_model_turns,
        )
        self.engine = Engine(
            model_turn=ModelTurn(
                providers={"it": model},
                provider_name="it",
                tools=self.tools,
                ledger=self.ledger,
                telemetry=telemetry,
                limits=ModelLimits(retry_delay_seconds=0.0),
            ),
            tools=self.tools,
            ledger=self.ledger,
            telemetry=telemetry,
            now_ms=lambda: self.now_ms,
            limits=limits,
        )
        run = RunRecord(
            "run", "acme", "ada", ("*",), "agent", 1, "model", "hello", False, "", 1_000, "me/1"
        )
        self.log = self.log_of(run, RunState())
        self.log.add(RunStarted("agent", 1, "model", "hello"))

    def log_of(self, run: RunRecord, state: RunState) -> RunLog:
        return RunLog(self.journal, run, state, lambda: self.now_ms, lambda run_id: None)

    async def drive(self) -> RunState:
        await self.engine.drive(self.log, self.agent)
        return await self.stored()

    async def stored(self) -> RunState:
        return fold(await self.journal.events("run"))

    async def event_types(self) -> list[str]:
        return [payload_type(event.payload) for event in await self.journal.events("run")]

    def tool_result_seen_by_the_model(self) -> ToolResultBlock:
        assert isinstance(self.model, ScriptedModel)
        block = self.model.requests[1].messages[-1].content[0]
        assert isinstance(block, ToolResultBlock)
        return block


def use(number: int = 1) -> ToolUseBlock:
    return ToolUseBlock(f"toolu_{number}", "calculator", {"a": number})


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
    assert set(world.ledger.settled) == {"run_1_1", "run_2_1"}


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
    world.log._on_commit = lambda run_id: (
        first_is_durable.set() if world.log.state.turn_results else None
    )

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
    monkeypatch.setattr("agent_executor.executor.settlements.RETRY_DELAY_SECONDS", 0.0)
    world = World(ScriptedModel([[TextBlock("hi")]]))
    original = world.ledger.reserve

    async def reserve_then_go_away(*args: object) -> None:
        await original(*args)  # type: ignore[arg-type]  # passed on
        world.ledger.unavailable_times = 3

    world.ledger.reserve = reserve_then_go_away  # type: ignore[assignment, method-assign]  # a test's own
    state = await world.drive()
    assert (state.state, state.cost_nano_usd) == ("completed", 45)


async def test_a_model_error_that_may_pass_is_tried_again_under_a_new_id() -> None:
    busy = ModelError("overloaded", retry_after_seconds=0.0)
    world = World(ScriptedModel([busy, [TextBlock("hi")]]))
    state = await world.drive()
    assert state.state == "completed"
    assert world.ledger.voided == {"run_1_1"}
    assert set(world.ledger.settled) == {"run_1_2"}


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
    world.log.add(ModelCallStarted("run_1_1", 1))
    await world.log.commit()
    world.ledger.holds["run_1_1"] = None  # type: ignore[assignment]  # only its key is looked at
    state = await world.drive()
    assert state.state == "completed"
    assert world.ledger.settled["run_1_1"].estimated
    assert not world.ledger.settled["run_1_2"].estimated


async def test_an_open_model_call_without_a_hold_was_never_made() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    world.log.add(ModelCallStarted("run_1_1", 1))
    await world.log.commit()
    state = await world.drive()
    assert set(world.ledger.settled) == {"run_1_2"}
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
    assert world.ledger.settled["run_1_1"].estimated


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

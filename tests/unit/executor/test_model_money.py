"""What a model call holds, gets and is settled at: reduced, unheld, broken off, late."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agent_executor.errors import (
    BudgetExceededError,
    DeadlineExceededError,
    LeaseLostError,
    ModelError,
    UnavailableError,
)
from agent_executor.executor.driving.engine import EngineLimits
from agent_executor.executor.log.run_event import (
    RunEvent,
    RunStarted,
    decode_payload,
)
from agent_executor.executor.model_calls import model_holds
from agent_executor.executor.model_calls.model_call import ModelLimits
from agent_executor.executor.model_calls.purpose import arguments_digest_of, tool_uses_of
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.model import (
    ModelRequest,
    ModelResponse,
    ModelUsage,
    TextBlock,
    ToolUseBlock,
    usage_metadata,
)
from agent_executor.executor.peers import retries
from agent_executor.executor.peers.ledger import Hold
from agent_executor.executor.peers.tools import ToolOutcome
from agent_executor.serving.metric_names import UNHELD_MODEL_CALLS
from tests.unit.executor.platforms import ADA
from tests.unit.executor.worlds import ScriptedModel, StuckModel, World, use

PROCEED = ModelLimits(
    retry_delay_seconds=0.0, ledger_patience_seconds=0.1, proceeds_without_ledger=True
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets settlements and corrections be repeated without a pause."""
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.0)


def requests_of(world: World) -> list[ModelRequest]:
    assert isinstance(world.model, ScriptedModel)
    return world.model.requests


async def test_what_a_dead_driver_has_held_and_not_recorded_is_freed() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    # Its settings were others, so the hold is another one.
    await world.ledger.reserve(Hold("run_1_m1", "agent", "run", "model", 7, 7, 60), ADA)
    assert (await world.drive()).state == "completed"
    assert world.ledger.voided == {"run_1_m1"}
    assert set(world.ledger.settled) == {"run_1_m2"}
    assert world.ledger.open_nano_usd == 0


class TestReducedOutput:
    async def test_the_model_may_answer_what_the_budget_covers(self) -> None:
        world = World(ScriptedModel([[TextBlock("hi")]]), min_output_tokens=100)
        world.ledger.limit_nano_usd = 3 * (1024 + 2_000)
        state = await world.drive()
        assert state.state == "completed"
        (request,) = requests_of(world)
        assert 100 <= request.max_tokens < 4096
        assert request.max_tokens == world.ledger.reserved["run_1_m1"].max_output_tokens
        assert state.reduced_max_tokens == request.max_tokens

    async def test_without_a_least_output_it_is_all_or_nothing(self) -> None:
        world = World(ScriptedModel([]))
        world.ledger.limit_nano_usd = 3 * (1024 + 2_000)
        assert (await world.drive()).state == "budget_exceeded"

    async def test_less_than_the_least_output_is_refused(self) -> None:
        world = World(ScriptedModel([]), min_output_tokens=2_000)
        world.ledger.limit_nano_usd = 3 * (1024 + 2_000)
        assert (await world.drive()).state == "budget_exceeded"

    async def test_an_answer_that_is_cut_for_want_of_money_says_so(self) -> None:
        model = ScriptedModel([[TextBlock("half")]])
        answer = model.generate

        async def cut(request: ModelRequest, **options: Any) -> ModelResponse:
            answered = await answer(request, **options)
            return msgspec.structs.replace(answered, stop_reason="max_tokens")

        model.generate = cut  # type: ignore[method-assign]  # a test's own
        world = World(model, min_output_tokens=100)
        world.ledger.limit_nano_usd = 3 * (1024 + 2_000)
        state = await world.drive()
        assert state.finished is not None
        assert (state.state, state.finished.response) == ("failed", "half")
        assert "that the budget covered" in state.finished.error

    async def test_a_whole_hold_is_not_called_reduced(self) -> None:
        world = World(ScriptedModel([[TextBlock("hi")]]), min_output_tokens=100)
        assert (await world.drive()).reduced_max_tokens == 0
        assert requests_of(world)[0].max_tokens == 4096


class TestLedgerAway:
    @pytest.mark.parametrize(
        "error", [UnavailableError("the ledger is away"), DeadlineExceededError("no answer")]
    )
    async def test_with_proceed_the_model_is_called_without_a_hold(
        self, error: UnavailableError | DeadlineExceededError
    ) -> None:
        world = World(ScriptedModel([[TextBlock("hi")]]), model_limits=PROCEED)
        settle, waiting = world.ledger.settle, asyncio.Event()

        async def settle_and_tell(*args: object) -> int:
            waiting.set()
            return await settle(*args)  # type: ignore[arg-type]  # passed on

        world.ledger.settle = settle_and_tell  # type: ignore[assignment, method-assign]  # a test's own
        world.ledger.error = error
        driving = asyncio.create_task(world.drive())
        await waiting.wait()
        stored = await world.stored()
        assert [call.is_unheld for call in stored.unsettled] == [True], "it waits in the log"
        world.ledger.error = None
        state = await driving
        assert (state.state, state.cost_nano_usd) == ("completed", 45)
        assert world.ledger.holds == {}
        settled = world.ledger.settled["run_1_m2"]
        assert (settled.is_held, settled.estimated) == (False, False)
        count = world.metrics.registry.get_sample_value(
            f"{UNHELD_MODEL_CALLS.name}_total", {"model": "model"}
        )
        assert count == 1

    async def test_by_default_no_model_is_called(self) -> None:
        world = World(ScriptedModel([]))
        world.ledger.error = UnavailableError("the ledger is away")
        assert (await world.drive()).state == "failed"

    async def test_with_proceed_a_budget_still_refuses(self) -> None:
        world = World(ScriptedModel([]), model_limits=PROCEED)
        world.ledger.limit_nano_usd = 0
        assert (await world.drive()).state == "budget_exceeded"

    async def test_with_proceed_a_journal_that_fails_still_stops_the_run(self) -> None:
        world = World(ScriptedModel([]), model_limits=PROCEED)

        async def fail(*_: object) -> None:
            raise UnavailableError("disk full")

        world.journal.create = fail  # type: ignore[assignment, method-assign]  # a test's own
        with pytest.raises(UnavailableError, match="disk full"):
            await world.drive()

    async def test_the_loss_of_an_unheld_call_is_a_cost(self) -> None:
        world = World(StuckModel(), model_limits=PROCEED)
        world.ledger.error = UnavailableError("the ledger is away")
        driving = asyncio.create_task(world.drive())
        async with asyncio.timeout(60):
            while (await world.journal.get("acme", "run") is None) or (  # noqa: ASYNC110 -- a commit makes no event
                (call := (await world.stored()).open_call) is None or not call.is_unheld
            ):
                await asyncio.sleep(0)
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        world.ledger.error = None
        world.engine._model_turn._default_provider = ScriptedModel([[TextBlock("hi")]])
        await world.take_over()
        assert (await world.drive()).state == "completed"
        assert world.ledger.settled["run_1_m2"].estimated
        assert world.ledger.settled["run_1_m2"].usage.input_tokens > 0
        assert not world.ledger.settled["run_1_m2"].is_held

    async def test_a_limited_run_holds_its_amount_once_the_ledger_is_back(self) -> None:
        world = World(
            ScriptedModel([[use()], [TextBlock("done")]]),
            model_limits=PROCEED,
            started=RunStarted("agent", 1, "model", "hello", max_cost_nano_usd=10**9),
        )
        world.ledger.error = UnavailableError("the ledger is away")

        def come_back(_: object) -> ToolOutcome:
            world.ledger.error = None
            return ToolOutcome(True, "1", "", "", 1)

        world.tools.run = come_back
        assert (await world.drive()).state == "completed"
        assert world.ledger.holds["run_2_m1"].amount_id == "run"
        assert world.ledger.reserved["run"].state == "voided"


class TestBrokenOffAndLate:
    async def test_a_call_that_broke_off_is_settled_at_what_was_delivered(self) -> None:
        usage = ModelUsage(120, 30)
        broken = ModelError("cut", metadata=usage_metadata(usage), retry_after_seconds=0.0)
        world = World(ScriptedModel([broken, [TextBlock("hi")]]))
        state = await world.drive()
        assert state.state == "completed"
        cut = world.ledger.settled["run_1_m1"]
        assert (cut.usage, cut.estimated) == (usage, True)
        assert world.ledger.voided == set()
        assert state.cost_nano_usd == 3 * 150 + 45
        assert world.ledger.open_nano_usd == 0

    async def test_an_answer_after_the_deadline_corrects_the_estimate(self) -> None:
        world = World(
            StuckModel(),
            limits=EngineLimits(run_timeout_seconds=600.0),
            model_limits=ModelLimits(timeout_seconds=0.0, late_answer_seconds=5.0),
        )
        mock = MockClaude(latency_seconds=0.1)
        world.engine._model_turn._default_provider = mock
        state = await world.drive()
        assert (state.state, state.finished and state.finished.code) == (
            "failed",
            "DEADLINE_EXCEEDED",
        )
        estimate = world.ledger.settled["run_1_m1"]
        assert estimate.estimated
        assert world.ledger.corrected == {}
        async with asyncio.timeout(60):
            await asyncio.gather(*world.engine._model_turn._late_answers._tasks)
        correction = world.ledger.corrected["run_1_m1_corrected"]
        real = (await mock.generate(correction_request(world))).usage
        assert correction.model_call_id == "run_1_m1"
        assert correction.usage == real
        assert correction.usage.output_tokens > 0

    async def test_a_correction_waits_for_the_ledger_and_the_settlement(self) -> None:
        world = World(
            StuckModel(), model_limits=ModelLimits(timeout_seconds=0.0, late_answer_seconds=5.0)
        )
        world.engine._model_turn._default_provider = MockClaude(latency_seconds=0.001)
        settle, may_settle = world.ledger.settle, asyncio.Event()

        async def settle_late(*args: object) -> int:
            await may_settle.wait()
            return await settle(*args)  # type: ignore[arg-type]  # passed on

        world.ledger.settle = settle_late  # type: ignore[assignment, method-assign]  # a test's own
        correct, tries = world.ledger.correct, 0

        async def correct_and_count(*args: object) -> int:
            nonlocal tries
            tries += 1
            if tries == 2:
                may_settle.set()
                raise UnavailableError("the ledger is away")
            return await correct(*args)  # type: ignore[arg-type]  # passed on

        world.ledger.correct = correct_and_count  # type: ignore[assignment, method-assign]  # a test's own
        await world.drive()
        async with asyncio.timeout(60):
            await asyncio.gather(*world.engine._model_turn._late_answers._tasks)
        assert set(world.ledger.corrected) == {"run_1_m1_corrected"}

    async def test_an_answer_that_never_comes_is_given_up(self) -> None:
        world = World(
            StuckModel(), model_limits=ModelLimits(timeout_seconds=0.0, late_answer_seconds=0.0)
        )
        await world.drive()
        await asyncio.gather(*world.engine._model_turn._late_answers._tasks)
        assert world.ledger.corrected == {}

    async def test_an_executor_that_ends_leaves_the_estimate(self) -> None:
        world = World(
            StuckModel(), model_limits=ModelLimits(timeout_seconds=0.0, late_answer_seconds=60.0)
        )
        await world.drive()
        await world.engine.close()
        assert world.engine._model_turn._late_answers._tasks == set()
        assert world.ledger.settled["run_1_m1"].estimated


async def test_a_call_whose_provider_breaks_is_settled_as_an_estimate_and_fails_the_run() -> None:
    world = World(ScriptedModel([]))  # which has no answer, and raises an IndexError
    state = await world.drive()
    assert state.finished is not None
    assert (state.finished.code, state.open_call) == ("MODEL_ERROR", None)
    assert "pop" not in state.finished.error
    settled = world.ledger.settled["run_1_m1"]
    assert (settled.estimated, settled.is_held) == (True, True)
    assert settled.usage.input_tokens > 0


def correction_request(world: World) -> ModelRequest:
    """Returns the request that the world's agent makes first."""
    prompts = world.engine._model_turn._prompts
    (prompt,) = prompts._known.values()
    return msgspec.structs.replace(prompt.request, messages=tuple(world.log.state.messages))


class TestEvidence:
    async def test_each_settlement_says_what_its_call_was_for(self) -> None:
        asks = [use(1), ToolUseBlock("toolu_2", "calculator", {"b": 1, "a": 2})]
        world = World(
            ScriptedModel([asks, [TextBlock("done")]]), role="expert", instructions="Think. " * 100
        )
        await world.drive()
        first, second = world.ledger.settled["run_1_m1"], world.ledger.settled["run_2_m1"]
        assert first.purpose is not None
        assert second.purpose is not None
        assert len(first.purpose.prefix_digest) == 32
        assert first.purpose.prefix_digest == second.purpose.prefix_digest
        assert first.purpose.prefix_tokens == second.purpose.prefix_tokens > 150
        assert first.purpose.history_tokens == 0 < second.purpose.history_tokens
        assert not first.purpose.is_background
        assert first.tool_uses == ()
        assert [(tool.tool_call_id, tool.tool_name) for tool in second.tool_uses] == [
            ("run_1_0", "calculator"),
            ("run_1_1", "calculator"),
        ]
        assert second.tool_uses[1].arguments_digest == arguments_digest_of('{ "a":2, "b":1}')
        tool_ids = {tool.tool_call_id for tool in second.tool_uses}
        assert not tool_ids & set(world.ledger.settled), "both are ids of ledger entries"

    async def test_another_prompt_or_tool_is_another_prefix(self) -> None:
        digests = set()
        changes: list[dict[str, Any]] = [{}, {"instructions": "x"}, {"tools": {}}]
        for fields in changes:
            world = World(ScriptedModel([[TextBlock("hi")]]))
            world.agent = msgspec.structs.replace(world.agent, **fields)
            await world.drive()
            purpose = world.ledger.settled["run_1_m1"].purpose
            assert purpose is not None
            digests.add(purpose.prefix_digest)
        assert len(digests) == 3

    async def test_a_tool_that_was_not_run_is_not_used(self) -> None:
        blocks = [use(number) for number in range(4)]
        codes = {
            "run_1_0": "",
            "run_1_1": "TOOL_EXECUTION_ERROR",
            "run_1_2": "RATE_LIMIT_EXCEEDED",
            "run_1_3": "INVALID_ARGUMENT",
        }
        world = World(ScriptedModel([blocks, [TextBlock("done")]]))
        world.tools.run = lambda request: ToolOutcome(
            not codes[request.tool_call_id], "null", "", codes[request.tool_call_id], 1
        )
        await world.drive()
        used = world.ledger.settled["run_2_m1"].tool_uses
        assert [tool.tool_call_id for tool in used] == ["run_1_0", "run_1_1"]

    async def test_a_repeated_settlement_says_the_same_after_a_take_over(self) -> None:
        world = World(ScriptedModel([[use()], [TextBlock("done")]]))
        settle = world.ledger.settle
        heard: list[object] = []

        async def settle_and_die(*args: object) -> int:
            heard.append(args[0])
            await settle(*args)  # type: ignore[arg-type]  # passed on
            raise ZeroDivisionError

        world.ledger.settle = settle_and_die  # type: ignore[assignment, method-assign]  # a test's own
        with pytest.raises(ZeroDivisionError):
            await world.drive()
        world.ledger.settle = settle  # type: ignore[method-assign]  # as it was
        world.engine._model_turn._prompts._known.clear()
        await world.take_over()
        assert (await world.drive()).state == "completed"
        assert set(heard) <= set(world.ledger.settled.values())

    async def test_a_log_of_before_is_settled_as_it_was_then(self) -> None:
        world = World(ScriptedModel([]))
        old = (
            b'{"type":"run_started","agent_id":"agent","agent_version":1,"model":"model","input":"a"}',
            b'{"type":"model_call_started","model_call_id":"run_1_1","turn":1}',
            b'{"type":"model_call_failed","model_call_id":"run_1_1","error":"","code":"","will_retry":true}',
            b'{"type":"model_call_started","model_call_id":"run_1_2","turn":1}',
            (
                b'{"type":"model_call_completed","model_call_id":"run_1_2","content":[],'
                b'"stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":5}}'
            ),
        )
        events = [RunEvent(number, 1, decode_payload(text)) for number, text in enumerate(old, 1)]
        run = msgspec.structs.replace(world.log.run, state="running", last_sequence=len(events))
        await world.journal.create(run, events)
        await world.take_over()
        assert (await world.drive()).state == "completed"
        settled = world.ledger.settled["run_1_2"]
        assert (settled.attempt, settled.purpose, settled.tool_uses) == (1, None, ())
        assert settled.is_held

    def test_names_that_the_ledger_would_not_take_are_left_out(self) -> None:
        calls = [("a", "calculator", "{}"), ("b", "", "{}"), ("c", "x" * 129, "{}")]
        assert [tool.tool_call_id for tool in tool_uses_of(calls)] == ["a"]
        assert len(tool_uses_of([("a", "calculator", "{}")] * 1001)) == 1000


async def test_a_call_is_not_made_whose_run_was_taken_over_while_earlier_ones_were_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_holds, "OWNERSHIP_SECONDS", 0.0)
    model = ScriptedModel([(use(),), (TextBlock("never asked for"),)])
    world = World(model)
    reserve, settle, refused = world.ledger.reserve, world.ledger.settle, asyncio.Event()

    async def refuse_then_take_over(*args: Any) -> int:
        if model.requests and not refused.is_set():
            refused.set()
            raise BudgetExceededError("what is held leaves too little")
        if model.requests:
            await world.journal.claim("heir/1", 10_000, 1)
        return await reserve(*args)

    async def settle_late(*args: Any) -> int:
        await refused.wait()
        return await settle(*args)

    world.ledger.reserve = refuse_then_take_over  # type: ignore[assignment, method-assign]  # a test's own
    world.ledger.settle = settle_late  # type: ignore[assignment, method-assign]  # a test's own
    with pytest.raises(LeaseLostError):
        await world.drive()
    assert len(model.requests) == 1

"""Runs whose conversations are too long, driven by the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from agent_executor.errors import (
    AgentExecutorError,
    ContextLengthExceededError,
    InvalidArgumentError,
)
from agent_executor.executor.context.history import History
from agent_executor.executor.context.policy import ContextPolicy
from agent_executor.executor.log.run_event import (
    HistoryRange,
    HistoryTrimmed,
    ModelCallStarted,
    RunStarted,
)
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    Message,
    ModelAccess,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ResponseBlock,
    TextBlock,
    ToolResultBlock,
)
from tests.unit.executor.peers import answer
from tests.unit.executor.worlds import ScriptedModel, World, use


async def until(is_so: Callable[[], bool]) -> None:
    """Lets others go on until something is so."""
    while not is_so():  # noqa: ASYNC110 -- what is waited for is all in this loop
        await asyncio.sleep(0)


DONE = [TextBlock("done")]
SUMMARY = [TextBlock("They spoke of numbers.")]


def exchanges(count: int, size: int = 100) -> History:
    """Returns the history of so many turns, each of two messages."""
    messages = [
        message
        for number in range(count)
        for message in (
            Message("user", (TextBlock(f"q{number} " + "x" * size),)),
            Message("assistant", (TextBlock(f"a{number}"),)),
        )
    ]
    return History(messages[0], tuple(messages[1:])) if messages else History()


class PatientModel(ScriptedModel):
    """A model that does not answer while ``is_stuck``."""

    is_stuck = False
    on_answer: Callable[[], None] = staticmethod(lambda: None)

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        if self.is_stuck:
            self.requests.append(request)
            await asyncio.Event().wait()
        answered = await super().generate(request, access=access, on_delta=on_delta)
        self.on_answer()
        return answered


class LongWorld(World):
    """A run that continues a conversation."""

    model: PatientModel

    def __init__(
        self,
        answers: Sequence[Sequence[ResponseBlock] | AgentExecutorError],
        policy: ContextPolicy,
        history: History | None = None,
        *,
        max_tool_result_bytes: int = 0,
        **more: Any,
    ) -> None:
        history = history or History()
        started = RunStarted(
            "agent",
            1,
            "model",
            "hello",
            conversation_id="c",
            history=HistoryRange("before", 1, history.end_index),
            max_tool_result_bytes=max_tool_result_bytes,
        )
        super().__init__(
            PatientModel(answers),
            max_model_turns=50,
            context_policy=policy,
            started=started,
            **more,
        )
        self.log.history = history

    async def take_over(self) -> None:
        history = self.log.history
        await super().take_over()
        self.log.history = history


def texts(request: ModelRequest) -> list[str]:
    return [
        block.text[:2].strip()
        for message in request.messages
        for block in message.content
        if isinstance(block, TextBlock)
    ]


async def trims(made: LongWorld) -> list[HistoryTrimmed]:
    events = await made.journal.events("run")
    return [event.payload for event in events if isinstance(event.payload, HistoryTrimmed)]


async def test_a_conversation_is_given_as_a_whole_if_it_fits() -> None:
    made = LongWorld([DONE], ContextPolicy(), exchanges(3))
    state = await made.drive()
    assert state.state == "completed"
    assert texts(made.model.requests[0]) == ["q0", "a0", "q1", "a1", "q2", "a2", "he"]
    assert [message.role for message in state.messages] == ["user", "assistant"]
    assert await trims(made) == []


async def test_the_oldest_turns_are_left_out_and_the_log_says_so() -> None:
    made = LongWorld([DONE], ContextPolicy(max_history_turns=2), exchanges(5))
    await made.drive()
    assert texts(made.model.requests[0]) == ["q0", "q3", "a3", "q4", "a4", "he"]
    (trim,) = await trims(made)
    assert (trim.message_count, trim.first_index, trim.summary) == (5, 6, "")
    assert 90 <= trim.estimated_tokens <= 130


async def test_what_was_left_out_is_not_told_again_at_each_step() -> None:
    made = LongWorld([[use(1)], [use(2)], DONE], ContextPolicy(max_history_turns=2), exchanges(5))
    await made.drive()
    assert len(await trims(made)) == 1
    first, *later = made.model.requests
    for request in later:
        assert request.messages[: len(first.messages)] == first.messages


async def test_the_results_of_the_oldest_steps_are_emptied_if_the_turn_itself_is_too_long() -> None:
    made = LongWorld([*([use(n)] for n in range(12)), DONE], ContextPolicy(max_input_tokens=1_200))
    made.tools.run = lambda request: answer('"' + "r" * 600 + '"')
    state = await made.drive()
    assert state.state == "completed", state.finished
    for request in made.model.requests:
        assert len(msgspec.json.encode(request)) <= 4 * 1_200
    last = made.model.requests[-1]
    assert len(last.messages) == 25, "a message is missing"
    results = [message.content[0] for message in last.messages[2::2]]
    assert all(isinstance(result, ToolResultBlock) for result in results)
    kept = ["rrr" in result.content for result in results]  # type: ignore[union-attr]  # as checked
    assert kept == sorted(kept), "not the oldest ones were emptied"
    assert kept[-1]
    assert msgspec.json.decode(results[0].content)["size_bytes"] == 602  # type: ignore[union-attr]  # as checked
    told = await trims(made)
    assert 1 < len(told) < 6, "trimming moves in steps"
    # The whole results are kept.
    assert {len(result.result_json) for result in state.tool_results} == {602}


async def test_a_large_result_is_given_by_its_beginning() -> None:
    made = LongWorld([[use()], DONE], ContextPolicy(), max_tool_result_bytes=50)
    whole = '"' + "é" * 100 + '"'
    made.tools.run = lambda request: answer(whole)
    state = await made.drive()
    cut = msgspec.json.decode(made.tool_result_seen_by_the_model().content)
    assert cut["beginning"] == '"' + "é" * 24, "a character was cut in two"
    assert cut["size_bytes"] == 202
    (result,) = state.tool_results
    assert result.tool_call_id == cut["tool_call_id"]
    assert result.result_json == whole


async def test_what_cannot_be_made_to_fit_fails_with_the_numbers() -> None:
    made = LongWorld([], ContextPolicy(max_input_tokens=500), input_text="x")
    made.log.state = msgspec.structs.replace(
        made.log.state,
        messages=type(made.log.state.messages)([Message("user", (TextBlock("x" * 4_000),))]),
    )
    state = await made.drive()
    assert state.state == "failed"
    assert state.finished is not None
    assert state.finished.code == "CONTEXT_LENGTH_EXCEEDED"
    for part in ("500 fit", "input", "max_input_tokens", "about 10"):
        assert part in state.finished.error
    assert made.ledger.reserved == {}, "no money is needed for it"


async def test_the_models_own_window_is_a_limit_too() -> None:
    made = LongWorld(
        [], ContextPolicy(), exchanges(1, 900_000), model_name="claude-sonnet-4-20250514"
    )
    state = await made.drive()
    assert state.finished is not None
    assert state.finished.code == "CONTEXT_LENGTH_EXCEEDED"
    assert "context window is 200000, of which 4096 are for the answer" in state.finished.error


async def test_a_provider_that_counts_more_is_asked_again_with_less() -> None:
    refusal = ContextLengthExceededError(
        "too long", metadata={"input_tokens": "2000", "context_window_tokens": "5000"}
    )
    made = LongWorld([refusal, DONE], ContextPolicy(), exchanges(10))
    state = await made.drive()
    assert state.state == "completed"
    first, second = made.model.requests
    assert len(second.messages) < len(first.messages)
    assert len(await trims(made)) == 1


async def test_a_provider_that_finds_the_shortest_too_long_is_believed() -> None:
    refusal = ContextLengthExceededError(
        "9000 tokens > 5000", metadata={"input_tokens": "9000", "context_window_tokens": "5000"}
    )
    made = LongWorld([refusal], ContextPolicy())
    state = await made.drive()
    assert state.finished is not None
    assert (state.state, state.finished.code) == ("failed", "CONTEXT_LENGTH_EXCEEDED")
    assert state.finished.error == "9000 tokens > 5000"


class TestSummaries:
    """What is left out is summed up by the model, which is a call like any other."""

    POLICY = ContextPolicy(max_history_turns=2, summarize=True)

    async def test_a_summary_takes_the_place_of_what_is_left_out(self) -> None:
        made = LongWorld([SUMMARY, DONE], self.POLICY, exchanges(5))
        state = await made.drive()
        summing_up, turn = made.model.requests
        told = summing_up.messages[0].content[0]
        assert isinstance(told, TextBlock)
        assert "a0" in told.text
        assert "q2" in told.text
        assert "q3" not in told.text
        assert summing_up.tools == ()
        assert texts(turn) == ["q0", "[W", "q3", "a3", "q4", "a4", "he"]
        assert "They spoke of numbers." in msgspec.json.encode(turn).decode()
        (trim,) = await trims(made)
        assert trim.summary == "They spoke of numbers."
        kinds = [kind for kind in await made.event_types() if kind != "model_call_settled"]
        assert kinds == [
            "run_started",
            "model_call_started",
            "model_call_completed",
            "history_trimmed",
            "model_call_started",
            "model_call_completed",
            "run_finished",
        ]
        # It is no message of the run, and no turn of it.
        assert (state.turn, len(state.messages)) == (1, 2)

    async def test_it_is_held_settled_and_counted(self) -> None:
        made = LongWorld([SUMMARY, DONE], self.POLICY, exchanges(5))
        state = await made.drive()
        assert set(made.ledger.settled) == {"run_s1", "run_1_m1"}
        assert state.tokens_used == 30
        hold = made.ledger.holds["run_s1"]
        assert hold.max_input_tokens >= len(msgspec.json.encode(made.model.requests[0]))
        assert not state.unsettled

    async def test_the_tools_that_ran_are_named_once(self) -> None:
        """The ledger adds their fees to the call that they are named with."""
        policy = ContextPolicy(max_input_tokens=700, summarize=True)
        made = LongWorld([[use()], SUMMARY, DONE], policy, exchanges(6))
        made.tools.run = lambda request: answer('"' + "r" * 1_300 + '"')
        await made.drive()
        named = {key: len(one.tool_uses) for key, one in made.ledger.settled.items()}
        assert named == {"run_1_m1": 0, "run_s1": 0, "run_2_m1": 1}

    async def test_a_recorded_summary_is_not_paid_again(self) -> None:
        made = LongWorld([SUMMARY, DONE], self.POLICY, exchanges(5))
        made.model.on_answer = lambda: setattr(made.model, "is_stuck", True)
        driving = asyncio.create_task(made.drive())
        await until(lambda: len(made.model.requests) == 2)
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        made.model.is_stuck = False
        await made.take_over()
        state = await made.drive()
        assert state.state == "completed"
        assert len(made.model.requests) == 3
        # The turn's own call is made again, as it was; the summary is not.
        assert made.model.requests[1] == made.model.requests[2]
        assert len(await trims(made)) == 1

    async def test_a_lost_summary_is_made_again_under_another_id(self) -> None:
        made = LongWorld([DONE], self.POLICY, exchanges(5))
        made.model.is_stuck = True
        driving = asyncio.create_task(made.drive())
        await until(lambda: "run_s1" in made.ledger.reserved)
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        await made.take_over()
        made.model.answers = [SUMMARY, DONE]
        made.model.is_stuck = False
        state = await made.drive()
        assert state.state == "completed"
        assert set(made.ledger.settled) == {"run_s1", "run_s2", "run_1_m2"}
        lost = made.ledger.settled["run_s1"]
        assert lost.estimated
        events = await made.journal.events("run")
        (begun, *_) = (e.payload for e in events if isinstance(e.payload, ModelCallStarted))
        assert begun.purpose is not None
        tokens = begun.purpose.prefix_tokens + begun.purpose.history_tokens
        assert lost.usage == ModelUsage(tokens + 1, 0)

    async def test_the_next_summary_goes_on_from_the_last_one(self) -> None:
        again = [TextBlock("They spoke of numbers, and of letters.")]
        policy = ContextPolicy(max_input_tokens=900, summarize=True)
        history = exchanges(6, 600)
        made = LongWorld([SUMMARY, [use()], again, DONE], policy, history)
        made.tools.run = lambda request: answer('"' + "r" * 1_750 + '"')
        state = await made.drive()
        assert state.state == "completed", state.finished
        summaries = [trim.summary for trim in await trims(made)]
        assert summaries == [SUMMARY[0].text, again[0].text]
        told = made.model.requests[2].messages[0].content[0]
        assert isinstance(told, TextBlock)
        assert told.text.startswith(f"Summary of what was said before: {SUMMARY[0].text}")

    async def test_a_budget_that_refuses_a_summary_ends_the_run(self) -> None:
        made = LongWorld([], self.POLICY, exchanges(5))
        made.ledger.limit_nano_usd = 0
        state = await made.drive()
        assert state.state == "budget_exceeded"
        assert made.model.requests == []

    async def test_a_run_paused_before_its_summary_goes_on_with_it(self) -> None:
        made = LongWorld([SUMMARY, DONE], self.POLICY, exchanges(5), on_budget_exceeded="pause")
        made.ledger.limit_nano_usd = 0
        assert (await made.drive()).state == "paused"
        made.ledger.limit_nano_usd = 10**12
        made.now_ms += 60_000
        state = await made.drive()
        assert state.state == "completed"
        assert len(made.model.requests) == 2
        assert set(made.ledger.settled) == {"run_s2", "run_1_m2"}

    async def test_a_summary_is_no_shared_answer(self) -> None:
        """It is no message of the run, which is what is kept for equal requests."""
        made = LongWorld([SUMMARY, DONE], self.POLICY, exchanges(5), response_cache_ttl_seconds=60)
        state = await made.drive()
        assert state.state == "completed"
        assert [trim.summary for trim in await trims(made)] == ["They spoke of numbers."]
        assert set(made.ledger.settled) == {"run_s1", "run_1_m1"}

    async def test_no_summary_is_paid_for_in_vain(self) -> None:
        policy = ContextPolicy(max_input_tokens=300, summarize=True)
        made = LongWorld([], policy, exchanges(3, 1_000))
        state = await made.drive()
        assert state.finished is not None
        assert state.finished.code == "CONTEXT_LENGTH_EXCEEDED"
        assert made.model.requests == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_history_turns", -1),
        ("max_history_turns", 10_001),
        ("max_input_tokens", 10_000_001),
        ("max_tool_result_bytes", 1_048_577),
    ],
)
def test_a_policy_outside_of_its_limits_is_refused(field: str, value: int) -> None:
    with pytest.raises(InvalidArgumentError, match=field) as refused:
        msgspec.structs.replace(ContextPolicy(), **{field: value}).check()
    assert refused.value.field_violations[0][0] == f"context_policy.{field}"

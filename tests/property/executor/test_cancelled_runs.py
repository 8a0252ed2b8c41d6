"""A request to end a run may come at any event: nothing is begun after it, and the run ends."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent_executor.executor.log.next_action import (
    Action,
    AwaitMoney,
    CallModel,
    EndTools,
    Finish,
    ResolveLostCall,
    RunTools,
    Stop,
    next_action,
)
from agent_executor.executor.log.run import RunState, apply, fold, tool_calls_of
from agent_executor.executor.log.run_event import (
    CancelRequested,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallSettled,
    ModelCallStarted,
    Payload,
    RunContinued,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
    decode_payload,
    encode_payload,
)
from agent_executor.executor.models.model import ModelUsage, TextBlock, ToolUseBlock
from agent_executor.executor.runs.cancel_receipt import child_run_ids, receipt_of

MAX_MODEL_TURNS = 4
STEPS_TO_THE_END = 30
_BEGINNINGS = ModelCallStarted | RunContinued | RunPaused


class CancelledRun(RuleBasedStateMachine):
    """A run whose model, tools, money, owners and callers do what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.state = RunState()
        self.events: list[RunEvent] = []

    @initialize()
    def start(self) -> None:
        self.add(RunStarted("agent", 1, "model", "input"))

    @property
    def action(self) -> Action:
        return next_action(self.state, MAX_MODEL_TURNS)

    def is_open(self) -> bool:
        return self.state.open_call is not None and self.state.finished is None

    def add(self, payload: Payload) -> None:
        event = RunEvent(self.state.last_sequence + 1, 10 * len(self.events), payload)
        self.events.append(event)
        self.state = apply(self.state, event)

    @precondition(lambda self: isinstance(self.action, CallModel))
    @rule()
    def begin_a_model_call(self) -> None:
        action = self.action
        assert isinstance(action, CallModel)
        self.add(ModelCallStarted(f"run_{action.turn}_m{action.attempt}", action.turn))

    @precondition(lambda self: self.is_open())
    @rule(tools=st.integers(0, 3))
    def answer(self, tools: int) -> None:
        assert self.state.open_call is not None
        blocks = tuple(ToolUseBlock(f"t{index}", "calculator", {}) for index in range(tools))
        call = self.state.open_call
        stop_reason = "tool_use" if tools else "end_turn"
        answer = ModelCallCompleted(
            call.model_call_id, blocks or (TextBlock("done"),), stop_reason, ModelUsage(3, 4)
        )
        self.add(answer)
        for tool_call in tool_calls_of("run", call.turn, answer):
            self.add(tool_call)

    @precondition(lambda self: self.is_open())
    @rule(will_retry=st.booleans(), is_billed=st.booleans(), is_stopped=st.booleans())
    def fail(self, *, will_retry: bool, is_billed: bool, is_stopped: bool) -> None:
        assert self.state.open_call is not None
        is_stopped = is_stopped and self.state.cancel is not None
        self.add(
            ModelCallFailed(
                self.state.open_call.model_call_id,
                "no",
                "RUN_CANCELLED" if is_stopped else "MODEL_ERROR",
                will_retry,
                ModelUsage(1, 0) if is_billed else None,
            )
        )

    @precondition(lambda self: self.is_open() and self.state.cancel is None)
    @rule()
    def pause(self) -> None:
        assert self.state.open_call is not None
        call = self.state.open_call
        self.add(ModelCallFailed(call.model_call_id, "no", "BUDGET_EXCEEDED", True, None, True))
        self.add(RunPaused(call.turn, "no", "BUDGET_EXCEEDED", "budget"))

    @precondition(lambda self: isinstance(self.action, AwaitMoney))
    @rule()
    def get_money(self) -> None:
        action = self.action
        assert isinstance(action, AwaitMoney)
        self.add(RunContinued(action.call.turn))

    @precondition(lambda self: self.state.pending_tool_calls)
    @rule(index=st.integers(0, 2), code=st.sampled_from(["", "RUN_CANCELLED", "OUTCOME_UNKNOWN"]))
    def end_a_tool(self, index: int, code: str) -> None:
        calls = self.state.pending_tool_calls
        if self.state.cancel is None:
            code = ""
        self.add(_result(calls[index % len(calls)], code))

    @precondition(lambda self: self.state.finished is None)
    @rule()
    def take_over(self) -> None:
        self.add(RunResumed(attempt=2))

    @precondition(
        lambda self: (
            self.state.cancel is None
            and self.state.finished is None
            and not isinstance(self.action, Finish)
        )
    )
    @rule(children=st.lists(st.sampled_from(["a", "b"]), unique=True))
    def cancel(self, children: list[str]) -> None:
        self.add(CancelRequested("ada", "enough", tuple(children)))

    @precondition(lambda self: isinstance(self.action, Finish))
    @rule()
    def finish(self) -> None:
        self.take_a_step()

    @precondition(lambda self: isinstance(self.action, Stop))
    @rule()
    def rest(self) -> None:
        """Nothing follows the last event."""

    @invariant()
    def nothing_is_begun_after_the_request(self) -> None:
        if self.state.cancel is None:
            return
        assert not isinstance(self.action, CallModel | AwaitMoney | RunTools)
        assert self.state.pause is None
        requested = [
            event.sequence for event in self.events if isinstance(event.payload, CancelRequested)
        ]
        assert len(requested) == 1
        later = self.events[requested[0] :]
        assert not any(isinstance(event.payload, _BEGINNINGS) for event in later)

    def take_a_step(self) -> None:
        """Does what is next, as the engine would."""
        action = self.action
        match action:
            case ResolveLostCall():
                self.add(
                    ModelCallFailed(action.call.model_call_id, "lost", "LEASE_LOST", True, None)
                )
            case EndTools():
                for call in action.tool_calls:
                    is_doubtful = call.tool_call_id in action.doubtful_ids
                    code = "OUTCOME_UNKNOWN" if is_doubtful else "RUN_CANCELLED"
                    self.add(_result(call, code, was_begun=is_doubtful))
            case Finish():
                for unsettled in self.state.unsettled:
                    self.add(ModelCallSettled(unsettled.model_call_id, "entry", 5))
                self.add(action.outcome)
            case Stop():
                return
            case _:
                raise AssertionError(f"{action} is no step towards the end")

    def teardown(self) -> None:
        if self.state.cancel is None:
            return
        for _ in range(STEPS_TO_THE_END):
            self.take_a_step()
        finished = self.state.finished
        assert isinstance(finished, RunFinished)
        assert (finished.state, finished.code) == ("cancelled", "RUN_CANCELLED")
        assert not self.state.pending_tool_calls
        assert not self.state.unsettled
        stored = [
            RunEvent(event.sequence, event.created_at_ms, decode_payload(encode_payload(it)))
            for event in self.events
            for it in [event.payload]
        ]
        assert fold(stored) == self.state, "a replay gives another state"
        self.check_the_receipt()

    def check_the_receipt(self) -> None:
        receipt = receipt_of("run", self.events, child_run_ids(self.events))
        assert receipt.was_stopped
        assert receipt.cost_nano_usd == self.state.cost_nano_usd
        assert set(receipt.unknown_call_ids) <= set(receipt.stopped_call_ids)
        asked = {
            event.payload.tool_call_id
            for event in self.events
            if isinstance(event.payload, ToolCallStarted)
        }
        told = [
            *receipt.finished_call_ids,
            *receipt.never_begun_call_ids,
            *(call_id for call_id in receipt.stopped_call_ids if call_id in asked),
        ]
        assert sorted(told) == sorted(asked), "each tool call is told of once"


def _result(call: ToolCallStarted, code: str, *, was_begun: bool = True) -> ToolCallCompleted:
    return ToolCallCompleted(
        call.tool_call_id,
        call.tool_name,
        success=not code,
        result_json="null" if code else "1",
        error=code,
        code=code,
        timestamp_ms=0,
        was_begun=was_begun,
    )


CancelledRun.TestCase.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
TestCancelledRuns = CancelledRun.TestCase

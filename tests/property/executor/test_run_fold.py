"""Runs driven by chance: whatever the model and the tools answer, the log is a proper run."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.executor.log.next_action import (
    AwaitApprovals,
    AwaitBatch,
    AwaitMoney,
    CallModel,
    Finish,
    ResolveLostCall,
    RunTools,
    Stop,
    next_action,
)
from agent_executor.executor.log.run import FINAL_STATES, RunState, apply, fold, tool_calls_of
from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ApprovalResolved,
    HistoryTrimmed,
    ModelCallBatched,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallSettled,
    ModelCallStarted,
    ModelSelected,
    Payload,
    RunContinued,
    RunEvent,
    RunPaused,
    RunResumed,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
    decode_payload,
    encode_payload,
)
from agent_executor.executor.model_calls.purpose import CallPurpose
from agent_executor.executor.models.model import ModelUsage, TextBlock, ToolUseBlock

MAX_MODEL_TURNS = 4


class Driver:
    """Does what ``next_action`` says, with answers drawn by chance, as the engine would."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.state = RunState()
        self.events: list[RunEvent] = []
        self.versions = data.draw(
            st.dictionaries(st.text(max_size=5), st.text("0123456789abcdef", min_size=1))
        )
        self.paused_ms = 0
        self.given_calls: tuple[ToolCallStarted, ...] = ()
        self.attempt = 0
        self.fruitful_attempt = 0
        self.waited_ms = 0
        self.asked: list[str] = []
        self.denied: set[str] = set()
        self.free_without_tools: set[str] = set()
        self.is_batched = data.draw(st.booleans())
        self.looks = 0
        self.queued_for = data.draw(st.integers(0, 50))
        self.is_queued = data.draw(st.booleans())
        self.add(
            RunStarted(
                "agent",
                1,
                "model",
                "input",
                tool_versions=self.versions,
                parent_run_id="parent",
                max_cost_nano_usd=data.draw(st.integers(0, 9)),
                parent_amount_id=data.draw(st.sampled_from(["", "parent"])),
                is_background=data.draw(st.booleans()),
                is_queued=self.is_queued,
                processing="batch" if self.is_batched else "",
            )
        )
        assert self.state.state == ("pending" if self.is_queued else "running")
        if self.is_queued and self.chance():
            self.add(ModelSelected("model", "it is small"))
            assert self.state.state == "pending"
        self.queued_events = len(self.events)

    @property
    def now_ms(self) -> int:
        waited = self.queued_for if self.events else 0
        return 1_000 + waited + 10 * len(self.events)

    def add(self, payload: Payload) -> None:
        event = RunEvent(self.state.last_sequence + 1, self.now_ms, payload)
        waited_since_ms = self.events[-1].created_at_ms if self.is_waiting else self.now_ms
        self.events.append(event)
        self.waited_ms += event.created_at_ms - waited_since_ms
        self.state = apply(self.state, event)
        if isinstance(payload, ModelCallCompleted | ToolCallCompleted):
            self.fruitful_attempt = self.attempt
        waits_for_people = bool(self.state.approvals) and not self.state.pending_tool_calls
        waits_for_batch = self.is_batched and self.state.open_call is not None
        assert self.is_waiting == (waits_for_people or waits_for_batch)

    @property
    def is_waiting(self) -> bool:
        return self.state.state == "waiting"

    def chance(self) -> bool:
        return self.data.draw(st.booleans())

    def resume(self) -> None:
        # Some attempts end before they have told of themselves.
        self.attempt = max(self.attempt, 1) + self.data.draw(st.integers(1, 3))
        if self.state.state in {"paused", "waiting"}:
            self.fruitful_attempt = self.attempt
        self.add(RunResumed(attempt=self.attempt))

    def run(self) -> None:
        for _ in range(200):
            if self.chance():
                self.resume()
            action = next_action(self.state, MAX_MODEL_TURNS)
            match action:
                case CallModel():
                    self.call_model(action)
                case AwaitMoney():
                    self.go_on(action)
                case RunTools():
                    self.run_tools(action)
                case AwaitApprovals():
                    self.decide(action)
                case AwaitBatch():
                    self.look_at_batch(action)
                case ResolveLostCall():
                    assert not self.is_batched
                    self.fail(action.call.model_call_id, will_retry=True)
                case Finish():
                    for call in self.state.unsettled:
                        self.add(ModelCallSettled(call.model_call_id, call.model_call_id, 5))
                    self.add(action.outcome)
                case Stop():
                    return
        raise AssertionError("the run did not end")

    def sum_up(self, action: CallModel) -> None:
        """What is left out is summed up before the turn's own call, or only left out."""
        summary_id = f"run_s{self.state.summaries + 1}"
        before, turn = self.state.messages, self.state.turn
        if self.chance():
            self.add(ModelCallStarted(summary_id, action.turn, CallPurpose("sum"), is_summary=True))
            self.add(
                ModelCallCompleted(summary_id, (TextBlock("sum"),), "end_turn", ModelUsage(2, 1))
            )
        trimmed = HistoryTrimmed(1, 9, "sum", 2)
        self.add(trimmed)
        assert (self.state.messages, self.state.turn) == (before, turn)
        assert self.state.trimmed is trimmed
        assert self.state.given_calls == self.given_calls
        assert all(
            not call.tool_calls for call in self.state.unsettled if "_s" in call.model_call_id
        )

    def call_model(self, action: CallModel) -> None:
        self.given_calls = self.state.given_calls
        if self.state.summaries < 2 and self.chance():
            self.sum_up(action)
        call_id = f"run_{action.turn}_{action.attempt}"
        self.start(call_id, action)
        # No money, at most twice in a turn: the run waits for it, or makes the call without it.
        if action.refusals < 2 and self.chance():
            self.refuse(call_id, action)
            return
        # A crash right here, at most twice, leaves the call open.
        if action.attempt < 3 and self.chance():
            return
        if action.attempt < 3 and self.chance():
            self.fail(call_id, will_retry=True)
            return
        self.answer(call_id, action.turn)

    def look_at_batch(self, action: AwaitBatch) -> None:
        self.looks += 1
        if not action.batch_id and self.chance():
            self.add(ModelCallBatched(action.call.model_call_id, "batch"))
            assert self.state.batch_id == "batch"
        elif self.looks < 20 and self.chance():
            # It has not ended yet.
            return
        elif self.state.tries < 3 and self.chance():
            self.fail(action.call.model_call_id, will_retry=True)
        else:
            self.answer(action.call.model_call_id, action.call.turn)

    def answer(self, call_id: str, turn: int) -> None:
        blocks = self.data.draw(
            st.lists(
                st.one_of(
                    st.builds(TextBlock, st.text(max_size=5)),
                    st.builds(
                        ToolUseBlock,
                        st.sampled_from(["t1", "t2", "t3"]),
                        st.just("calculator"),
                        st.just({}),
                    ),
                ),
                max_size=4,
            )
        )
        asks = any(isinstance(block, ToolUseBlock) for block in blocks)
        ends = st.sampled_from(["end_turn", "pause_turn", "refusal", "max_tokens"])
        from_cache = self.chance()
        answer = ModelCallCompleted(
            call_id,
            tuple(blocks),
            "tool_use" if asks else self.data.draw(ends),
            ModelUsage(0, 0) if from_cache else ModelUsage(3, 4),
            from_cache=from_cache,
        )
        if from_cache and not self.state.given_calls:
            self.free_without_tools.add(call_id)
        self.add(answer)
        for call in tool_calls_of("run", turn, answer):
            self.asked.append(call.tool_call_id)
            if self.chance():
                self.add(call)
                continue
            self.add(
                ApprovalRequested(
                    call.tool_call_id, call.tool_use_id, call.tool_name, "{}", "why", 9
                )
            )

    def start(self, call_id: str, action: CallModel, *, is_unheld: bool = False) -> None:
        # Logs of before have no purposes.
        purpose = CallPurpose("digest", 1, action.turn) if self.chance() else None
        self.add(ModelCallStarted(call_id, action.turn, purpose, is_unheld))

    def refuse(self, call_id: str, action: CallModel) -> None:
        self.add(
            ModelCallFailed(call_id, "no", "BUDGET_EXCEEDED", will_retry=True, is_refused=True)
        )
        if self.chance():
            self.add(RunPaused(action.turn, "no", "BUDGET_EXCEEDED", "budget"))

    def go_on(self, action: AwaitMoney) -> None:
        # Most tries are refused again, and log nothing.
        if self.chance():
            return
        self.paused_ms += self.now_ms - self.state.paused_at_ms
        self.add(RunContinued(action.call.turn))
        self.call_model(action.call)

    def run_tools(self, action: RunTools) -> None:
        for call in self.data.draw(st.permutations(action.tool_calls)):
            ok = self.chance()
            self.add(
                ToolCallCompleted(
                    call.tool_call_id,
                    call.tool_name,
                    ok,
                    "1" if ok else "null",
                    "" if ok else "no",
                    "" if ok else "TOOL_EXECUTION_ERROR",
                    0,
                )
            )
            # A crash between two results leaves the others pending.
            if self.chance():
                return

    def decide(self, action: AwaitApprovals) -> None:
        assert action.approvals == self.state.approvals
        for asked in self.data.draw(st.permutations(action.approvals)):
            # Nobody has decided yet, and the driver looks again.
            if self.chance():
                return
            decision = self.data.draw(st.sampled_from(["approved", "edited", "denied", "expired"]))
            edited = '{"b":2}' if decision == "edited" else ""
            state = "approved" if edited else decision
            self.add(ApprovalResolved(asked.tool_call_id, state, "bob", "why", edited))
            key = (asked.tool_call_id, asked.tool_use_id, asked.tool_name)
            if state == "approved":
                approval = "edited" if edited else "approved"
                self.add(ToolCallStarted(*key, edited or "{}", approval))  # type: ignore[arg-type]  # one of its words
                continue
            self.denied.add(asked.tool_call_id)
            self.add(
                ToolCallCompleted(
                    asked.tool_call_id, asked.tool_name, False, "null", "no", "PERMISSION_DENIED", 0
                )
            )

    def fail(self, call_id: str, *, will_retry: bool) -> None:
        usage = ModelUsage(1, 0) if self.chance() else None
        self.add(ModelCallFailed(call_id, "lost", "MODEL_ERROR", will_retry, usage))


@given(st.data())
def test_every_run_ends_once_and_keeps_its_promises(data: st.DataObject) -> None:
    driver = Driver(data)
    driver.run()
    state, events = driver.state, driver.events
    assert state.state in FINAL_STATES
    assert not state.unsettled
    assert state.turn <= MAX_MODEL_TURNS
    assert state.tool_versions == driver.versions, "the run is bound to other tools"
    assert state.queued_at_ms == 0
    # It waited from its start until the first event of its turn.
    begun = events[driver.queued_events].created_at_ms
    assert state.queued_ms == (begun - events[0].created_at_ms if driver.is_queued else 0)
    assert state.pause is None
    assert state.paused_ms == driver.paused_ms
    assert state.attempt == driver.attempt
    assert state.fruitful_attempt == driver.fruitful_attempt

    calls = [event.payload for event in events if isinstance(event.payload, ModelCallStarted)]
    assert len({call.model_call_id for call in calls}) == len(calls), "an id was used twice"
    pauses = [
        type(event.payload)
        for event in events
        if isinstance(event.payload, RunPaused | RunContinued)
    ]
    assert pauses == ([RunPaused, RunContinued] * len(pauses))[: len(pauses)]

    started = [
        event.payload.tool_call_id for event in events if isinstance(event.payload, ToolCallStarted)
    ]
    asked = driver.asked
    assert len(set(asked)) == len(asked), "a tool call's id was used twice"
    assert [result.tool_call_id for result in state.tool_results] == asked
    assert len(set(started)) == len(started), "a tool call was made twice"
    assert set(started) == set(asked) - driver.denied, "a call was made that nobody let pass"
    assert state.approvals == ()
    assert state.waited_ms == driver.waited_ms

    settled = [event.payload for event in events if isinstance(event.payload, ModelCallSettled)]
    assert len({call.model_call_id for call in settled}) == len(settled)
    assert state.cost_nano_usd == sum(call.cost_nano_usd for call in settled)

    # What was answered again costs nothing, and is told only for the tools that it was given.
    again = {
        event.payload.model_call_id
        for event in events
        if isinstance(event.payload, ModelCallCompleted) and event.payload.from_cache
    }
    assert driver.free_without_tools.isdisjoint(call.model_call_id for call in settled)
    assert driver.free_without_tools <= again

    # A turn that was paused has several messages of the model.
    roles = [role for role, _ in groupby(message.role for message in state.messages)]
    assert roles == (["user", "assistant"] * len(roles))[: len(roles)]


@given(st.data())
def test_the_state_is_the_same_however_the_log_is_read(data: st.DataObject) -> None:
    driver = Driver(data)
    driver.run()
    stored = [
        RunEvent(event.sequence, event.created_at_ms, decode_payload(encode_payload(event.payload)))
        for event in driver.events
    ]
    assert stored == driver.events
    assert fold(stored) == driver.state
    cut = data.draw(st.integers(0, len(stored)))
    assert fold(stored[cut:], fold(stored[:cut])) == driver.state

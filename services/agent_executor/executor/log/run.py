"""The state of a run, as a pure fold of its events.

Nothing here knows a clock, a database or a network: the same events always give the same state,
on whichever machine and however often.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from agent_executor.executor.log.growing import Growing
from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ApprovalResolved,
    CancelRequested,
    HistoryRange,
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
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
)
from agent_executor.executor.log.run_results import tool_answered
from agent_executor.executor.log.run_waiting import call_begun_or_asked_about, waiting_or_running
from agent_executor.executor.log.unsettled_call import UnsettledCall
from agent_executor.executor.models.model import Message, ModelUsage, TextBlock, ToolUseBlock

FINAL_STATES: Final = frozenset({"completed", "failed", "cancelled", "budget_exceeded"})

_RESULT_ENCODER: Final = msgspec.json.Encoder()


# The code of what was stopped, and of a run that was.
CANCELLED_CODE: Final = "RUN_CANCELLED"


class RunState(msgspec.Struct, frozen=True):
    """A run after some of its events.

    Attributes:
        state: ``pending`` before the first event and while it waits for its turn, ``running``,
            ``paused``, ``waiting`` while nothing but decisions of people or a batch of the provider is
            waited for, or how it ended.
        model, input, is_test, tool_versions, max_cost_nano_usd, parent_amount_id, is_background,
            timeout_seconds, history, max_tool_result_bytes, processing: As the run was started.
        queued_at_ms: Since when it waits for its turn; 0 unless it does.
        queued_ms: How long it did.
        messages: What was said in the run itself, in the Messages API's shape.
        trimmed: What of it, and of the conversation before it, the model is not given; None if it is
            given all.
        summaries: How many model calls were begun to sum up what is left out.
        turn: How many model calls have been answered.
        tries: How many model calls of the present turn have failed.
        refusals: How many of these were not made, since no money was held.
        open_call: The model call that was begun and has no outcome.
        batch_id: The provider's batch that it is in; empty if it is in none, as far as is known.
        answered_call_id: The model call that was answered last; empty if no model was asked.
        given_calls: The tool calls whose results the next model call is given, of those whose tool
            was run.
        pause: Why the run waits for money; None unless it does.
        paused_at_ms: When the present pause began.
        paused_ms: How long the pauses before it were, in all.
        attempt: The newest attempt to bring the run to its end that the log tells of; 0 for the first.
        fruitful_attempt: The newest one in which a model answered, a tool had its result, or the run
            waited for money or people. Those after it have brought nothing.
        approvals: Tool calls that wait for a person's decision, in the order asked for.
        waiting_since_ms: When the run began to wait for nothing else, if it does.
        waited_ms: How long it did so before, in all.
        last_stop_reason: Why the last answer ended; empty before it.
        last_stop_detail: Why the model refused; empty if it did not, or did not say.
        reduced_max_tokens: The output that the budget covered for the last answer, if that was less
            than the agent's limit; else 0.
        cancel: The request to end the run; None unless there is one.
        stopped_call: The model call that was stopped for it.
        stopped_cost_nano_usd: What that one was settled with.
        doubtful_call_ids: Tool calls without a result that a driver before this one may have sent.
        pending_tool_calls: Tool calls without a result, in the order asked for.
        tool_results: All results so far, in the order asked for.
        unsettled: Model calls that are to be settled at the ledger.
        tokens_used: Tokens of all classes of all model calls, lost ones included.
        cost_nano_usd: The sum of what was settled.
        failure: The failure of the last model call when it is not tried again.
        finished: The last event, once it is there.
        last_sequence: Sequence of the last event; 0 if there is none.
    """

    state: str = "pending"
    model: str = ""
    input: str = ""
    is_test: bool = False
    tool_versions: dict[str, str] = {}
    max_cost_nano_usd: int = 0
    parent_amount_id: str = ""
    is_background: bool = False
    timeout_seconds: int = 0
    queued_at_ms: int = 0
    queued_ms: int = 0
    history: HistoryRange | None = None
    max_tool_result_bytes: int = 0
    processing: str = ""
    messages: Growing[Message] = Growing()
    trimmed: HistoryTrimmed | None = None
    summaries: int = 0
    turn: int = 0
    answered_call_id: str = ""
    tries: int = 0
    refusals: int = 0
    open_call: ModelCallStarted | None = None
    batch_id: str = ""
    last_stop_reason: str = ""
    last_stop_detail: str = ""
    reduced_max_tokens: int = 0
    given_calls: tuple[ToolCallStarted, ...] = ()
    pause: RunPaused | None = None
    paused_at_ms: int = 0
    paused_ms: int = 0
    attempt: int = 0
    fruitful_attempt: int = 0
    approvals: tuple[ApprovalRequested, ...] = ()
    waiting_since_ms: int = 0
    waited_ms: int = 0
    cancel: CancelRequested | None = None
    stopped_call: ModelCallFailed | None = None
    stopped_cost_nano_usd: int = 0
    doubtful_call_ids: tuple[str, ...] = ()
    pending_tool_calls: tuple[ToolCallStarted, ...] = ()
    turn_results: tuple[ToolCallCompleted, ...] = ()
    turn_calls: tuple[ToolCallStarted, ...] = ()
    tool_results: Growing[ToolCallCompleted] = Growing()
    unsettled: tuple[UnsettledCall, ...] = ()
    tokens_used: int = 0
    cost_nano_usd: int = 0
    failure: ModelCallFailed | None = None
    finished: RunFinished | None = None
    last_sequence: int = 0


def fold(events: Iterable[RunEvent], state: RunState | None = None) -> RunState:
    """Returns the state after ``events``, from ``state`` or from nothing."""
    folded = state or RunState()
    for event in events:
        folded = apply(folded, event)
    return folded


def apply(state: RunState, event: RunEvent) -> RunState:
    """Returns the state after one more event.

    Raises:
        ValueError: The event is not the next one of the log.
    """
    if event.sequence != state.last_sequence + 1:
        raise ValueError(f"event {event.sequence} does not follow event {state.last_sequence}")
    # The choice of its model is made before a run waits for its turn.
    if state.queued_at_ms and not isinstance(event.payload, ModelSelected):
        state = _begun(state, event.created_at_ms)
    changed = _changed(state, event.payload, event.created_at_ms)
    return msgspec.structs.replace(changed, last_sequence=event.sequence)


def tool_calls_of(run_id: str, turn: int, answer: ModelCallCompleted) -> list[ToolCallStarted]:
    """Returns the tool calls that an answer asks for, with the ids that they have for good."""
    blocks = [block for block in answer.content if isinstance(block, ToolUseBlock)]
    return [
        ToolCallStarted(
            tool_call_id=f"{run_id}_{turn}_{index}",
            tool_use_id=block.id,
            tool_name=block.name,
            arguments_json=_RESULT_ENCODER.encode(block.input).decode(),
        )
        for index, block in enumerate(blocks)
    ]


def tokens_of(usage: ModelUsage) -> int:
    """Returns the tokens of all classes, summed."""
    return (
        usage.input_tokens
        + usage.output_tokens
        + usage.cache_read_input_tokens
        + usage.cache_creation_input_tokens_5m
        + usage.cache_creation_input_tokens_1h
    )


def response_text(messages: Sequence[Message]) -> str:
    """Returns the model's text at the end of a conversation, also if it paused within it."""
    texts: list[str] = []
    for message in reversed(messages):
        if message.role != "assistant":
            break
        texts[:0] = [block.text for block in message.content if isinstance(block, TextBlock)]
    return "".join(texts)


def results_of(state: RunState) -> tuple[ToolCallCompleted, ...]:
    """Returns every tool result of a run, those of an unfinished turn included."""
    return (*state.tool_results, *state.turn_results)


def _changed(state: RunState, payload: Payload, created_at_ms: int) -> RunState:
    match payload:
        case RunStarted():
            return msgspec.structs.replace(
                state,
                state="pending" if payload.is_queued else "running",
                model=payload.model,
                input=payload.input,
                is_test=payload.is_test,
                tool_versions=payload.tool_versions,
                max_cost_nano_usd=payload.max_cost_nano_usd,
                parent_amount_id=payload.parent_amount_id,
                is_background=payload.is_background,
                timeout_seconds=payload.timeout_seconds,
                queued_at_ms=created_at_ms if payload.is_queued else 0,
                history=payload.history,
                max_tool_result_bytes=payload.max_tool_result_bytes,
                processing=payload.processing,
                messages=Growing([Message(role="user", content=(TextBlock(text=payload.input),))]),
            )
        case ModelSelected():
            return msgspec.structs.replace(state, model=payload.model)
        case RunResumed() | RunPaused() | RunContinued() | CancelRequested():
            return _held_up_or_continued(state, payload, created_at_ms)
        case ModelCallStarted() | ModelCallBatched() | HistoryTrimmed():
            return _call_begun_or_shortened(state, payload, created_at_ms)
        case ModelCallCompleted() | ModelCallFailed():
            return _model_call_ended(state, payload, created_at_ms)
        case ModelCallSettled():
            return _settled(state, payload)
        case ToolCallStarted() | ApprovalRequested() | ApprovalResolved():
            return call_begun_or_asked_about(state, payload, created_at_ms)
        case ToolCallCompleted():
            return tool_answered(state, payload, created_at_ms)
        case RunFinished():
            return msgspec.structs.replace(state, state=payload.state, finished=payload)


def _call_begun_or_shortened(
    state: RunState,
    payload: ModelCallStarted | ModelCallBatched | HistoryTrimmed,
    created_at_ms: int,
) -> RunState:
    match payload:
        case HistoryTrimmed():
            return msgspec.structs.replace(state, trimmed=payload)
        case ModelCallBatched():
            return msgspec.structs.replace(state, batch_id=payload.batch_id)
    summaries = state.summaries + payload.is_summary
    begun = msgspec.structs.replace(state, open_call=payload, batch_id="", summaries=summaries)
    return waiting_or_running(begun, created_at_ms) if state.processing else begun


def _begun(state: RunState, now_ms: int) -> RunState:
    """Returns the state of a run that waited for its turn, once that has come."""
    # A clock that was set back meanwhile has not made the run younger.
    queued_ms = max(0, now_ms - state.queued_at_ms)
    return msgspec.structs.replace(state, state="running", queued_at_ms=0, queued_ms=queued_ms)


def _held_up_or_continued(
    state: RunState,
    payload: RunResumed | RunPaused | RunContinued | CancelRequested,
    created_at_ms: int,
) -> RunState:
    match payload:
        case RunResumed():
            is_idle = state.state in {"paused", "waiting"}
            return msgspec.structs.replace(
                state,
                attempt=payload.attempt,
                fruitful_attempt=payload.attempt if is_idle else state.fruitful_attempt,
                doubtful_call_ids=tuple(call.tool_call_id for call in state.pending_tool_calls),
            )
        case RunPaused():
            return msgspec.structs.replace(
                state, state="paused", pause=payload, paused_at_ms=created_at_ms
            )
        case RunContinued():
            # A clock that was set back meanwhile has not made the run younger.
            paused_ms = state.paused_ms + max(0, created_at_ms - state.paused_at_ms)
            return msgspec.structs.replace(state, state="running", pause=None, paused_ms=paused_ms)
        case CancelRequested():
            return _to_be_cancelled(state, payload, created_at_ms)


def _to_be_cancelled(state: RunState, payload: CancelRequested, created_at_ms: int) -> RunState:
    """Notes that the run is to end. It waits for nothing any more."""
    if state.pause is not None:
        state = _held_up_or_continued(state, RunContinued(state.pause.turn), created_at_ms)
    return msgspec.structs.replace(state, cancel=payload)


def _settled(state: RunState, settled: ModelCallSettled) -> RunState:
    stopped = state.stopped_call
    is_stopped = stopped is not None and stopped.model_call_id == settled.model_call_id
    return msgspec.structs.replace(
        state,
        cost_nano_usd=state.cost_nano_usd + settled.cost_nano_usd,
        stopped_cost_nano_usd=state.stopped_cost_nano_usd + is_stopped * settled.cost_nano_usd,
        unsettled=tuple(
            call for call in state.unsettled if call.model_call_id != settled.model_call_id
        ),
    )


def _model_call_ended(
    state: RunState, payload: ModelCallCompleted | ModelCallFailed, created_at_ms: int
) -> RunState:
    if isinstance(payload, ModelCallCompleted):
        ended = _model_answered(state, payload)
    else:
        ended = _model_failed(state, payload)
    return waiting_or_running(ended, created_at_ms) if state.processing else ended


def _model_answered(state: RunState, answer: ModelCallCompleted) -> RunState:
    unsettled = _unsettled(state, answer.model_call_id, answer.usage, answer.is_estimated)
    if answer.from_cache:
        # It cost nothing and nothing is held for it; but tools may have been used on the way to it.
        unsettled = msgspec.structs.replace(unsettled, is_unheld=True)
    is_settled = answer.from_cache and not unsettled.tool_calls
    call = state.open_call
    state = msgspec.structs.replace(
        state,
        open_call=None,
        fruitful_attempt=state.attempt,
        tokens_used=state.tokens_used + tokens_of(answer.usage),
        unsettled=state.unsettled if is_settled else (*state.unsettled, unsettled),
    )
    if call is not None and call.is_summary:
        return state
    return msgspec.structs.replace(
        state,
        turn=state.turn + 1,
        answered_call_id="" if answer.from_cache else answer.model_call_id,
        tries=0,
        refusals=0,
        last_stop_reason=answer.stop_reason,
        last_stop_detail=answer.stop_detail,
        reduced_max_tokens=answer.reduced_max_tokens,
        messages=state.messages.with_items(Message(role="assistant", content=answer.content)),
        turn_calls=(),
        turn_results=(),
        given_calls=(),
    )


def _model_failed(state: RunState, failed: ModelCallFailed) -> RunState:
    usage = failed.usage
    unsettled = state.unsettled
    if usage is not None:
        unsettled = (*unsettled, _unsettled(state, failed.model_call_id, usage, True))
    return msgspec.structs.replace(
        state,
        open_call=None,
        tries=state.tries + 1,
        refusals=state.refusals + failed.is_refused,
        failure=None if failed.will_retry else failed,
        stopped_call=failed if failed.code == CANCELLED_CODE else state.stopped_call,
        tokens_used=state.tokens_used + (tokens_of(usage) if usage else 0),
        unsettled=unsettled,
    )


def _unsettled(
    state: RunState, model_call_id: str, usage: ModelUsage, estimated: bool
) -> UnsettledCall:
    call = state.open_call
    if call is None or call.purpose is None:
        return UnsettledCall(model_call_id, usage, estimated)
    return UnsettledCall(
        model_call_id,
        usage,
        estimated,
        attempt=state.tries + 1,
        purpose=call.purpose,
        # The turn's own call is given them.
        tool_calls=() if call.is_summary else state.given_calls,
        is_unheld=call.is_unheld,
    )

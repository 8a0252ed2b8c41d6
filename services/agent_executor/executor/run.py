"""The state of a run, as a pure fold of its events, and what is to be done next in it.

Nothing here knows a clock, a database or a network: the same events always give the same state
and the same next action, on whichever machine and however often.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from agent_executor.executor.models.model import (
    Message,
    ModelUsage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from agent_executor.executor.run_event import (
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallSettled,
    ModelCallStarted,
    Payload,
    RunEvent,
    RunFinished,
    RunResumed,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
)

FINAL_STATES: Final = frozenset({"completed", "failed", "cancelled", "budget_exceeded"})

_RESULT_ENCODER: Final = msgspec.json.Encoder()


class UnsettledCall(msgspec.Struct, frozen=True):
    """A model call whose cost the log does not hold yet."""

    model_call_id: str
    usage: ModelUsage
    estimated: bool


class RunState(msgspec.Struct, frozen=True):
    """A run after some of its events.

    Attributes:
        state: ``pending`` before the first event, ``running``, or how it ended.
        model, input, is_test, tool_versions: As the run was started.
        messages: The conversation in the Messages API's shape.
        turn: How many model calls have been answered.
        tries: How many model calls of the present turn have failed.
        open_model_call: The model call that was begun and has no outcome; empty if none.
        last_stop_reason: Why the last answer ended; empty before it.
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
    messages: tuple[Message, ...] = ()
    turn: int = 0
    tries: int = 0
    open_model_call: str = ""
    last_stop_reason: str = ""
    pending_tool_calls: tuple[ToolCallStarted, ...] = ()
    turn_results: tuple[ToolCallCompleted, ...] = ()
    turn_calls: tuple[ToolCallStarted, ...] = ()
    tool_results: tuple[ToolCallCompleted, ...] = ()
    unsettled: tuple[UnsettledCall, ...] = ()
    tokens_used: int = 0
    cost_nano_usd: int = 0
    failure: ModelCallFailed | None = None
    finished: RunFinished | None = None
    last_sequence: int = 0


class CallModel(msgspec.Struct, frozen=True):
    """Ask the model for the next message. The id is new for every try."""

    turn: int
    attempt: int


class ResolveLostCall(msgspec.Struct, frozen=True):
    """Find out what became of a model call whose owner died during it."""

    model_call_id: str


class RunTools(msgspec.Struct, frozen=True):
    """Run these tool calls, in parallel."""

    tool_calls: tuple[ToolCallStarted, ...]


class Finish(msgspec.Struct, frozen=True):
    """Settle what is unsettled and end the run."""

    outcome: RunFinished


class Stop(msgspec.Struct, frozen=True):
    """The run has ended; nothing is to be done."""


Action: TypeAlias = CallModel | ResolveLostCall | RunTools | Finish | Stop


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
    changed = _changed(state, event.payload)
    return msgspec.structs.replace(changed, last_sequence=event.sequence)


def next_action(state: RunState, max_model_turns: int) -> Action:
    """Returns what is to be done next.

    Args:
        state: The run so far.
        max_model_turns: How many model calls the run may make, at least 1.
    """
    if state.finished is not None:
        return Stop()
    if state.open_model_call:
        return ResolveLostCall(state.open_model_call)
    if state.failure is not None:
        return Finish(_failed(state.failure.error, state.failure.code))
    if state.pending_tool_calls:
        return RunTools(state.pending_tool_calls)
    if state.turn and state.messages[-1].role == "assistant":
        return Finish(_answered(state))
    if state.turn >= max_model_turns:
        return Finish(
            _failed(
                f"The run used its {max_model_turns} model turns without an answer.",
                "LIMIT_EXCEEDED",
            )
        )
    return CallModel(turn=state.turn + 1, attempt=state.tries + 1)


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


def response_text(messages: tuple[Message, ...]) -> str:
    """Returns the text of the last message if it is the model's, else the empty string."""
    if not messages or messages[-1].role != "assistant":
        return ""
    return "".join(block.text for block in messages[-1].content if isinstance(block, TextBlock))


def results_of(state: RunState) -> tuple[ToolCallCompleted, ...]:
    """Returns every tool result of a run, those of an unfinished turn included."""
    return (*state.tool_results, *state.turn_results)


def _changed(state: RunState, payload: Payload) -> RunState:
    match payload:
        case RunStarted():
            return msgspec.structs.replace(
                state,
                state="running",
                model=payload.model,
                input=payload.input,
                is_test=payload.is_test,
                tool_versions=payload.tool_versions,
                messages=(Message(role="user", content=(TextBlock(text=payload.input),)),),
            )
        case RunResumed():
            return state
        case ModelCallStarted():
            return msgspec.structs.replace(state, open_model_call=payload.model_call_id)
        case ModelCallCompleted():
            return _model_answered(state, payload)
        case ModelCallFailed():
            return _model_failed(state, payload)
        case ModelCallSettled():
            return _settled(state, payload)
        case ToolCallStarted():
            return msgspec.structs.replace(
                state,
                pending_tool_calls=(*state.pending_tool_calls, payload),
                turn_calls=(*state.turn_calls, payload),
            )
        case ToolCallCompleted():
            return _tool_answered(state, payload)
        case RunFinished():
            return msgspec.structs.replace(state, state=payload.state, finished=payload)


def _settled(state: RunState, settled: ModelCallSettled) -> RunState:
    return msgspec.structs.replace(
        state,
        cost_nano_usd=state.cost_nano_usd + settled.cost_nano_usd,
        unsettled=tuple(
            call for call in state.unsettled if call.model_call_id != settled.model_call_id
        ),
    )


def _model_answered(state: RunState, answer: ModelCallCompleted) -> RunState:
    return msgspec.structs.replace(
        state,
        open_model_call="",
        turn=state.turn + 1,
        tries=0,
        last_stop_reason=answer.stop_reason,
        messages=(*state.messages, Message(role="assistant", content=answer.content)),
        turn_calls=(),
        turn_results=(),
        tokens_used=state.tokens_used + tokens_of(answer.usage),
        unsettled=(
            *state.unsettled,
            UnsettledCall(answer.model_call_id, answer.usage, estimated=False),
        ),
    )


def _model_failed(state: RunState, failed: ModelCallFailed) -> RunState:
    usage = failed.usage
    unsettled = state.unsettled
    if usage is not None:
        unsettled = (*unsettled, UnsettledCall(failed.model_call_id, usage, estimated=True))
    return msgspec.structs.replace(
        state,
        open_model_call="",
        tries=state.tries + 1,
        failure=None if failed.will_retry else failed,
        tokens_used=state.tokens_used + (tokens_of(usage) if usage else 0),
        unsettled=unsettled,
    )


def _tool_answered(state: RunState, result: ToolCallCompleted) -> RunState:
    """Adds a result. The turn's last one makes the message that the model sees next."""
    turn_results = (*state.turn_results, result)
    pending = tuple(
        call for call in state.pending_tool_calls if call.tool_call_id != result.tool_call_id
    )
    if pending:
        return msgspec.structs.replace(state, pending_tool_calls=pending, turn_results=turn_results)
    by_id = {done.tool_call_id: done for done in turn_results}
    ordered = tuple(by_id[call.tool_call_id] for call in state.turn_calls)
    blocks = tuple(
        _result_block(call, done) for call, done in zip(state.turn_calls, ordered, strict=True)
    )
    return msgspec.structs.replace(
        state,
        pending_tool_calls=(),
        turn_calls=(),
        turn_results=(),
        tool_results=(*state.tool_results, *ordered),
        messages=(*state.messages, Message(role="user", content=blocks)),
    )


def _result_block(call: ToolCallStarted, done: ToolCallCompleted) -> ToolResultBlock:
    if done.success:
        return ToolResultBlock(tool_use_id=call.tool_use_id, content=done.result_json)
    shape = {
        "success": False,
        "error": done.error,
        "tool_name": done.tool_name,
        "code": done.code,
    }
    return ToolResultBlock(
        tool_use_id=call.tool_use_id,
        content=_RESULT_ENCODER.encode(shape).decode(),
        is_error=True,
    )


def _answered(state: RunState) -> RunFinished:
    response = response_text(state.messages)
    if state.last_stop_reason == "max_tokens":
        return RunFinished(
            state="failed",
            response=response,
            error="The model's answer was cut at its output limit (max_output_tokens).",
            code="LIMIT_EXCEEDED",
        )
    return RunFinished(state="completed", response=response)


def _failed(error: str, code: str) -> RunFinished:
    state = "budget_exceeded" if code == "BUDGET_EXCEEDED" else "failed"
    return RunFinished(state=state, error=error, code=code)

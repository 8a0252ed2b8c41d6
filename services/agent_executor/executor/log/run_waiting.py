"""The part of the fold that is about what a run waits for: a person, or a batch of its provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ApprovalResolved,
    ToolCallStarted,
)

if TYPE_CHECKING:
    from agent_executor.executor.log.run import RunState

WAITING: Final = "waiting"
BATCH: Final = "batch"
EDITED_NOTE: Final = "A person changed the arguments of this call before it was made."

_ENCODER: Final = msgspec.json.Encoder()


def call_begun_or_asked_about(
    state: RunState,
    payload: ToolCallStarted | ApprovalRequested | ApprovalResolved,
    created_at_ms: int,
) -> RunState:
    """Returns the state once a tool call is begun, waits for a person, or is decided about."""
    changed = state
    match payload:
        case ToolCallStarted():
            changed = _begun(state, payload)
        case ApprovalRequested():
            changed = _asked_about(state, payload)
        case ApprovalResolved():
            # It has no result yet, which follows in the same commit, or its beginning does.
            changed = without_approval(state, payload.tool_call_id)
    return waiting_or_running(changed, created_at_ms)


def call_of(asked: ApprovalRequested) -> ToolCallStarted:
    """Returns the call that a person is asked about, as the model asked for it."""
    return ToolCallStarted(
        asked.tool_call_id, asked.tool_use_id, asked.tool_name, asked.arguments_json
    )


def waiting_or_running(state: RunState, now_ms: int) -> RunState:
    """Returns the state as ``waiting`` if nothing but people or a batch is waited for, or ``running``.

    A model call that goes into a batch is waited for from its beginning on.
    """
    is_waiting = bool(state.approvals) and not state.pending_tool_calls
    is_waiting = is_waiting or (state.processing == BATCH and state.open_call is not None)
    if is_waiting == (state.state == WAITING):
        return state
    if is_waiting:
        return msgspec.structs.replace(state, state=WAITING, waiting_since_ms=now_ms)
    # A clock that was set back meanwhile has not made the run younger.
    waited_ms = state.waited_ms + max(0, now_ms - state.waiting_since_ms)
    return msgspec.structs.replace(state, state="running", waited_ms=waited_ms)


def without_approval(state: RunState, tool_call_id: str) -> RunState:
    """Returns the state in which no decision about a call is waited for any more."""
    approvals = tuple(asked for asked in state.approvals if asked.tool_call_id != tool_call_id)
    return msgspec.structs.replace(state, approvals=approvals)


def waited_ms_by(state: RunState, now_ms: int) -> int:
    """Returns how long a run has waited for people or batches alone, its present wait included."""
    present_ms = max(0, now_ms - state.waiting_since_ms) if state.state == WAITING else 0
    return state.waited_ms + present_ms


def edited_result_json(call: ToolCallStarted, result_json: str) -> str:
    """Returns what the model is told of a call whose arguments a person changed.

    It sees its own arguments in its question, so those that were used are beside the result.
    """
    told = {
        "result": msgspec.Raw(result_json.encode()),
        "note": EDITED_NOTE,
        "arguments": msgspec.Raw(call.arguments_json.encode()),
    }
    return _ENCODER.encode(told).decode()


def _begun(state: RunState, call: ToolCallStarted) -> RunState:
    """Adds a call that is begun. One that was asked about keeps its place in the turn."""
    turn_calls = (*state.turn_calls, call)
    if call.approval:
        turn_calls = tuple(
            call if known.tool_call_id == call.tool_call_id else known for known in state.turn_calls
        )
    return msgspec.structs.replace(
        state, pending_tool_calls=(*state.pending_tool_calls, call), turn_calls=turn_calls
    )


def _asked_about(state: RunState, asked: ApprovalRequested) -> RunState:
    """Adds a call that waits, which takes its place in the turn."""
    return msgspec.structs.replace(
        state,
        approvals=(*state.approvals, asked),
        turn_calls=(*state.turn_calls, call_of(asked)),
    )

"""The part of the fold that is about the results of tool calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from agent_executor.executor.context.result_block import result_block
from agent_executor.executor.log.run_event import ToolCallCompleted
from agent_executor.executor.log.run_waiting import waiting_or_running, without_approval
from agent_executor.executor.models.model import Message

if TYPE_CHECKING:
    from agent_executor.executor.log.run import RunState

# The codes of failed tool calls whose tool was run all the same. One that was refused, or failed for
# its arguments, may not have been run: it is not named to the ledger, so that nobody pays its fee.
_RAN_CODES: Final = frozenset({"TOOL_EXECUTION_ERROR", "OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED"})


def tool_answered(state: RunState, result: ToolCallCompleted, created_at_ms: int) -> RunState:
    """Adds a result. The turn's last one makes the message that the model sees next."""
    turn_results = (*state.turn_results, result)
    pending = tuple(
        call for call in state.pending_tool_calls if call.tool_call_id != result.tool_call_id
    )
    if state.approvals:
        # One that waited until its run was to end has a result that says so.
        state = without_approval(state, result.tool_call_id)
    if pending or state.approvals:
        left = msgspec.structs.replace(
            state,
            fruitful_attempt=state.attempt,
            pending_tool_calls=pending,
            turn_results=turn_results,
        )
        return waiting_or_running(left, created_at_ms)
    by_id = {done.tool_call_id: done for done in turn_results}
    ordered = tuple(by_id[call.tool_call_id] for call in state.turn_calls)
    blocks = tuple(
        result_block(call, done, state.max_tool_result_bytes)
        for call, done in zip(state.turn_calls, ordered, strict=True)
    )
    return msgspec.structs.replace(
        state,
        fruitful_attempt=state.attempt,
        pending_tool_calls=(),
        turn_calls=(),
        turn_results=(),
        tool_results=state.tool_results.with_items(*ordered),
        given_calls=tuple(
            call
            for call, done in zip(state.turn_calls, ordered, strict=True)
            if done.success or done.code in _RAN_CODES
        ),
        messages=state.messages.with_items(Message(role="user", content=blocks)),
    )

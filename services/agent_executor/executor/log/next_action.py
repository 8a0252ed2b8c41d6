"""What is to be done next in a run: a pure function of its state."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from agent_executor.executor.log.run import CANCELLED_CODE, RunState, response_text
from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ModelCallStarted,
    RunFinished,
    RunPaused,
    ToolCallStarted,
)
from agent_executor.executor.log.run_waiting import BATCH, call_of


class CallModel(msgspec.Struct, frozen=True):
    """Ask the model for the next message. The id is new for every try.

    Attributes:
        turn: Which answer is wanted, from 1.
        attempt: The try's number among those of the turn, from 1.
        refusals: How many tries of the turn were not made, since no money was held.
    """

    turn: int
    attempt: int
    refusals: int = 0


class AwaitMoney(msgspec.Struct, frozen=True):
    """Wait until the money for a model call can be held, then make it."""

    call: CallModel
    pause: RunPaused


class ResolveLostCall(msgspec.Struct, frozen=True):
    """Find out what became of a model call whose owner died during it."""

    call: ModelCallStarted


class AwaitBatch(msgspec.Struct, frozen=True):
    """Take up what became of a model call in a batch, or wait until it is known.

    Attributes:
        call: The call. That it was begun does not mean that it is in a batch.
        batch_id: The batch, if the log tells it.
    """

    call: ModelCallStarted
    batch_id: str


class RunTools(msgspec.Struct, frozen=True):
    """Run these tool calls, in parallel."""

    tool_calls: tuple[ToolCallStarted, ...]


class AwaitApprovals(msgspec.Struct, frozen=True):
    """Take up what people have decided about these tool calls, or wait until they have."""

    approvals: tuple[ApprovalRequested, ...]


class EndTools(msgspec.Struct, frozen=True):
    """Give these tool calls, which are not to be sent any more, a result that says so.

    Attributes:
        tool_calls: The calls.
        doubtful_ids: Those of them of which nobody knows whether they were sent.
    """

    tool_calls: tuple[ToolCallStarted, ...]
    doubtful_ids: tuple[str, ...] = ()


class Finish(msgspec.Struct, frozen=True):
    """Settle what is unsettled and end the run."""

    outcome: RunFinished


class Stop(msgspec.Struct, frozen=True):
    """The run has ended; nothing is to be done."""


Action: TypeAlias = (
    CallModel
    | AwaitMoney
    | ResolveLostCall
    | AwaitBatch
    | RunTools
    | AwaitApprovals
    | EndTools
    | Finish
    | Stop
)


CANCELLED_RUN: Final = RunFinished(
    state="cancelled", error="The run was cancelled.", code=CANCELLED_CODE
)


def next_action(state: RunState, max_model_turns: int) -> Action:
    """Returns what is to be done next.

    Args:
        state: The run so far.
        max_model_turns: How many model calls the run may make, at least 1.
    """
    if state.finished is not None:
        return Stop()
    if state.open_call is not None:
        is_batched = state.processing == BATCH
        call = state.open_call
        return AwaitBatch(call, state.batch_id) if is_batched else ResolveLostCall(call)
    if state.cancel is not None:
        calls = (*state.pending_tool_calls, *map(call_of, state.approvals))
        if calls:
            return EndTools(calls, state.doubtful_call_ids)
        return Finish(CANCELLED_RUN)
    if state.failure is not None:
        return Finish(failed_run(state.failure.error, state.failure.code))
    if state.pending_tool_calls:
        return RunTools(state.pending_tool_calls)
    if state.approvals:
        return AwaitApprovals(state.approvals)
    is_answered = state.turn > 0 and state.messages[-1].role == "assistant"
    # A turn that its provider paused goes on by sending what there is of it.
    if is_answered and state.last_stop_reason != "pause_turn":
        return Finish(_answered(state))
    if state.turn >= max_model_turns:
        return Finish(
            failed_run(
                f"The run used its {max_model_turns} model turns without an answer.",
                "LIMIT_EXCEEDED",
            )
        )
    next_call = CallModel(turn=state.turn + 1, attempt=state.tries + 1, refusals=state.refusals)
    return next_call if state.pause is None else AwaitMoney(next_call, state.pause)


def _answered(state: RunState) -> RunFinished:
    response = response_text(state.messages)
    match state.last_stop_reason:
        case "refusal":
            # What it said before it refused is no answer; the history has it.
            detail = f": {state.last_stop_detail}" if state.last_stop_detail else ""
            return failed_run(f"The model refused to answer{detail.rstrip('.')}.", "MODEL_ERROR")
        case "max_tokens":
            limit = "its output limit (max_output_tokens)"
            if state.reduced_max_tokens:
                limit = f"the {state.reduced_max_tokens} output tokens that the budget covered"
            return _cut(response, limit, "LIMIT_EXCEEDED")
        case "model_context_window_exceeded":
            return _cut(response, "the end of its context window", "CONTEXT_LENGTH_EXCEEDED")
    return RunFinished(state="completed", response=response)


def _cut(response: str, where: str, code: str) -> RunFinished:
    error = f"The model's answer was cut at {where}."
    return RunFinished(state="failed", response=response, error=error, code=code)


def failed_run(error: str, code: str) -> RunFinished:
    """Returns how a run ends that did not complete."""
    state = "budget_exceeded" if code == "BUDGET_EXCEEDED" else "failed"
    return RunFinished(state=state, error=error, code=code)

"""What a cancellation did, read from the run's log alone, so that everybody reads the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from agent_executor.errors import OutcomeUnknownError
from agent_executor.executor.log.run import CANCELLED_CODE, fold
from agent_executor.executor.log.run_event import (
    CancelRequested,
    ModelCallFailed,
    Payload,
    RunEvent,
    ToolCallCompleted,
)


class CancelReceipt(msgspec.Struct, frozen=True):
    """What a cancellation did.

    Attributes:
        state: How the run ended.
        was_stopped: Whether it was stopped, by this request or one before it; else it had ended.
        stopped_call_ids: Model calls and tool calls that were under way and were stopped.
        unknown_call_ids: Of these, tool calls of which nobody knows whether they took effect.
        finished_call_ids: Tool calls that had their result before.
        never_begun_call_ids: Tool calls that the model had asked for and that were never sent.
        stopped_run_ids: Runs that it had started, also indirectly, and that were stopped with it.
        cost_nano_usd: What the run cost, without those that it had started.
        released_nano_usd: What was held for it and is free again.
    """

    run_id: str
    state: str
    was_stopped: bool
    stopped_call_ids: tuple[str, ...] = ()
    unknown_call_ids: tuple[str, ...] = ()
    finished_call_ids: tuple[str, ...] = ()
    never_begun_call_ids: tuple[str, ...] = ()
    stopped_run_ids: tuple[str, ...] = ()
    cost_nano_usd: int = 0
    released_nano_usd: int = 0


def child_run_ids(events: Sequence[RunEvent]) -> tuple[str, ...]:
    """Returns the runs that were asked to end together with a run."""
    found = (event.payload for event in events if isinstance(event.payload, CancelRequested))
    return tuple(run_id for cancel in found for run_id in cancel.child_run_ids)


def receipt_of(
    run_id: str, events: Sequence[RunEvent], stopped_run_ids: Sequence[str]
) -> CancelReceipt:
    """Returns the receipt of a run that has ended.

    Args:
        run_id: The run.
        events: Its whole log.
        stopped_run_ids: Those of ``child_run_ids`` that were stopped.
    """
    state, calls = fold(events), _Calls()
    for event in events:
        calls.add(event.payload)
    return CancelReceipt(
        run_id=run_id,
        state=state.state,
        was_stopped=state.state == "cancelled",
        stopped_call_ids=tuple(calls.stopped),
        unknown_call_ids=tuple(calls.unknown),
        finished_call_ids=tuple(calls.finished),
        never_begun_call_ids=tuple(calls.never_begun),
        stopped_run_ids=tuple(stopped_run_ids),
        cost_nano_usd=state.cost_nano_usd,
        released_nano_usd=state.finished.released_nano_usd if state.finished else 0,
    )


@dataclass(slots=True)
class _Calls:
    """What became of a run's calls, in the order in which they ended."""

    is_cancelled: bool = False
    stopped: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    never_begun: list[str] = field(default_factory=list)

    def add(self, payload: Payload) -> None:
        match payload:
            case CancelRequested():
                self.is_cancelled = True
            case ModelCallFailed(code=code) if code == CANCELLED_CODE and not payload.is_refused:
                self.stopped.append(payload.model_call_id)
            case ToolCallCompleted():
                self._add_tool_call(payload)

    def _add_tool_call(self, done: ToolCallCompleted) -> None:
        # Before the request an unknown outcome is a result like any other: the model was told.
        is_unknown = self.is_cancelled and done.code == OutcomeUnknownError.reason
        if not done.was_begun:
            self.never_begun.append(done.tool_call_id)
        elif is_unknown or done.code == CANCELLED_CODE:
            self.stopped.append(done.tool_call_id)
        else:
            self.finished.append(done.tool_call_id)
        if is_unknown:
            self.unknown.append(done.tool_call_id)

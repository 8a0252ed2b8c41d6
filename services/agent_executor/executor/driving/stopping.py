"""What becomes of a run's calls when the run is to end, and what is free again afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from agent_executor.errors import AgentExecutorError, CancelledRunError, OutcomeUnknownError
from agent_executor.executor.driving.driven_run import DrivenRun
from agent_executor.executor.log.next_action import EndTools
from agent_executor.executor.log.run import CANCELLED_CODE
from agent_executor.executor.log.run_event import ToolCallCompleted, ToolCallStarted
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.model_calls.late_releases import PROMPT_SECONDS
from agent_executor.executor.model_calls.purpose import BYTES_PER_ESTIMATED_TOKEN
from agent_executor.executor.models.model import DeltaListener, ModelDelta, ModelUsage
from agent_executor.executor.peers.ledger import FoundHold, Ledger
from agent_executor.executor.peers.tools import ToolOutcome, ToolRequest, ToolRunner
from agent_executor.serving.cancellation import WAS_BEGUN_KEY
from agent_executor.serving.security import SecurityContext

NEVER_BEGUN: Final = "The call was never begun: the run was cancelled."
_DOUBTFUL: Final = (
    "The executor ended while the tool may have run, and the run was cancelled. Whether the tool "
    "took effect is not known."
)
_STOPPED_CODES: Final = (CANCELLED_CODE, OutcomeUnknownError.reason)


class DeliveredText:
    """Counts what a model has written so far, and hands it on.

    Args:
        reader: Who reads it; None if nobody does.

    Attributes:
        size_bytes: Of all texts, in UTF-8.
    """

    def __init__(self, reader: DeltaListener | None) -> None:
        self._reader = reader
        self.size_bytes = 0

    def __call__(self, delta: ModelDelta) -> None:
        """Takes a piece of the answer."""
        self.size_bytes += len(delta.text.encode(errors="replace"))
        if self._reader is not None:
            self._reader(delta)

    def usage(self, input_usage: ModelUsage) -> ModelUsage:
        """Returns about what a call has cost that was broken off, given what its input costs."""
        output_tokens = -(-self.size_bytes // BYTES_PER_ESTIMATED_TOKEN)
        return ModelUsage(input_tokens=input_usage.input_tokens, output_tokens=output_tokens)


async def end_tools(
    driven: DrivenRun, action: EndTools, tools: ToolRunner, now_ms: Callable[[], int]
) -> None:
    """Logs the end of tool calls that nobody sends any more.

    Those that a driver before this one may have sent are stopped first, and what the tool-runner then
    says of them is their end.
    """
    log = driven.log
    doubtful = [call for call in action.tool_calls if call.tool_call_id in action.doubtful_ids]
    ends = await asyncio.gather(*(_end_of(driven, call, tools, now_ms) for call in doubtful))
    for end in ends:
        log.add(end)
    for call in action.tool_calls:
        if call.tool_call_id not in action.doubtful_ids:
            log.add(never_begun_call(call, now_ms()))


async def _end_of(
    driven: DrivenRun, call: ToolCallStarted, tools: ToolRunner, now_ms: Callable[[], int]
) -> ToolCallCompleted:
    """Stops a tool call that may be under way, and returns what is known of it."""
    try:
        outcome = await tools.stop(request_of(driven, call), driven.security)
    except CancelledRunError as error:
        return stopped_call(call, error, now_ms())
    except AgentExecutorError:
        outcome = None
    if outcome is None:
        return stopped_call(call, OutcomeUnknownError(_DOUBTFUL), now_ms())
    return completed_call(call, outcome)


def request_of(driven: DrivenRun, call: ToolCallStarted) -> ToolRequest:
    """Returns what the tool-runner is asked for a tool call of a run."""
    run = driven.log.run
    return ToolRequest(
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        arguments_json=call.arguments_json,
        run_id=run.run_id,
        agent_id=run.agent_id,
        is_test=run.is_test,
        tool_version=driven.log.state.tool_versions.get(call.tool_name, ""),
    )


def completed_call(call: ToolCallStarted, outcome: ToolOutcome) -> ToolCallCompleted:
    """Returns the end of a tool call that the tool-runner tells."""
    return ToolCallCompleted(
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        success=outcome.success,
        result_json=outcome.result_json,
        error=outcome.error,
        code=outcome.code,
        timestamp_ms=outcome.timestamp_ms,
    )


def never_begun_call(call: ToolCallStarted, now_ms: int) -> ToolCallCompleted:
    """Returns the end of a tool call that was not sent, since the run is to end."""
    error = CancelledRunError(NEVER_BEGUN, metadata={WAS_BEGUN_KEY: "false"})
    return stopped_call(call, error, now_ms)


def stopped_call(
    call: ToolCallStarted, error: AgentExecutorError, now_ms: int
) -> ToolCallCompleted:
    """Returns the end of a tool call that was stopped."""
    return ToolCallCompleted(
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        success=False,
        result_json="null",
        error=error.message,
        code=error.reason,
        timestamp_ms=now_ms,
        was_begun=error.metadata.get(WAS_BEGUN_KEY) != "false",
    )


def add_result(log: RunLog, result: ToolCallCompleted) -> None:
    """Logs the result of a tool call, and before the first that was stopped the reason for it."""
    if log.stop.is_set and result.code in _STOPPED_CODES:
        log.note_cancel()
    log.add(result)


async def released_nano_usd(ledger: Ledger, log: RunLog, security: SecurityContext) -> int:
    """Returns what was held for a run that was cancelled, and is free again.

    It is what its amount was not spent of or, without an amount of its own, what the hold of the
    model call that was stopped was not spent of. If the ledger does not tell at once, it is 0.
    """
    run, stopped = log.run, log.state.stopped_call
    has_amount = run.amount_id == run.run_id
    hold_id = run.run_id if has_amount else stopped.model_call_id if stopped is not None else ""
    if not hold_id:
        return 0
    found: FoundHold | None = None
    with contextlib.suppress(TimeoutError, AgentExecutorError):
        async with asyncio.timeout(PROMPT_SECONDS):
            found = await ledger.find_hold(hold_id, security)
    if found is None:
        return 0
    spent = found.spent_nano_usd if has_amount else log.state.stopped_cost_nano_usd
    return max(0, found.held_nano_usd - spent)

"""One attempt at a tool call: from its record, through the policy, to its result and its audit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from opentelemetry.context import Context

from agent_executor.errors import (
    AgentExecutorError,
    CancelledRunError,
    DeadlineExceededError,
    OutcomeUnknownError,
    SandboxUnavailableError,
    ToolCallConflictError,
    UnavailableError,
)
from agent_executor.tool_runner.calls.attempt import Attempt
from agent_executor.tool_runner.calls.record import CallRecord, CallRecords
from agent_executor.tool_runner.calls.telemetry import CallObservation, CallTelemetry
from agent_executor.tool_runner.calls.tool_call import ToolCall, ToolResult, failure_of
from agent_executor.tool_runner.calls.tool_execution import ToolExecution
from agent_executor.tool_runner.isolation.failure import LIMIT_KEY
from agent_executor.tool_runner.isolation.worker_queue import QUEUED_CALLS
from agent_executor.tool_runner.policy.call_policy import Admitted, CallPolicy, Refusal

RECENT_CALLS_MAX: Final = 10_000
STORAGE_RETRY_SECONDS: Final = 0.5

UNKNOWN_OUTCOME: Final = (
    "The tool was stopped while it ran. Whether it took effect is not known, so it is not run "
    "again."
)
# What ended a tool before it could say what it did.
_STOPPED: Final = frozenset({DeadlineExceededError.reason, OutcomeUnknownError.reason})


class CallAttempts:
    """Makes attempts, each for a task of its own, and writes what came of them.

    Args:
        policy: What a call must pass.
        records: Remembers calls and takes the audit log.
        execution: Runs the tools.
        telemetry: Tells of calls.
        clock: Seconds since 1970-01-01 UTC.
        monotonic: Seconds of a clock that is never set, for durations.
        storage_patience_seconds: How long what a tool did waits to be written while the storage
            fails; what only reads waits for nothing.
    """

    def __init__(
        self,
        *,
        policy: CallPolicy,
        records: CallRecords,
        execution: ToolExecution,
        telemetry: CallTelemetry,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        storage_patience_seconds: float = 0.0,
    ) -> None:
        self._policy = policy
        self._records = records
        self._execution = execution
        self._telemetry = telemetry
        self._clock = clock
        self._monotonic = monotonic
        self._storage_patience_seconds = storage_patience_seconds
        # Calls that this process has made, so that their repeats cost nothing of a rate limit.
        self._recent: dict[tuple[str, str], None] = {}

    async def make(self, attempt: Attempt, parent: Context | None) -> ToolResult:
        """Returns the result that the call has, or runs its tool.

        Raises:
            ToolCallConflictError: A call of this id exists with another tool or other arguments.
            UnavailableError: The storage failed, or another tool-runner may be running this call.
        """
        with self._telemetry.observe(attempt, parent) as observed:
            attempt.trace_id = observed.trace_id
            # A quick tool is run first: the write of its result finds out if there is one already.
            is_new = self._policy.is_quick(attempt.call) and attempt.key not in self._recent
            known = None if is_new else await self._known_result(attempt, observed)
            if known is not None:
                return known
            decision = await self._policy.admit(attempt)
            if isinstance(decision, Admitted) or attempt.tool_version:
                observed.found()
            if isinstance(decision, Admitted):
                return await self._perform(attempt, decision, observed)
            if is_new:
                known = await self._known_result(attempt, observed)
            return known or await self.refuse(attempt, decision, observed)

    async def refuse(
        self, attempt: Attempt, refusal: Refusal, observed: CallObservation
    ) -> ToolResult:
        """Records a call that may not be made and returns its result."""
        attempt.trace_id = observed.trace_id
        now_ms = self._now_ms()
        error = refusal.error
        observed.ended(error.reason)
        self._telemetry.refused(refusal.rule, error)
        await self._records.append_audit_record(attempt.refused(refusal.rule, error.reason, now_ms))
        return failure_of(attempt.call, error, now_ms)

    async def refuse_conflict(self, attempt: Attempt) -> None:
        """Records a call under the id of another one.

        Raises:
            ToolCallConflictError: Always.
        """
        error = ToolCallConflictError(
            "A tool call of this id exists with another tool or other arguments.",
            tool_name=attempt.call.tool_name,
        )
        self._telemetry.refused("call_record", error)
        await self._records.append_audit_record(
            attempt.refused("call_record", error.reason, self._now_ms())
        )
        raise error

    async def repeat(
        self, attempt: Attempt, result: ToolResult, observed: CallObservation
    ) -> ToolResult:
        """Records a call that gets the result of an earlier one, and returns that."""
        await self._records.append_audit_record(attempt.replayed(result, self._now_ms()))
        observed.ended(result.code)
        return result

    async def known(self, attempt: Attempt) -> ToolResult | None:
        """Returns the result that a call has which does not run here; None if it has none.

        Raises:
            ToolCallConflictError: A call of this id exists with another tool or other arguments.
            UnavailableError: The storage failed, or another tool-runner may be running this call.
        """
        record = await self._records.find(*attempt.key)
        if record is None:
            return None
        if not attempt.is_same_call(record.tool_name, record.arguments_sha256):
            await self.refuse_conflict(attempt)
        return record.result or await self._settled(record)

    async def may_run_elsewhere(self, intent: CallRecord) -> bool:
        """Tells whether another tool-runner may still be at work on a call without a result.

        Raises:
            UnavailableError: The storage failed.
        """
        records = self._records
        if self._now_ms() >= intent.started_at_ms + records.others_run_seconds * 1000:
            return False
        # What this process dispatched and does not run any more has ended without a record.
        is_own = bool(intent.runner_id) and intent.runner_id == records.runner_id
        return not is_own and await records.is_alive(intent.runner_id)

    async def settle_lost(self, record: CallRecord) -> ToolResult | None:
        """Records what is known of a call whose attempt ended unseen; returns its result if any."""
        now_ms = self._now_ms()
        attempt = Attempt.of_lost(record)
        if record.effect != "unsafe":
            audit = attempt.lost("error", OutcomeUnknownError.reason, now_ms)
            await self._records.forget(record, audit)
            return None
        settled = _with_unknown_outcome(record, now_ms)
        audit = attempt.lost("unknown", OutcomeUnknownError.reason, now_ms)
        await self._records.finish(settled, audit)
        return settled.result

    async def _known_result(self, attempt: Attempt, observed: CallObservation) -> ToolResult | None:
        record = await self._records.find(*attempt.key)
        return None if record is None else await self._replay(record, attempt, observed)

    async def _replay(
        self, record: CallRecord, attempt: Attempt, observed: CallObservation
    ) -> ToolResult | None:
        """Returns the result that the call has; None if it has none and may run again."""
        if not attempt.is_same_call(record.tool_name, record.arguments_sha256):
            observed.replayed(attempt.call.tool_name)
            await self.refuse_conflict(attempt)
        result = record.result or await self._settled(record)
        if result is None:
            return None
        observed.replayed(attempt.call.tool_name)
        return await self.repeat(attempt, result, observed)

    async def _settled(self, record: CallRecord) -> ToolResult | None:
        """Settles a call without a result, unless another process may be at work on it."""
        if await self.may_run_elsewhere(record):
            raise UnavailableError(
                "Another tool-runner may be running this call; ask again for its result.",
                tool_name=record.tool_name,
                retry_after_seconds=1.0,
            )
        # Its process died, or could not write the result.
        return await self.settle_lost(record)

    async def _perform(
        self, attempt: Attempt, admitted: Admitted, observed: CallObservation
    ) -> ToolResult:
        """Runs the tool and writes what came of it, unless the call has a result by now."""
        effect = admitted.effect
        record = attempt.record(effect, self._now_ms(), self._records.runner_id)
        if effect != "read_only":
            known = await self._begin(record, attempt, observed)
            if known is not None:
                return known
        try:
            result = await self._run(attempt, admitted, observed)
        except asyncio.CancelledError:
            with contextlib.suppress(UnavailableError):
                await self._interrupt(record, attempt)
            raise
        audit = attempt.performed(result, self._now_ms())
        if not attempt.was_run or (result.code in _STOPPED and effect != "unsafe"):
            await self._records.forget(record, audit)
            return result
        self._remember(attempt)
        finished = msgspec.structs.replace(record, result=result)
        patient = effect != "read_only"
        first = await self._written(lambda: self._records.finish(finished, audit), patient=patient)
        if first is None:
            return result
        return await self._replay(first, attempt, observed) or result

    async def _begin(
        self, record: CallRecord, attempt: Attempt, observed: CallObservation
    ) -> ToolResult | None:
        """Writes the intent; returns the result of the call if another process had one first."""
        writing = self._written(lambda: self._records.begin(record), patient=True)
        beginning = asyncio.ensure_future(writing)
        try:
            first = await asyncio.shield(beginning)
        except asyncio.CancelledError:
            # The intent is written all the same. Nothing was run, which is known here and now only.
            with contextlib.suppress(UnavailableError):
                if await beginning is None:
                    audit = attempt.lost("none", CancelledRunError.reason, self._now_ms())
                    await self._records.forget(record, audit)
            raise
        # One that is equal was written by this very try, whose answer was lost.
        if first is None or first == record:
            return None
        known = await self._replay(first, attempt, observed)
        return known or await self._begin(record, attempt, observed)

    async def _run(
        self, attempt: Attempt, admitted: Admitted, observed: CallObservation
    ) -> ToolResult:
        """Runs the tool."""
        call = attempt.call
        failure: AgentExecutorError | None = None
        result_json = ""
        started = self._monotonic()
        try:
            result_json = await self._execution.run(attempt, admitted)
        except AgentExecutorError as error:
            failure = error
            attempt.was_run = not _is_before_the_tool(error)
            if isinstance(error, DeadlineExceededError) and admitted.effect == "unsafe":
                failure = _with_unknown_effect(error)
        finally:
            duration_seconds = self._monotonic() - started
            observed.dispatched(duration_seconds)
        duration_ms = round(duration_seconds * 1000)
        if failure is not None:
            observed.ended(failure.reason)
            return failure_of(call, failure, self._now_ms(), duration_ms)
        observed.resulted(result_json)
        return attempt.success(result_json, self._now_ms(), duration_ms)

    async def _written(
        self, write: Callable[[], Awaitable[CallRecord | None]], *, patient: bool
    ) -> CallRecord | None:
        """Writes; a patient one waits for a storage that fails, so that what is known is not lost."""
        gives_up_at = self._monotonic() + (self._storage_patience_seconds if patient else 0.0)
        while True:
            try:
                return await write()
            except UnavailableError:
                if self._monotonic() + STORAGE_RETRY_SECONDS > gives_up_at:
                    raise
            await asyncio.sleep(STORAGE_RETRY_SECONDS)

    def _remember(self, attempt: Attempt) -> None:
        self._recent[attempt.key] = None
        if len(self._recent) > RECENT_CALLS_MAX:
            del self._recent[next(iter(self._recent))]

    async def _interrupt(self, record: CallRecord, attempt: Attempt) -> None:
        """Records that a call was stopped while its tool ran."""
        now_ms = self._now_ms()
        if record.effect == "unsafe":
            audit = attempt.lost("unknown", CancelledRunError.reason, now_ms)
            settled = _with_unknown_outcome(record, now_ms)
            attempt.interrupted = settled.result
            await self._records.finish(settled, audit)
        else:
            audit = attempt.lost("error", CancelledRunError.reason, now_ms)
            await self._records.forget(record, audit)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _with_unknown_outcome(record: CallRecord, now_ms: int) -> CallRecord:
    call = ToolCall(tool_call_id=record.tool_call_id, tool_name=record.tool_name, arguments_json="")
    error = OutcomeUnknownError(UNKNOWN_OUTCOME, tool_name=record.tool_name)
    duration_ms = max(now_ms - record.started_at_ms, 0)
    return msgspec.structs.replace(record, result=failure_of(call, error, now_ms, duration_ms))


def _is_before_the_tool(error: AgentExecutorError) -> bool:
    """Tells whether the sandbox refused a call that no tool has seen; its repeat may go through."""
    return (
        isinstance(error, SandboxUnavailableError) or error.metadata.get(LIMIT_KEY) == QUEUED_CALLS
    )


def _with_unknown_effect(error: DeadlineExceededError) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"{error.message} Whether it took effect is not known, so it is not run again.",
        tool_name=error.tool_name,
    )

"""Tool calls: each is made at most once per id, recorded, audited and told of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from opentelemetry.context import Context

from agent_executor.errors import (
    AgentExecutorError,
    CancelledRunError,
    DeadlineExceededError,
    LimitExceededError,
    ToolCallConflictError,
    ToolExecutionError,
    UnavailableError,
)
from agent_executor.serving.cancellation import is_connection_lost
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.attempt import Attempt
from agent_executor.tool_runner.call_record import CallRecord, CallRecords
from agent_executor.tool_runner.call_telemetry import CallObservation, CallTelemetry
from agent_executor.tool_runner.dispatch import Dispatcher
from agent_executor.tool_runner.policy import Admitted, CallPolicy, Refusal
from agent_executor.tool_runner.tool_call import ToolCall, ToolResult, failure_of

DEFAULT_TIMEOUT_SECONDS: Final = 60.0
DEFAULT_CONCURRENT_CALLS_MAX: Final = 1_000
RECENT_CALLS_MAX: Final = 10_000

UNKNOWN_OUTCOME: Final = (
    "The tool was stopped while it ran. Whether it took effect is not known, so it is not run "
    "again."
)


@dataclass(slots=True)
class _Running:
    """An attempt that runs, and how many callers wait for it."""

    attempt: Attempt
    task: asyncio.Task[ToolResult]
    waiting: int = 0


class ToolCalls:
    """Makes tool calls. Calls of one id that come while it runs share one execution.

    Args:
        policy: What a call must pass.
        records: Remembers calls and takes the audit log.
        dispatcher: Runs the tools.
        telemetry: Tells of calls.
        timeout_seconds: How long a tool may run; a caller may ask for less.
        concurrent_calls_max: How many calls may run at the same time.
        clock: Seconds since 1970-01-01 UTC.
        monotonic: Seconds of a clock that is never set, for durations.
    """

    def __init__(
        self,
        *,
        policy: CallPolicy,
        records: CallRecords,
        dispatcher: Dispatcher,
        telemetry: CallTelemetry,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        concurrent_calls_max: int = DEFAULT_CONCURRENT_CALLS_MAX,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._policy = policy
        self._records = records
        self._dispatcher = dispatcher
        self._telemetry = telemetry
        self._timeout_seconds = timeout_seconds
        self._concurrent_calls_max = concurrent_calls_max
        self._clock = clock
        self._monotonic = monotonic
        self._running: dict[tuple[str, str], _Running] = {}
        # Calls that this process has made, so that their repeats cost nothing of a rate limit.
        self._recent: dict[tuple[str, str], None] = {}
        self._closed = False

    async def execute(
        self, call: ToolCall, security: SecurityContext, *, parent: Context | None = None
    ) -> ToolResult:
        """Makes a call, or returns the result that it has.

        A call that is refused or whose tool fails is a result without success. A caller that is
        cancelled stops the tool, unless others wait for the same call; a caller whose connection
        is lost does not, for it will ask again, and the tool ends in its own time.

        Args:
            call: The call.
            security: The caller.
            parent: The trace context of the caller. Default: that of the running task.

        Raises:
            ToolCallConflictError: A call of this id exists with another tool or other arguments.
            LimitExceededError: Too many calls run at present.
            UnavailableError: The storage failed, the tool-runner is stopping, or another one may
                be running this call.
        """
        attempt = Attempt(call, security)
        refusal = self._policy.check_permission(call, security)
        if refusal is not None:
            with self._telemetry.observe(call, parent) as observed:
                return await self._refuse(attempt, refusal, observed)
        running = self._running.get(attempt.key)
        if running is None:
            return await self._wait_for(self._start(attempt, parent))
        with self._telemetry.observe(call, parent) as observed:
            return await self._join(running, attempt, observed)

    async def recover(self) -> None:
        """Settles the calls that a process that died has left; to be called before any other.

        Raises:
            UnavailableError: The storage failed.
        """
        for record in await self._records.unfinished():
            if not self._may_run_elsewhere(record):
                await self._settle_lost(record)

    async def close(self) -> None:
        """Stops what runs, records that it was stopped, and refuses later calls."""
        self._closed = True
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, attempt: Attempt, parent: Context | None) -> _Running:
        if self._closed:
            raise UnavailableError("The tool-runner is stopping.")
        if len(self._running) >= self._concurrent_calls_max:
            raise LimitExceededError(
                f"{self._concurrent_calls_max} tool calls run at present, which is the limit.",
                metadata={"concurrentCallsMax": str(self._concurrent_calls_max)},
                tool_name=attempt.call.tool_name,
                retry_after_seconds=1.0,
            )
        # A task of its own, for it lives as long as anyone waits for it, whoever came first.
        task = asyncio.create_task(self._run(attempt, parent))
        running = self._running[attempt.key] = _Running(attempt, task)
        task.add_done_callback(lambda done: self._forget_task(attempt.key, done))
        return running

    def _forget_task(self, key: tuple[str, str], task: asyncio.Task[ToolResult]) -> None:
        del self._running[key]
        if not task.cancelled():
            # Whoever waited has it; nobody else is to be warned of it.
            task.exception()

    async def _wait_for(self, running: _Running) -> ToolResult:
        running.waiting += 1
        try:
            return await asyncio.shield(running.task)
        except asyncio.CancelledError as cancelled:
            waiter = asyncio.current_task()
            if running.task.cancelled() and waiter is not None and not waiter.cancelling():
                raise UnavailableError(
                    "The tool-runner is stopping.", tool_name=running.attempt.call.tool_name
                ) from None
            if running.waiting == 1 and not is_connection_lost(cancelled):
                running.task.cancel()
            raise
        finally:
            running.waiting -= 1

    async def _join(
        self, running: _Running, attempt: Attempt, observed: CallObservation
    ) -> ToolResult:
        """Waits for an execution of the same call that another caller began."""
        attempt.trace_id = observed.trace_id
        observed.replayed(attempt.call.tool_name)
        if not attempt.is_same_call(running.attempt.call.tool_name, running.attempt.sha256):
            await self._refuse_conflict(attempt)
        result = await self._wait_for(running)
        await self._records.append_audit_record(attempt.replayed(result, self._now_ms()))
        observed.ended(result.code)
        return result

    async def _run(self, attempt: Attempt, parent: Context | None) -> ToolResult:
        with self._telemetry.observe(attempt.call, parent) as observed:
            attempt.trace_id = observed.trace_id
            # A quick tool is run first: the write of its result finds out if there is one already.
            is_new = self._policy.is_quick(attempt.call) and attempt.key not in self._recent
            known = None if is_new else await self._known_result(attempt, observed)
            if known is not None:
                return known
            decision = self._policy.admit(attempt.call, attempt.arguments_bytes, attempt.security)
            if isinstance(decision, Admitted):
                return await self._perform(attempt, decision, observed)
            if is_new:
                known = await self._known_result(attempt, observed)
            return known or await self._refuse(attempt, decision, observed)

    async def _known_result(self, attempt: Attempt, observed: CallObservation) -> ToolResult | None:
        record = await self._records.find(*attempt.key)
        return None if record is None else await self._replay(record, attempt, observed)

    async def _replay(
        self, record: CallRecord, attempt: Attempt, observed: CallObservation
    ) -> ToolResult | None:
        """Returns the result that the call has; None if it has none and may run again."""
        if not attempt.is_same_call(record.tool_name, record.arguments_sha256):
            observed.replayed(attempt.call.tool_name)
            await self._refuse_conflict(attempt)
        result = record.result
        if result is None:
            if self._may_run_elsewhere(record):
                raise UnavailableError(
                    "Another tool-runner may be running this call; ask again for its result.",
                    tool_name=record.tool_name,
                    retry_after_seconds=1.0,
                )
            # Its process died, or could not write the result.
            result = await self._settle_lost(record)
            if result is None:
                return None
        observed.replayed(attempt.call.tool_name)
        await self._records.append_audit_record(attempt.replayed(result, self._now_ms()))
        observed.ended(result.code)
        return result

    async def _perform(
        self, attempt: Attempt, admitted: Admitted, observed: CallObservation
    ) -> ToolResult:
        """Runs the tool and writes what came of it, unless the call has a result by now."""
        effect = admitted.tool.effect
        record = attempt.record(effect, self._now_ms())
        if effect != "read_only":
            known = await self._begin(record, attempt, observed)
            if known is not None:
                return known
        try:
            result = await self._dispatch(attempt, admitted, observed)
        except asyncio.CancelledError:
            await self._interrupt(record, attempt)
            raise
        audit = attempt.performed(result, self._now_ms())
        if result.code == DeadlineExceededError.reason and effect != "unsafe":
            await self._records.forget(record, audit)
            return result
        self._remember(attempt)
        first = await self._records.finish(msgspec.structs.replace(record, result=result), audit)
        if first is None:
            return result
        return await self._replay(first, attempt, observed) or result

    async def _begin(
        self, record: CallRecord, attempt: Attempt, observed: CallObservation
    ) -> ToolResult | None:
        """Writes the intent; returns the result of the call if another process had one first."""
        first = await self._records.begin(record)
        if first is None:
            return None
        known = await self._replay(first, attempt, observed)
        return known or await self._begin(record, attempt, observed)

    def _may_run_elsewhere(self, intent: CallRecord) -> bool:
        return self._now_ms() < intent.started_at_ms + self._records.others_run_seconds * 1000

    async def _dispatch(
        self, attempt: Attempt, admitted: Admitted, observed: CallObservation
    ) -> ToolResult:
        """Runs the tool."""
        call, tool = attempt.call, admitted.tool
        timeout_seconds = self._timeout_seconds
        if call.timeout_seconds is not None:
            timeout_seconds = min(call.timeout_seconds, timeout_seconds)
        failure: AgentExecutorError | None = None
        result_json = ""
        started = self._monotonic()
        try:
            result_json = await self._dispatcher.run(tool, admitted.arguments, timeout_seconds)
        except AgentExecutorError as error:
            failure = error
            if isinstance(error, DeadlineExceededError) and tool.effect == "unsafe":
                failure = _with_unknown_effect(error)
        finally:
            duration_seconds = self._monotonic() - started
            observed.dispatched(duration_seconds)
        duration_ms = round(duration_seconds * 1000)
        if failure is not None:
            observed.ended(failure.reason)
            return failure_of(call, failure, self._now_ms(), duration_ms)
        return attempt.success(result_json, self._now_ms(), duration_ms)

    def _remember(self, attempt: Attempt) -> None:
        self._recent[attempt.key] = None
        if len(self._recent) > RECENT_CALLS_MAX:
            del self._recent[next(iter(self._recent))]

    async def _interrupt(self, record: CallRecord, attempt: Attempt) -> None:
        """Records that a call was stopped while its tool ran."""
        now_ms = self._now_ms()
        audit = attempt.lost(CancelledRunError.reason, now_ms)
        if record.effect == "unsafe":
            await self._records.finish(_with_unknown_outcome(record, now_ms), audit)
        else:
            await self._records.forget(record, audit)

    async def _settle_lost(self, record: CallRecord) -> ToolResult | None:
        """Records what is known of a call whose attempt ended unseen; returns its result if any."""
        now_ms = self._now_ms()
        audit = Attempt.of_lost(record).lost(ToolExecutionError.reason, now_ms)
        if record.effect != "unsafe":
            await self._records.forget(record, audit)
            return None
        settled = _with_unknown_outcome(record, now_ms)
        await self._records.finish(settled, audit)
        return settled.result

    async def _refuse(
        self, attempt: Attempt, refusal: Refusal, observed: CallObservation
    ) -> ToolResult:
        attempt.trace_id = observed.trace_id
        now_ms = self._now_ms()
        error = refusal.error
        observed.ended(error.reason)
        await self._records.append_audit_record(attempt.refused(refusal.rule, error.reason, now_ms))
        return failure_of(attempt.call, error, now_ms)

    async def _refuse_conflict(self, attempt: Attempt) -> None:
        error = ToolCallConflictError(
            "A tool call of this id exists with another tool or other arguments.",
            tool_name=attempt.call.tool_name,
        )
        await self._records.append_audit_record(
            attempt.refused("call_record", error.reason, self._now_ms())
        )
        raise error

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _with_unknown_outcome(record: CallRecord, now_ms: int) -> CallRecord:
    call = ToolCall(tool_call_id=record.tool_call_id, tool_name=record.tool_name, arguments_json="")
    error = ToolExecutionError(UNKNOWN_OUTCOME, tool_name=record.tool_name)
    duration_ms = max(now_ms - record.started_at_ms, 0)
    return msgspec.structs.replace(record, result=failure_of(call, error, now_ms, duration_ms))


def _with_unknown_effect(error: DeadlineExceededError) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"{error.message} Whether it took effect is not known, so it is not run again.",
        tool_name=error.tool_name,
    )

"""Tool calls: each is made at most once per id, however many ask for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context

from agent_executor.errors import (
    CancelledRunError,
    LimitExceededError,
    OutcomeUnknownError,
    UnavailableError,
)
from agent_executor.serving.cancellation import is_connection_lost, is_stop
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.calls.attempt import Attempt
from agent_executor.tool_runner.calls.attempts import CallAttempts
from agent_executor.tool_runner.calls.record import CallRecords
from agent_executor.tool_runner.calls.telemetry import CallObservation, CallTelemetry
from agent_executor.tool_runner.calls.tool_call import ToolCall, ToolResult
from agent_executor.tool_runner.calls.tool_execution import ToolExecution
from agent_executor.tool_runner.policy.call_policy import CallPolicy, Refusal

DEFAULT_CONCURRENT_CALLS_MAX: Final = 1_000


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
        execution: Runs the tools.
        telemetry: Tells of calls.
        concurrent_calls_max: How many calls may run at the same time.
        clock: Seconds since 1970-01-01 UTC.
        monotonic: Seconds of a clock that is never set, for durations.
        storage_patience_seconds: How long what a tool did waits to be written while the storage
            fails.
    """

    def __init__(
        self,
        *,
        policy: CallPolicy,
        records: CallRecords,
        execution: ToolExecution,
        telemetry: CallTelemetry,
        concurrent_calls_max: int = DEFAULT_CONCURRENT_CALLS_MAX,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.perf_counter,
        storage_patience_seconds: float = 0.0,
    ) -> None:
        self._attempts = CallAttempts(
            policy=policy,
            records=records,
            execution=execution,
            telemetry=telemetry,
            clock=clock,
            monotonic=monotonic,
            storage_patience_seconds=storage_patience_seconds,
        )
        self._policy = policy
        self._records = records
        self._telemetry = telemetry
        self._concurrent_calls_max = concurrent_calls_max
        self._running: dict[tuple[str, str], _Running] = {}
        self._closed = False

    async def execute(
        self, call: ToolCall, security: SecurityContext, *, parent: Context | None = None
    ) -> ToolResult:
        """Makes a call, or returns the result that it has.

        A call that is refused or whose tool fails is a result without success. A caller that is
        cancelled stops the tool, unless others wait for the same call; a caller whose connection
        is lost does not, for it will ask again, and the tool ends in its own time. A caller that
        stops the call (``CALLER_STOPS``) is answered what came of it.

        Args:
            call: The call.
            security: The caller.
            parent: The trace context of the caller. Default: that of the running task.

        Raises:
            ToolCallConflictError: A call of this id exists with another tool or other arguments.
            LimitExceededError: Too many calls run at present.
            UnavailableError: The storage failed, the tool-runner is stopping, or another one may
                be running this call.
            CancelledRunError: The caller stopped the tool, which is known to have changed nothing,
                or whose effect a repeat does not double.
            OutcomeUnknownError: The caller stopped waiting; the tool goes on for others.
        """
        attempt = Attempt(call, security)
        refusal = self._policy.check_permission(call, security)
        if refusal is not None:
            with self._telemetry.observe(attempt, parent) as observed:
                return await self._attempts.refuse(attempt, refusal, observed)
        running = self._running.get(attempt.key)
        if running is None and self._closed:
            raise self._unavailable(call.tool_name)
        if running is None and len(self._running) < self._concurrent_calls_max:
            return await self._wait_for(self._start(attempt, parent))
        with self._telemetry.observe(attempt, parent) as observed:
            if running is not None:
                return await self._join(running, attempt, observed)
            refusal = self._too_many(call.tool_name)
            await self._attempts.refuse(attempt, refusal, observed)
            # It is no result, for the same call may be made a moment later.
            raise refusal.error

    async def stop(self, call: ToolCall, security: SecurityContext) -> ToolResult | None:
        """Stops a call whoever waits for it, and runs nothing.

        Returns:
            What came of it; None if nothing is known of it: it has not begun, or left nothing behind.

        Raises:
            PermissionDeniedError: The caller may not use the tool.
            ToolCallConflictError: A call of this id exists with another tool or other arguments.
            UnavailableError: The storage failed, or another tool-runner may be running this call.
            CancelledRunError: The tool was stopped, which is known to have changed nothing, or whose
                effect a repeat does not double.
        """
        attempt = Attempt(call, security)
        refusal = self._policy.check_permission(call, security)
        if refusal is not None:
            raise refusal.error
        running = self._running.get(attempt.key)
        if running is None:
            return await self._attempts.known(attempt)
        if not attempt.is_same_call(running.attempt.call.tool_name, running.attempt.sha256):
            await self._attempts.refuse_conflict(attempt)
        running.task.cancel()
        return await _ended(running)

    async def recover(self) -> None:
        """Settles the calls that a process that died has left; to be called before any other.

        Raises:
            UnavailableError: The storage failed.
        """
        for record in await self._records.unfinished():
            if not await self._attempts.may_run_elsewhere(record):
                await self._attempts.settle_lost(record)

    async def close(self) -> None:
        """Stops what runs, records that it was stopped, and refuses later calls."""
        self._closed = True
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, attempt: Attempt, parent: Context | None) -> _Running:
        # A task of its own, for it lives as long as anyone waits for it, whoever came first.
        task = asyncio.create_task(self._attempts.make(attempt, parent))
        running = self._running[attempt.key] = _Running(attempt, task)
        task.add_done_callback(lambda done: self._forget_task(attempt.key, done))
        return running

    def _too_many(self, tool_name: str) -> Refusal:
        error = LimitExceededError(
            f"{self._concurrent_calls_max} tool calls run at present, which is the limit.",
            metadata={"concurrentCallsMax": str(self._concurrent_calls_max)},
            tool_name=tool_name,
            retry_after_seconds=1.0,
        )
        return Refusal("concurrency", error)

    def _forget_task(self, key: tuple[str, str], task: asyncio.Task[ToolResult]) -> None:
        del self._running[key]
        if not task.cancelled():
            # Whoever waited has it; nobody else is to be warned of it.
            task.exception()

    def _unavailable(self, tool_name: str) -> UnavailableError:
        message = (
            "The tool-runner is stopping."
            if self._closed
            else "The call was stopped for another who asked for it; ask again for its result."
        )
        return UnavailableError(message, tool_name=tool_name)

    async def _wait_for(self, running: _Running) -> ToolResult:
        running.waiting += 1
        try:
            return await asyncio.shield(running.task)
        except asyncio.CancelledError as cancelled:
            waiter = asyncio.current_task()
            if running.task.cancelled() and waiter is not None and not waiter.cancelling():
                raise self._unavailable(running.attempt.call.tool_name) from None
            is_alone = running.waiting == 1
            if is_alone and not is_connection_lost(cancelled):
                running.task.cancel()
            if waiter is None or not is_stop(cancelled):
                raise
            waiter.uncancel()
            return await self._stopped(running, is_alone=is_alone)
        finally:
            running.waiting -= 1

    async def _stopped(self, running: _Running, *, is_alone: bool) -> ToolResult:
        """Returns what came of a call that its caller has stopped."""
        if not is_alone:
            raise OutcomeUnknownError(
                "The tool goes on, since another caller waits for it.",
                tool_name=running.attempt.call.tool_name,
            )
        return await _ended(running)

    async def _join(
        self, running: _Running, attempt: Attempt, observed: CallObservation
    ) -> ToolResult:
        """Waits for an execution of the same call that another caller began."""
        attempt.trace_id = observed.trace_id
        observed.replayed(attempt.call.tool_name)
        if not attempt.is_same_call(running.attempt.call.tool_name, running.attempt.sha256):
            await self._attempts.refuse_conflict(attempt)
        result = await self._wait_for(running)
        return await self._attempts.repeat(attempt, result, observed)


async def _ended(running: _Running) -> ToolResult:
    """Waits for the end of a call that was cancelled, and returns what came of it.

    Raises:
        CancelledRunError: It left nothing behind.
    """
    await asyncio.wait({running.task})
    if not running.task.cancelled():
        # It came to its end in the same instant.
        return running.task.result()
    if running.attempt.interrupted is not None:
        return running.attempt.interrupted
    raise CancelledRunError("The tool was stopped.", tool_name=running.attempt.call.tool_name)

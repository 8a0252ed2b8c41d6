"""Drives a run: asks ``next_action`` what is to be done, does it, and logs what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from agent_executor.errors import AgentExecutorError, DeadlineExceededError
from agent_executor.executor.agent import AgentVersion
from agent_executor.executor.journal import RunRecord
from agent_executor.executor.ledger import Ledger
from agent_executor.executor.model_turn import ModelTurn
from agent_executor.executor.run import (
    CallModel,
    Finish,
    ResolveLostCall,
    RunTools,
    Stop,
    next_action,
)
from agent_executor.executor.run_event import (
    RunFinished,
    ToolCallCompleted,
    ToolCallStarted,
)
from agent_executor.executor.run_log import RunLog
from agent_executor.executor.run_telemetry import RunTelemetry
from agent_executor.executor.settlements import Settlements
from agent_executor.executor.tools import ToolOutcome, ToolRequest, ToolRunner
from agent_executor.serving.security import SecurityContext

DEFAULT_RUN_TIMEOUT_SECONDS: Final = 600.0
DEFAULT_TOOL_TIMEOUT_SECONDS: Final = 60.0
DEFAULT_MAX_PARALLEL_TOOL_CALLS: Final = 16


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What a run may take.

    Attributes:
        run_timeout_seconds: From its start to its end.
        tool_timeout_seconds: For one tool call.
        max_parallel_tool_calls: Of one run at a time.
    """

    run_timeout_seconds: float = DEFAULT_RUN_TIMEOUT_SECONDS
    tool_timeout_seconds: float = DEFAULT_TOOL_TIMEOUT_SECONDS
    max_parallel_tool_calls: int = DEFAULT_MAX_PARALLEL_TOOL_CALLS


@dataclass(frozen=True, slots=True)
class _Driver:
    """What the steps of one run share."""

    log: RunLog
    agent: AgentVersion
    security: SecurityContext
    settlements: Settlements
    traceparent: str
    deadline_ms: int


class Engine:
    """Drives runs to their end. It holds no run itself: all it knows of one is in its log."""

    def __init__(
        self,
        *,
        model_turn: ModelTurn,
        tools: ToolRunner,
        ledger: Ledger,
        telemetry: RunTelemetry,
        now_ms: Callable[[], int],
        limits: EngineLimits | None = None,
    ) -> None:
        self._model_turn = model_turn
        self._tools = tools
        self._ledger = ledger
        self._telemetry = telemetry
        self._now_ms = now_ms
        self._limits = limits or EngineLimits()

    async def drive(self, log: RunLog, agent: AgentVersion) -> None:
        """Drives a run from where its log stands to its last event, which is durable on return.

        Cancelled, it stops whatever is in flight and adds nothing: the run can be taken over.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        run, security = log.run, security_of(log.run)
        settlements = Settlements(self._ledger, log, security)
        deadline_ms = run.created_at_ms + int(self._limits.run_timeout_seconds * 1000)
        with self._telemetry.invoke_agent(run, agent, log) as traceparent:
            driver = _Driver(log, agent, security, settlements, traceparent, deadline_ms)
            try:
                outcome = await self._steps(driver)
                await settlements.settle_all()
                log.add(outcome)
                await log.commit()
            finally:
                settlements.cancel()

    async def settle(self, log: RunLog) -> None:
        """Settles what a run that nobody drives has used; the ledger is waited for.

        Raises:
            AgentExecutorError: The ledger refused a settlement for good.
        """
        settlements = Settlements(self._ledger, log, security_of(log.run))
        try:
            await settlements.settle_all()
        finally:
            settlements.cancel()

    async def _steps(self, driver: _Driver) -> RunFinished:
        """Takes steps until the run is to end, and returns how.

        The run's deadline bounds every wait, rather than cutting a step anywhere: so a step's
        events are always written or not, and never in doubt.
        """
        log, agent, security = driver.log, driver.agent, driver.security
        while True:
            action = next_action(log.state, agent.max_model_turns)
            remaining_seconds = self._remaining_seconds(driver)
            match action:
                case Finish():
                    return action.outcome
                case ResolveLostCall():
                    await self._model_turn.resolve_lost(log, agent, action, security)
                case CallModel() | RunTools() if remaining_seconds <= 0:
                    return self._too_late()
                case CallModel():
                    await self._model_turn.take(log, agent, action, security, remaining_seconds)
                    driver.settlements.begin()
                case RunTools():
                    await self._run_tools(driver, action)
                case Stop():
                    raise AssertionError("a run that has ended is not driven")
                case _:
                    assert_never(action)

    def _remaining_seconds(self, driver: _Driver) -> float:
        return (driver.deadline_ms - self._now_ms()) / 1000

    def _too_late(self) -> RunFinished:
        error = f"The run did not end within {self._limits.run_timeout_seconds:g} seconds."
        return RunFinished(state="failed", error=error, code=DeadlineExceededError.reason)

    async def _run_tools(self, driver: _Driver, action: RunTools) -> None:
        """Runs the pending tool calls in parallel and logs each result as it comes."""
        log = driver.log
        if len(action.tool_calls) == 1:
            log.add(await self._run_tool(driver, action.tool_calls[0]))
            return
        places = asyncio.Semaphore(self._limits.max_parallel_tool_calls)
        committing = asyncio.Lock()

        async def run_one(call: ToolCallStarted) -> None:
            async with places:
                result = await self._run_tool(driver, call)
            log.add(result)
            # The last result shares the commit of what follows it; the others are seen at once.
            if log.state.pending_tool_calls:
                async with committing:
                    await log.commit()

        try:
            async with asyncio.TaskGroup() as group:
                for call in action.tool_calls:
                    group.create_task(run_one(call))
        except ExceptionGroup as failed:
            # The first one says why, for example that the lease is lost; it stopped the others.
            raise failed.exceptions[0] from None

    async def _run_tool(self, driver: _Driver, call: ToolCallStarted) -> ToolCallCompleted:
        run, versions = driver.log.run, driver.log.state.tool_versions
        request = ToolRequest(
            tool_call_id=call.tool_call_id,
            tool_name=call.tool_name,
            arguments_json=call.arguments_json,
            run_id=run.run_id,
            agent_id=run.agent_id,
            is_test=run.is_test,
            tool_version=versions.get(call.tool_name, ""),
        )
        try:
            outcome = await self._tools.execute(
                request,
                driver.security,
                # Looked at here, since a call may have waited long for its place.
                timeout_seconds=max(
                    0.0, min(self._limits.tool_timeout_seconds, self._remaining_seconds(driver))
                ),
                traceparent=driver.traceparent,
            )
        except AgentExecutorError as error:
            outcome = ToolOutcome(
                success=False,
                result_json="null",
                error=error.message,
                code=error.reason,
                timestamp_ms=self._now_ms(),
            )
        return ToolCallCompleted(
            tool_call_id=call.tool_call_id,
            tool_name=call.tool_name,
            success=outcome.success,
            result_json=outcome.result_json,
            error=outcome.error,
            code=outcome.code,
            timestamp_ms=outcome.timestamp_ms,
        )


def security_of(run: RunRecord) -> SecurityContext:
    """Returns on whose behalf a run goes on, also after a recovery."""
    return SecurityContext(run.organization_id, run.user_id, frozenset(run.permissions))

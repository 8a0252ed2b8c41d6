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
        run = log.run
        security = SecurityContext(run.organization_id, run.user_id, frozenset(run.permissions))
        settlements = Settlements(self._ledger, log, security, agent.agent_id)
        ends_in_seconds = (
            run.created_at_ms / 1000 + self._limits.run_timeout_seconds - self._now_ms() / 1000
        )
        with self._telemetry.invoke_agent(run, agent, log) as traceparent:
            try:
                outcome = await self._steps(
                    log, agent, security, settlements, traceparent, ends_in_seconds
                )
                await settlements.settle_all()
                log.add(outcome)
                await log.commit()
            finally:
                settlements.cancel()

    async def _steps(
        self,
        log: RunLog,
        agent: AgentVersion,
        security: SecurityContext,
        settlements: Settlements,
        traceparent: str,
        ends_in_seconds: float,
    ) -> RunFinished:
        """Takes steps until the run is to end, and returns how. It ends in time."""
        timeout = asyncio.timeout(ends_in_seconds)
        try:
            async with timeout:
                while True:
                    action = next_action(log.state, agent.max_model_turns)
                    match action:
                        case CallModel():
                            await self._model_turn.take(log, agent, action, security)
                            settlements.begin()
                        case RunTools():
                            await self._run_tools(log, action, security, traceparent)
                        case ResolveLostCall():
                            await self._model_turn.resolve_lost(log, agent, action, security)
                        case Finish():
                            return action.outcome
                        case Stop():
                            raise AssertionError("a run that has ended is not driven")
                        case _:
                            assert_never(action)
        except TimeoutError:
            if not timeout.expired():
                raise
            self._model_turn.abandon(log, agent)
            error = DeadlineExceededError(
                f"the run did not end within {self._limits.run_timeout_seconds:g} seconds"
            )
            return RunFinished(state="failed", error=error.message, code=error.reason)

    async def _run_tools(
        self, log: RunLog, action: RunTools, security: SecurityContext, traceparent: str
    ) -> None:
        """Runs the pending tool calls in parallel and logs each result as it comes."""
        if len(action.tool_calls) == 1:
            call = action.tool_calls[0]
            log.add(await self._run_tool(log.run, call, log.state.is_test, security, traceparent))
            return
        places = asyncio.Semaphore(self._limits.max_parallel_tool_calls)
        committing = asyncio.Lock()

        async def run_one(call: ToolCallStarted) -> None:
            async with places:
                result = await self._run_tool(
                    log.run, call, log.state.is_test, security, traceparent
                )
            log.add(result)
            # The last result shares the commit of what follows it; the others are seen at once.
            if log.state.pending_tool_calls:
                async with committing:
                    await log.commit()

        async with asyncio.TaskGroup() as group:
            for call in action.tool_calls:
                group.create_task(run_one(call))

    async def _run_tool(
        self,
        run: RunRecord,
        call: ToolCallStarted,
        is_test: bool,
        security: SecurityContext,
        traceparent: str,
    ) -> ToolCallCompleted:
        request = ToolRequest(
            tool_call_id=call.tool_call_id,
            tool_name=call.tool_name,
            arguments_json=call.arguments_json,
            run_id=run.run_id,
            agent_id=run.agent_id,
            is_test=is_test,
        )
        try:
            outcome = await self._tools.execute(
                request,
                security,
                timeout_seconds=self._limits.tool_timeout_seconds,
                traceparent=traceparent,
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

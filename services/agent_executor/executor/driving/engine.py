"""Drives a run: asks ``next_action`` what is to be done, does it, and logs what came of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

import msgspec

from agent_executor.errors import AgentExecutorError, CancelledRunError, DeadlineExceededError
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.approvals.store import ApprovalStore
from agent_executor.executor.approvals.waiting import WaitingCalls
from agent_executor.executor.context.run_context import RunContext
from agent_executor.executor.driving.driven_run import DrivenRun, security_of
from agent_executor.executor.driving.pauses import (
    gives_up_at_ms,
    is_waited_out,
    resets_at_ms,
    retry_delay_seconds,
)
from agent_executor.executor.driving.run_telemetry import RunTelemetry
from agent_executor.executor.driving.stopping import (
    add_result,
    completed_call,
    end_tools,
    never_begun_call,
    released_nano_usd,
    request_of,
    stopped_call,
)
from agent_executor.executor.log.deadlines import remaining_seconds, timeout_seconds
from agent_executor.executor.log.next_action import (
    AwaitApprovals,
    AwaitBatch,
    AwaitMoney,
    CallModel,
    EndTools,
    Finish,
    ResolveLostCall,
    RunTools,
    Stop,
    failed_run,
    next_action,
)
from agent_executor.executor.log.run_event import (
    RunFinished,
    ToolCallCompleted,
    ToolCallStarted,
)
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.log.run_waiting import WAITING
from agent_executor.executor.model_calls.model_call import ModelCall
from agent_executor.executor.model_calls.model_turn import ModelTurn
from agent_executor.executor.model_calls.run_money import AMOUNT_TTL_SECONDS_MAX, RunMoney
from agent_executor.executor.model_calls.settlements import Settlements
from agent_executor.executor.peers.ledger import Ledger
from agent_executor.executor.peers.retries import Retries
from agent_executor.executor.peers.tools import ToolOutcome, ToolRunner
from agent_executor.executor.provider_batches.batched_calls import BatchedCalls
from agent_executor.serving.security import SecurityContext

DEFAULT_RUN_TIMEOUT_SECONDS: Final = 600.0
DEFAULT_TOOL_TIMEOUT_SECONDS: Final = 60.0
DEFAULT_MAX_PARALLEL_TOOL_CALLS: Final = 16
DEFAULT_PAUSE_RETRY_SECONDS: Final = 15.0
DEFAULT_MAX_PAUSE_SECONDS: Final = 86_400.0
# How much longer a run's amount lasts, unless it is renewed, than the run may.
AMOUNT_MARGIN_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What a run may take.

    Attributes:
        run_timeout_seconds: From its start to its end, without the time that it waits for its turn,
            for money, for people or for batches; a run and its agent may say otherwise.
        tool_timeout_seconds: For one tool call.
        max_parallel_tool_calls: Of one run at a time.
        pause_retry_seconds: How often a paused run looks for money.
        max_pause_seconds: After which time of a pause the run ends; see ``pauses``.
    """

    run_timeout_seconds: float = DEFAULT_RUN_TIMEOUT_SECONDS
    tool_timeout_seconds: float = DEFAULT_TOOL_TIMEOUT_SECONDS
    max_parallel_tool_calls: int = DEFAULT_MAX_PARALLEL_TOOL_CALLS
    pause_retry_seconds: float = DEFAULT_PAUSE_RETRY_SECONDS
    max_pause_seconds: float = DEFAULT_MAX_PAUSE_SECONDS


class Engine:
    """Drives runs to their end. It holds no run itself: all it knows of one is in its log."""

    def __init__(
        self,
        *,
        model_turn: ModelTurn,
        tools: ToolRunner,
        ledger: Ledger,
        approvals: ApprovalStore,
        batched: BatchedCalls | None = None,
        telemetry: RunTelemetry,
        now_ms: Callable[[], int],
        limits: EngineLimits | None = None,
    ) -> None:
        """``batched`` knows of model calls in batches; None: no run has any."""
        self._model_turn = model_turn
        self._waiting_calls = WaitingCalls(approvals)
        self._batched = batched
        self._tools = tools
        self._ledger = ledger
        self._telemetry = telemetry
        self._now_ms = now_ms
        self._limits = limits or EngineLimits()
        self._settling = Retries()
        self._settlements_under_way: dict[str, float] = {}

    @property
    def settlements_under_way(self) -> Mapping[str, float]:
        """Since when model calls are being settled, by ``time.monotonic()``, the oldest first."""
        return self._settlements_under_way

    async def drive(self, log: RunLog, agent: AgentVersion) -> float | None:
        """Drives a run from where its log stands until it ends or has to wait for others.

        When ``log.stop`` is given, it stops what is in flight, logs what became of that, and ends
        the run. Cancelled as a task, it stops what is in flight and adds nothing: the run can be
        taken over.

        Returns:
            None once the run's last event is durable, or the run is parked; else after how many
            seconds to drive it again, since it is paused.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        driven = self._driven(log, agent)
        try:
            if log.state.processing:
                await self._batches().forget_former(driven)
            start: ModelCall | RunFinished | None = None
            if log.state.pause is not None and not log.stop.is_set:
                answer = await self._look_for_money(driven)
                if isinstance(answer, float):
                    return answer
                start = answer
            with self._telemetry.invoke_agent(log.run, agent, log):
                return await self._go_on(driven, start)
        finally:
            driven.stop()

    async def settle(self, log: RunLog) -> None:
        """Settles what a run that nobody drives has used, and frees what is held for it.

        The ledger is waited for.

        Raises:
            AgentExecutorError: The ledger refused a settlement for good.
        """
        security = security_of(log.run)
        settlements = self._settlements(log, security)
        try:
            await settlements.settle_all()
        finally:
            settlements.cancel()
            await self._money(log, security).free_amount()

    async def close(self) -> None:
        """Breaks off what goes on without a run."""
        await self._model_turn.close()

    async def _look_for_money(self, driven: DrivenRun) -> ModelCall | RunFinished | float:
        """Tries to get the money that a paused run waits for.

        Returns:
            The call that can be made now, how the run ends, or after how many seconds to look again.
        """
        log, now_ms = driven.log, self._now_ms()
        # That it was taken over is recorded even if nothing else happens.
        await log.commit()
        action = next_action(log.state, driven.agent.max_model_turns)
        if not isinstance(action, AwaitMoney):
            raise AssertionError("a run that is paused waits for money")
        remaining_seconds = self._remaining_seconds(log) + (now_ms - log.state.paused_at_ms) / 1000
        answer = await self._model_turn.hold_again(driven, action, remaining_seconds)
        if isinstance(answer, ModelCall):
            return answer
        await log.commit()
        if not is_waited_out(answer):
            return failed_run(answer.message, answer.reason)
        if now_ms >= gives_up_at_ms(log.state, self._limits.max_pause_seconds):
            return failed_run(action.pause.error, action.pause.code)
        return self._retry_delay_seconds(resets_at_ms(answer))

    async def _go_on(
        self, driven: DrivenRun, start: ModelCall | RunFinished | None
    ) -> float | None:
        """Goes on with a run that is not paused, or is not any more; see ``drive``."""
        log = driven.log
        if isinstance(start, ModelCall):
            await self._model_turn.make(start)
            driven.settlements.begin()
        outcome = start if isinstance(start, RunFinished) else await self._steps(driven)
        await driven.settlements.settle_all()
        if outcome is None and log.state.state == WAITING:
            if not log.stop.is_set:
                await self._park(driven)
                return None
            outcome = await self._steps(driven)
        if outcome is None:
            await log.commit()
            return self._retry_delay_seconds(log.state.pause.resets_at_ms if log.state.pause else 0)
        is_free = True
        if driven.money.has_amount:
            # An executor that has lost the run must not free what its heir draws from.
            await log.commit()
            is_free = await driven.money.free_amount()
        if log.state.cancel is not None and is_free:
            released = await released_nano_usd(self._ledger, log, driven.security)
            outcome = msgspec.structs.replace(outcome, released_nano_usd=released)
        log.add(outcome)
        await log.commit()
        return None

    async def _steps(self, driven: DrivenRun) -> RunFinished | None:
        """Takes steps until the run is to end, and returns how; None if it is paused or waits.

        The run's deadline bounds every wait, rather than cutting a step anywhere: so a step's
        events are always written or not, and never in doubt.
        """
        log, agent = driven.log, driven.agent
        while True:
            action = next_action(log.state, agent.max_model_turns)
            if log.stop.is_set and log.state.cancel is None and not isinstance(action, Finish):
                # Once it is noted, the next action is no other than to end.
                log.note_cancel()
                continue
            remaining_seconds = self._remaining_seconds(log)
            match action:
                case Finish():
                    return action.outcome
                case AwaitMoney():
                    return None
                case ResolveLostCall():
                    await self._model_turn.resolve_lost(driven, action)
                case CallModel() | RunTools() | AwaitApprovals() if remaining_seconds <= 0:
                    return self._too_late(log)
                case CallModel():
                    await self._model_turn.take(driven, action, remaining_seconds)
                    driven.settlements.begin()
                case RunTools() | AwaitApprovals() | AwaitBatch():
                    if not await self._go_on_with(driven, action):
                        return None
                case EndTools():
                    await end_tools(driven, action, self._tools, self._now_ms)
                case Stop():
                    raise AssertionError("a run that has ended is not driven")
                case _:
                    assert_never(action)

    def _batches(self) -> BatchedCalls:
        if self._batched is None:
            raise AssertionError("no run of this engine has its calls in batches")
        return self._batched

    async def _park(self, driven: DrivenRun) -> None:
        """Gives up a run that waits for people, or for a batch."""
        if driven.log.state.approvals:
            await self._waiting_calls.park(driven)
        else:
            await self._batches().park(driven)

    def _driven(self, log: RunLog, agent: AgentVersion) -> DrivenRun:
        security = security_of(log.run)
        return DrivenRun(
            log=log,
            agent=agent,
            security=security,
            settlements=self._settlements(log, security),
            money=self._money(log, security),
            context=RunContext(log.history),
        )

    def _settlements(self, log: RunLog, security: SecurityContext) -> Settlements:
        under_way = self._settlements_under_way
        return Settlements(self._ledger, log, security, self._settling, under_way)

    def _money(self, log: RunLog, security: SecurityContext) -> RunMoney:
        ttl_seconds = math.ceil(self._timeout_seconds(log)) + AMOUNT_MARGIN_SECONDS
        ttl_seconds = min(ttl_seconds, AMOUNT_TTL_SECONDS_MAX)
        return RunMoney(self._ledger, self._model_turn.releases, log, security, ttl_seconds)

    def _remaining_seconds(self, log: RunLog) -> float:
        now_ms, default_seconds = self._now_ms(), self._limits.run_timeout_seconds
        return remaining_seconds(log.state, log.run.created_at_ms, now_ms, default_seconds)

    def _timeout_seconds(self, log: RunLog) -> float:
        return timeout_seconds(log.state, self._limits.run_timeout_seconds)

    def _retry_delay_seconds(self, resets_at: int) -> float:
        return retry_delay_seconds(resets_at, self._now_ms(), self._limits.pause_retry_seconds)

    def _too_late(self, log: RunLog) -> RunFinished:
        error = f"The run did not end within {self._timeout_seconds(log):g} seconds."
        return failed_run(error, DeadlineExceededError.reason)

    async def _go_on_with(
        self, driven: DrivenRun, action: RunTools | AwaitApprovals | AwaitBatch
    ) -> bool:
        """Runs tool calls, or takes up what others have done; False if they have done nothing."""
        match action:
            case AwaitApprovals():
                return await self._waiting_calls.take_up(driven)
            case AwaitBatch():
                is_known = await self._batches().take_up(driven, action)
                driven.settlements.begin()
                return is_known
        await self._waiting_calls.announce(driven)
        await self._run_tools(driven, action)
        return True

    async def _run_tools(self, driven: DrivenRun, action: RunTools) -> None:
        """Runs the pending tool calls in parallel and logs each result as it comes."""
        with self._telemetry.tools_of(driven.log.state.answered_call_id):
            if len(action.tool_calls) == 1:
                add_result(driven.log, await self._run_tool(driven, action.tool_calls[0]))
            else:
                await self._run_in_parallel(driven, action)

    async def _run_in_parallel(self, driven: DrivenRun, action: RunTools) -> None:
        log = driven.log
        places = asyncio.Semaphore(self._limits.max_parallel_tool_calls)
        committing = asyncio.Lock()

        async def run_one(call: ToolCallStarted) -> None:
            async with places:
                result = await self._run_tool(driven, call)
            add_result(log, result)
            # The last result shares the commit of what follows it; the others are seen at once.
            if log.state.pending_tool_calls and not log.stop.is_set:
                async with committing:
                    await log.commit()

        try:
            async with asyncio.TaskGroup() as group:
                for call in action.tool_calls:
                    group.create_task(run_one(call))
        except ExceptionGroup as failed:
            # The first one says why, for example that the lease is lost; it stopped the others.
            raise failed.exceptions[0] from None

    async def _run_tool(self, driven: DrivenRun, call: ToolCallStarted) -> ToolCallCompleted:
        if driven.log.stop.is_set:
            return never_begun_call(call, self._now_ms())
        try:
            outcome = await self._tools.execute(
                request_of(driven, call),
                driven.security,
                # Looked at here, since a call may have waited long for its place.
                timeout_seconds=max(
                    0.0, min(self._limits.tool_timeout_seconds, self._remaining_seconds(driven.log))
                ),
                stop=driven.log.stop,
            )
        except CancelledRunError as error:
            return stopped_call(call, error, self._now_ms())
        except AgentExecutorError as error:
            outcome = ToolOutcome(
                success=False,
                result_json="null",
                error=error.message,
                code=error.reason,
                timestamp_ms=self._now_ms(),
            )
        return completed_call(call, outcome)

"""Getting the money for a model call, and what happens without it."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Final, TypeAlias, TypeGuard

from agent_executor.errors import (
    AgentExecutorError,
    BudgetExceededError,
    CancelledRunError,
    ConflictError,
    DeadlineExceededError,
    UnavailableError,
)
from agent_executor.executor.driving.pauses import pause_of
from agent_executor.executor.driving.run_telemetry import RunTelemetry
from agent_executor.executor.log.run_event import RunContinued
from agent_executor.executor.model_calls.late_releases import LateReleases
from agent_executor.executor.model_calls.model_answers import CANCELLED
from agent_executor.executor.model_calls.model_call import ModelCall, ModelLimits, loop_seconds
from agent_executor.executor.model_calls.run_money import AMOUNT_TTL_SECONDS_MAX
from agent_executor.executor.peers.ledger import PASSING_ERRORS, Hold
from agent_executor.executor.peers.retries import Retries
from agent_executor.serving.cancellation import end_now

# How much longer a hold lasts than its call may: the time to record the answer and settle.
HOLD_MARGIN_SECONDS: Final = 600
# How long a commit shows that the run is still this executor's: less than is left of a lease that
# is renewed in time. Holding money takes longer only if the ledger or this process was stopped.
OWNERSHIP_SECONDS: Final = 1.0
# A token is at least one byte of the request's JSON text, so its length bounds the input; the
# rest is for what providers add around it (roles, tool preambles), from their documentation.
INPUT_OVERHEAD_TOKENS: Final = 1024
# How often a call takes another id since its own was used before: a crash just then leaves one.
MAX_REFUSALS: Final = 20

# The output that is held, the ledger's refusal, or None if the id is taken.
_Answer: TypeAlias = int | AgentExecutorError | None


class ModelHolds:
    """Holds the worst case of model calls before they are made."""

    def __init__(
        self,
        releases: LateReleases,
        retries: Retries,
        telemetry: RunTelemetry,
        limits: ModelLimits,
    ) -> None:
        self._releases = releases
        self._retries = retries
        self._telemetry = telemetry
        self._limits = limits

    async def hold(self, call: ModelCall) -> ModelCall | None:
        """Makes the call's intent durable and holds its worst case, at the same time.

        Returns:
            The call that may be made now, or None if none may: what became of it is logged then.

        Raises:
            LeaseLostError: Another executor drives the run now, which may make the call itself.
            AgentExecutorError: The log could not be written.
        """
        log, begun_at = call.driven.log, loop_seconds()
        log.add(call.started())
        had_unsettled = bool(log.state.unsettled)
        answer = await self._hold_and_commit(call)
        if isinstance(answer, BudgetExceededError) and had_unsettled:
            # What the calls before are known to have cost is less than what is held for them.
            await call.driven.settlements.settle_all()
            answer = await self._reserve(call)
        if isinstance(answer, int):
            if loop_seconds() - begun_at > OWNERSHIP_SECONDS:
                await log.check_ownership()
            return call.with_max_tokens(answer)
        if isinstance(answer, CancelledRunError):
            # Before the first thing that is not made for it.
            log.note_cancel()
        elif self._limits.proceeds_without_ledger and _is_away(answer):
            return await self._proceed_unheld(call, answer)
        if answer is None:
            # A driver before this one died between the hold and its record, and asked for another.
            await self._releases.free(call.id, call.driven.security)
        self._log_refusal(call, answer)
        await log.commit()
        return None

    async def hold_again(self, call: ModelCall) -> ModelCall | AgentExecutorError:
        """Tries to hold the worst case for a run that is paused, and logs nothing if it cannot.

        Returns:
            The call that may be made now, whose intent is durable; or why there is none.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        log = call.driven.log
        answer = await self._reserve(call)
        if answer is None:
            # A driver before this one died between the hold and its record.
            await self._releases.free(call.id, call.driven.security)
            log.add(call.started())
            self._log_refusal(call, answer)
            call = call.next_try()
            answer = await self._reserve(call)
        if answer is None:
            return _id_taken(call)
        if isinstance(answer, AgentExecutorError):
            return answer
        log.add(RunContinued(turn=call.action.turn))
        log.add(call.started())
        await log.commit()
        return call.with_max_tokens(answer)

    async def _hold_and_commit(self, call: ModelCall) -> _Answer:
        log = call.driven.log
        if call.driven.money.needs_amount:
            # No amount may be held for a run that never comes to be.
            await log.commit()
        reserving = asyncio.ensure_future(self._reserve(call))
        try:
            await log.commit()
            return await reserving
        finally:
            reserving.cancel()

    async def _reserve(self, call: ModelCall) -> _Answer:
        run, request = call.driven.log.run, call.prepared.request
        processing = call.driven.log.state.processing
        hold = Hold(
            model_call_id=call.id,
            agent_id=run.agent_id,
            run_id=run.run_id,
            model=request.model,
            max_input_tokens=call.prepared.size_bytes + INPUT_OVERHEAD_TOKENS,
            max_output_tokens=request.max_tokens,
            ttl_seconds=self._ttl_seconds(processing),
            min_output_tokens=min(call.driven.agent.min_output_tokens, request.max_tokens),
            amount_id=run.amount_id,
            # Every provider here caches the conversation as it goes.
            writes_cache=True,
            processing=processing,
        )
        return await self._hold_patiently(call, hold)

    async def _hold_patiently(self, call: ModelCall, hold: Hold) -> _Answer:
        """Asks the ledger, while it is away again and again until patience, run or time ends."""
        stop, patience = call.driven.log.stop, self._limits.ledger_patience_seconds
        gives_up_at = min(loop_seconds() + patience, call.run_ends_at)
        tries = 0
        while True:
            timeout = asyncio.timeout_at(gives_up_at)
            try:
                async with timeout:
                    with stop.calling(partial(end_now, timeout)):
                        return await call.driven.money.hold_call(hold)
            except TimeoutError:
                if not timeout.expired():
                    raise
                # It may have been held all the same.
                await self._releases.free(call.id, call.driven.security)
                message = f"The ledger did not answer within {patience:g} seconds."
                answer: AgentExecutorError = DeadlineExceededError(message)
            except AgentExecutorError as error:
                answer = error
            tries += 1
            if stop.is_set:
                return CancelledRunError(CANCELLED)
            if timeout.expired() or not _is_passing(answer):
                return answer
            delay_seconds = self._retries.delay_seconds(tries)
            if loop_seconds() + delay_seconds >= gives_up_at:
                return answer
            await stop.sleep(delay_seconds)

    def _ttl_seconds(self, processing: str) -> int:
        if processing:
            # A batch may take a day, and its hold is renewed before that is over.
            return AMOUNT_TTL_SECONDS_MAX
        return math.ceil(self._limits.timeout_seconds) + HOLD_MARGIN_SECONDS

    def _log_refusal(self, call: ModelCall, answer: AgentExecutorError | None) -> None:
        """Logs that the call is not made, and what follows: another try, a pause or the end."""
        log, driven = call.driven.log, call.driven
        if answer is None:
            is_retried = call.action.refusals < MAX_REFUSALS
            log.add(call.failed(_id_taken(call), will_retry=is_retried, is_refused=True))
            return
        pause = pause_of(answer, driven.agent, call.action.turn)
        log.add(call.failed(answer, will_retry=pause is not None, is_refused=True))
        if pause is not None:
            log.add(pause)

    async def _proceed_unheld(self, call: ModelCall, answer: AgentExecutorError) -> ModelCall:
        """Makes a further try that is marked as unheld, so that its loss would be known as a cost.

        If the ledger has made the hold of this one all the same, it is freed once it is back.
        """
        log, unheld = call.driven.log, call.next_try()
        log.add(call.failed(answer, will_retry=True, is_refused=True))
        log.add(unheld.started(is_unheld=True))
        await log.commit()
        self._telemetry.called_unheld(unheld.prepared.request.model)
        return unheld


def _is_passing(answer: AgentExecutorError) -> bool:
    """Tells whether the same hold may succeed in a moment."""
    return isinstance(answer, PASSING_ERRORS) and not isinstance(answer, BudgetExceededError)


def _is_away(answer: _Answer) -> TypeGuard[AgentExecutorError]:
    """Tells whether the ledger gave no answer."""
    return isinstance(answer, UnavailableError | DeadlineExceededError)


def _id_taken(call: ModelCall) -> ConflictError:
    return ConflictError(
        "The id of the model call was used before.", metadata={"model_call_id": call.id}
    )

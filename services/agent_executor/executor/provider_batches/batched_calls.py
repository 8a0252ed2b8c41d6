"""What a run's driver does with model calls that go through batches of their provider."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Final

import msgspec

from agent_executor.errors import (
    AgentExecutorError,
    CancelledRunError,
    DeadlineExceededError,
    LeaseLostError,
    ModelError,
)
from agent_executor.executor.context.fitting import is_shorter_next_time
from agent_executor.executor.driving.driven_run import DrivenRun
from agent_executor.executor.driving.run_telemetry import ChatRecord, RunTelemetry
from agent_executor.executor.log.next_action import AwaitBatch
from agent_executor.executor.log.run_event import (
    ModelCallBatched,
    ModelCallCompleted,
    ModelCallStarted,
)
from agent_executor.executor.model_calls.lost_calls import lost_usage
from agent_executor.executor.model_calls.model_answers import CANCELLED, log_answer
from agent_executor.executor.model_calls.model_call import ModelCall, failed_call
from agent_executor.executor.model_calls.prompts import PreparedCall
from agent_executor.executor.model_calls.purpose import CallPurpose
from agent_executor.executor.model_calls.run_money import AMOUNT_TTL_SECONDS_MAX, RENEWALS_PER_TTL
from agent_executor.executor.models.model import ModelRequest, ModelResponse, ToolSpecification
from agent_executor.executor.models.model_batches import BatchOutcome
from agent_executor.executor.peers.ledger import PASSING_ERRORS, Ledger
from agent_executor.executor.provider_batches.batch import Batch, BatchedCall, CallDetails
from agent_executor.executor.provider_batches.collector import BatchCollector, WaitingCall
from agent_executor.executor.provider_batches.late_costs import error_of, used_by
from agent_executor.executor.provider_batches.store import BatchStore

# When whoever parked a run, or an heir, renews what is held for it.
RENEWAL_SECONDS: Final = AMOUNT_TTL_SECONDS_MAX / RENEWALS_PER_TTL
_NEVER_GIVEN: Final = "The executor ended before the call was given to the model's provider."
_NEVER_MADE: Final = "The model's provider did not take the batch of the model call."
_CANCELED: Final = "The batch of the model call was cancelled at the model's provider."
_EXPIRED: Final = "The model's provider did not begin the call within the time of its batch."


class BatchedCalls:
    """Gives model calls into batches, parks the runs that wait for them, and takes the answers up.

    Args:
        collector: Makes the batches.
        store: Where they are kept.
        ledger: Where money is held for them.
        telemetry: Tells of the calls.
        max_tries: Of one turn, the first included, when trying helps.
    """

    def __init__(
        self,
        *,
        collector: BatchCollector,
        store: BatchStore,
        ledger: Ledger,
        telemetry: RunTelemetry,
        max_tries: int,
    ) -> None:
        self._collector = collector
        self._store = store
        self._ledger = ledger
        self._telemetry = telemetry
        self._max_tries = max_tries

    async def submit(self, call: ModelCall, provider: str) -> AgentExecutorError | None:
        """Gives a call, whose beginning is durable and whose money is held, into a batch.

        Returns:
            Why it could not be; None if it was, if nobody knows, or if the run is to end.

        Raises:
            LeaseLostError: Another executor drives the run now.
        """
        log, access = call.driven.log, call.driven.agent.model_access()
        waiting = WaitingCall(_batched_call(call), call.request(), call.prepared.size_bytes)
        try:
            batch_id = await log.stop.bound(self._collector.submit(provider, access, waiting))
        except LeaseLostError:
            raise
        except AgentExecutorError as error:
            return error
        if batch_id:
            log.add(ModelCallBatched(call.id, batch_id))
            await log.commit()
        return None

    async def take_up(self, driven: DrivenRun, action: AwaitBatch) -> bool:
        """Logs what is known of a call in a batch, durable on return; False if it is waited for.

        Raises:
            LeaseLostError: Another executor drives the run now.
            UnavailableError: The storage failed.
        """
        log, started = driven.log, action.call
        found = await self._store.find(log.run.run_id, started.model_call_id)
        if found is None:
            await self._not_made(driven, started, LeaseLostError(_NEVER_GIVEN))
            return True
        call, batch = found
        if batch.batch_id and not action.batch_id:
            log.add(ModelCallBatched(started.model_call_id, batch.batch_id))
        if call.outcome is not None and not call.is_abandoned:
            await self._ended(driven, started, call, batch)
            return True
        if not log.stop.is_set:
            return False
        await self._store.abandon(started.model_call_id)
        log.note_cancel()
        usage = lost_usage(log, driven.agent, started)
        error = CancelledRunError(CANCELLED)
        log.add(failed_call(started.model_call_id, error, will_retry=False, usage=usage))
        await log.commit()
        return True

    async def park(self, driven: DrivenRun) -> None:
        """Gives a run up until its call has its outcome, or until what is held is to be renewed.

        Raises:
            LeaseLostError: Another executor drives the run now.
            UnavailableError: The storage failed.
        """
        log, call = driven.log, driven.log.state.open_call
        renewal_seconds = RENEWAL_SECONDS
        waited_seconds = (log.now_ms() - log.state.waiting_since_ms) / 1000
        if call is not None and not call.is_unheld and waited_seconds > RENEWAL_SECONDS / 2:
            try:
                await self._ledger.renew(
                    call.model_call_id, AMOUNT_TTL_SECONDS_MAX, driven.security
                )
            except PASSING_ERRORS:
                renewal_seconds /= RENEWALS_PER_TTL
            except AgentExecutorError:
                # It has ended. What the call costs is settled all the same.
                pass
        of_amount_seconds = await driven.money.keep_amount()
        renewal_seconds = min(renewal_seconds, of_amount_seconds or renewal_seconds)
        await log.park(log.now_ms() + int(renewal_seconds * 1000))

    async def forget_former(self, driven: DrivenRun) -> None:
        """Forgets calls that are in the run's log, where a driver before could not.

        Raises:
            UnavailableError: The storage failed.
        """
        log, call = driven.log, driven.log.state.open_call
        if log.run.attempt > 1:
            open_call_id = call.model_call_id if call is not None else ""
            await self._store.forget_former(log.run.run_id, open_call_id)

    async def close(self) -> None:
        """Makes no more batches."""
        await self._collector.close()

    async def _ended(
        self, driven: DrivenRun, started: ModelCallStarted, call: BatchedCall, batch: Batch
    ) -> None:
        outcome = call.outcome
        if outcome is None:
            raise AssertionError("a call that has ended has an outcome")
        if outcome.kind == "not_made":
            can_retry = call.details.tries < self._max_tries
            error = ModelError(_NEVER_MADE)
            await self._not_made(driven, started, error, can_retry=can_retry)
        elif outcome.response is not None:
            self._answered(driven, started, call, outcome.response, batch.provider)
            await driven.log.commit()
        else:
            await self._failed(driven, call, outcome, batch.provider)
        # One that is not forgotten now is by the next driver.
        with contextlib.suppress(AgentExecutorError):
            await self._store.forget(call.model_call_id)

    def _answered(
        self,
        driven: DrivenRun,
        started: ModelCallStarted,
        call: BatchedCall,
        response: ModelResponse,
        provider: str,
    ) -> None:
        details = call.details
        with self._chat(driven, call, provider) as record:
            record.answered(response)
        driven.context.scale.learn(details.size_bytes, response.usage)
        answer = ModelCallCompleted(
            model_call_id=started.model_call_id,
            content=response.content,
            stop_reason=response.stop_reason,
            usage=response.usage,
            reduced_max_tokens=details.reduced_max_tokens,
            stop_detail=response.stop_detail,
        )
        log_answer(
            driven, details.turn, answer, details.tools, details.trims, details.summary_bytes
        )

    async def _failed(
        self, driven: DrivenRun, call: BatchedCall, outcome: BatchOutcome, provider: str
    ) -> None:
        """Logs a call that ended without an answer, and whether it is tried again."""
        log, details = driven.log, call.details
        error = _error(outcome)
        with contextlib.suppress(AgentExecutorError), self._chat(driven, call, provider):
            raise error
        can_retry = outcome.can_retry or outcome.kind == "expired"
        if not can_retry:
            driven.context.update(log.state.messages, log.state.trimmed)
            prepared = PreparedCall(_request(driven, details), details.size_bytes, CallPurpose())
            can_retry = is_shorter_next_time(error, driven.agent, driven.context, prepared)
        is_retried = can_retry and details.tries < self._max_tries and not log.stop.is_set
        usage = used_by(outcome) if "output_tokens" in outcome.error_metadata else None
        log.add(failed_call(call.model_call_id, error, will_retry=is_retried, usage=usage))
        await log.commit()
        if usage is None:
            await self._free(driven, call.model_call_id)

    async def _not_made(
        self,
        driven: DrivenRun,
        started: ModelCallStarted,
        error: AgentExecutorError,
        *,
        can_retry: bool = True,
    ) -> None:
        """Logs that a call was given into no batch, so that it cost nothing."""
        log, is_stopped = driven.log, driven.log.stop.is_set
        if is_stopped:
            log.note_cancel()
            error = CancelledRunError(CANCELLED)
        will_retry = can_retry and not is_stopped
        call_id = started.model_call_id
        log.add(failed_call(call_id, error, will_retry=will_retry, is_refused=is_stopped))
        await log.commit()
        await self._free(driven, call_id)

    def _chat(
        self, driven: DrivenRun, call: BatchedCall, provider: str
    ) -> AbstractContextManager[ChatRecord]:
        """Tells of a call, and of all the time since it was begun."""
        log = driven.log
        seconds = max(0, log.now_ms() - log.state.waiting_since_ms) / 1000
        return self._telemetry.chat(
            log.run, _request(driven, call.details), call.model_call_id, provider, seconds=seconds
        )

    async def _free(self, driven: DrivenRun, model_call_id: str) -> None:
        """Frees a hold. One that cannot be freed now ends by itself at its expiry."""
        with contextlib.suppress(AgentExecutorError):
            await self._ledger.void(model_call_id, driven.security)


def _batched_call(call: ModelCall) -> BatchedCall:
    run, request, action = call.driven.log.run, call.prepared.request, call.action
    is_reduced = call.max_tokens < request.max_tokens
    return BatchedCall(
        model_call_id=call.id,
        run_id=run.run_id,
        organization_id=run.organization_id,
        user_id=run.user_id,
        attempt=run.attempt,
        details=CallDetails(
            turn=action.turn,
            tries=action.attempt - action.refusals,
            size_bytes=call.prepared.size_bytes,
            reduced_max_tokens=call.max_tokens if is_reduced else 0,
            tools=tuple(map(_without_texts, call.prepared.described)),
            trims=call.trims,
            summary_bytes=call.summary_bytes,
        ),
    )


def _without_texts(tool: ToolSpecification) -> ToolSpecification:
    return msgspec.structs.replace(tool, description="", input_schema={})


def _request(driven: DrivenRun, details: CallDetails) -> ModelRequest:
    """Returns what is told of a request that is not here any more."""
    max_tokens = details.reduced_max_tokens or driven.agent.max_output_tokens
    return ModelRequest(driven.log.run.model, "", (), (), max_tokens)


def _error(outcome: BatchOutcome) -> AgentExecutorError:
    match outcome.kind:
        case "canceled":
            return ModelError(_CANCELED)
        case "expired":
            return DeadlineExceededError(_EXPIRED)
    return error_of(outcome)

"""Tells the ledger what batched calls cost that no run waits for any more."""

from __future__ import annotations

from typing import Final

from agent_executor.errors import (
    AgentExecutorError,
    ContextLengthExceededError,
    EntryConflictError,
    ModelError,
    UsageEntryNotFoundError,
)
from agent_executor.executor.driving.driven_run import security_of
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run import FINAL_STATES
from agent_executor.executor.log.run_waiting import BATCH
from agent_executor.executor.models.model import ModelUsage, delivered_usage
from agent_executor.executor.models.model_batches import BatchOutcome
from agent_executor.executor.peers.ledger import PASSING_ERRORS, Correction, Ledger, Settlement
from agent_executor.executor.provider_batches.batch import BatchedCall

NOTHING: Final = ModelUsage(0, 0)
DESCRIPTION: Final = "The model answered in a batch after its run was cancelled, or did not."


class LateCosts:
    """Corrects or settles calls in batches that have ended without their runs.

    A run that is cancelled settles its call as an estimate; once the batch has ended it is known what
    the call used, which is nothing if it was not begun. A run that ended for a fault of ours while its
    call was in a batch has not settled it at all.
    """

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self._ledger = ledger
        self._journal = journal

    async def tell(self, call: BatchedCall) -> bool:
        """Tells what a call cost; False if it is to be told later, or by its run."""
        run = await self._journal.get(call.organization_id, call.run_id)
        if run is None or call.outcome is None:
            return run is None
        usage = used_by(call.outcome)
        try:
            if call.is_abandoned:
                return await self._correct(call, run, usage)
            if run.state in FINAL_STATES:
                await self._settle(call, run, usage)
                return True
        except PASSING_ERRORS:
            return False
        return False

    async def _correct(self, call: BatchedCall, run: RunRecord, usage: ModelUsage) -> bool:
        correction = Correction(
            entry_id=f"{call.model_call_id}_corrected",
            model_call_id=call.model_call_id,
            usage=usage,
            description=DESCRIPTION,
        )
        try:
            await self._ledger.correct(correction, security_of(run))
        except UsageEntryNotFoundError:
            # It is settled before its run ends, and so not yet; or it was never begun.
            return run.state in FINAL_STATES
        return True

    async def _settle(self, call: BatchedCall, run: RunRecord, usage: ModelUsage) -> None:
        if usage == NOTHING:
            return
        settlement = Settlement(
            model_call_id=call.model_call_id,
            agent_id=run.agent_id,
            run_id=run.run_id,
            model=run.model,
            usage=usage,
            is_test=run.is_test,
            attempt=call.details.tries,
            processing=BATCH,
        )
        try:
            await self._ledger.settle(settlement, security_of(run))
        except EntryConflictError:
            # The run had settled it, and its driver did not live to forget it.
            return


def error_of(outcome: BatchOutcome) -> AgentExecutorError:
    """Returns what a call outside of a batch would have raised for an outcome that is an error."""
    if outcome.code == ContextLengthExceededError.reason:
        return ContextLengthExceededError(outcome.error, metadata=outcome.error_metadata)
    return ModelError(
        outcome.error,
        metadata=outcome.error_metadata,
        retry_after_seconds=0.0 if outcome.can_retry else None,
    )


def used_by(outcome: BatchOutcome) -> ModelUsage:
    """Returns what a call is billed for."""
    if outcome.response is not None:
        return outcome.response.usage
    return (delivered_usage(error_of(outcome)) if outcome.kind == "errored" else None) or NOTHING

"""Batches of model calls, and the calls in them, as they are kept."""

from __future__ import annotations

from typing import Final

import msgspec

from agent_executor.executor.log.run_event import HistoryTrimmed
from agent_executor.executor.models.model import OPERATOR_ACCESS, ModelAccess, ToolSpecification
from agent_executor.executor.models.model_batches import BatchOutcome

# What is kept of a call whose batch, as the provider's list shows, never was made.
NOT_MADE: Final = BatchOutcome("not_made")


class CallDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """What whoever takes the answer up must know of the request.

    Attributes:
        turn: Which answer of the run is wanted, from 1.
        tries: Which try of the turn it is, from 1, those without money left out.
        size_bytes: The length of the request's JSON.
        reduced_max_tokens: The output that is held, if that is less than was asked for; else 0.
        tools: The tools that the model may ask for: their names, effects and need of approval.
        trims: What is left out once the answer has summed that up; None: it is the turn's own call.
        summary_bytes: How long that summary may be.
    """

    turn: int
    tries: int
    size_bytes: int
    reduced_max_tokens: int = 0
    tools: tuple[ToolSpecification, ...] = ()
    trims: HistoryTrimmed | None = None
    summary_bytes: int = 0


class BatchedCall(msgspec.Struct, frozen=True):
    """A model call in a batch.

    Attributes:
        model_call_id: Its id, by which the provider knows its request too.
        run_id, organization_id, user_id: Whose it is.
        attempt: Of the run's driver that gave it into the batch; it fences ``BatchStore.add``.
        details: For whoever takes the answer up.
        is_abandoned: The run does not wait for it any more; what it costs is still to be told.
        outcome: What it came to; None if that is not known yet.
    """

    model_call_id: str
    run_id: str
    organization_id: str
    user_id: str
    attempt: int
    details: CallDetails
    is_abandoned: bool = False
    outcome: BatchOutcome | None = None


class Batch(msgspec.Struct, frozen=True):
    """A batch that is being made, or that its provider has.

    Attributes:
        key: Our own name for it, known before the provider's.
        provider: The provider's name.
        access: On whose account.
        created_at_ms: When it was about to be made, in milliseconds since 1970-01-01 UTC.
        look_at_ms: When an executor looks at it next.
        batch_id: The provider's name for it; empty while nobody knows whether it was made.
        is_cancelled: The provider was asked to end it.
        is_collected: What its calls came to is known.
    """

    key: str
    provider: str
    created_at_ms: int
    look_at_ms: int
    access: ModelAccess = OPERATOR_ACCESS
    batch_id: str = ""
    is_cancelled: bool = False
    is_collected: bool = False

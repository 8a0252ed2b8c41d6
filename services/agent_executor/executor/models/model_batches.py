"""The port to a provider's batches: many model calls in one request, answered within a day for less."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from agent_executor.errors import ModelError
from agent_executor.executor.models.model import ModelAccess, ModelRequest, ModelResponse

# What a request in a batch can come to, in the words of the Message Batches API.
# ``not_made`` is our own: the batch was to be made, and never was.
OutcomeKind: TypeAlias = Literal["succeeded", "errored", "canceled", "expired", "not_made"]

# In the metadata of a ``ModelError`` of ``create``: whether the batch may have been made all the same.
MAY_BE_MADE_KEY: Final = "may_be_made"


class BatchRequest(msgspec.Struct, frozen=True):
    """One model call of a batch.

    Attributes:
        id: By which its outcome is known again; unique in its batch, at most 64 characters.
        request: What the model is asked.
    """

    id: str
    request: ModelRequest


class ProviderBatch(msgspec.Struct, frozen=True):
    """A batch as its provider knows it.

    Attributes:
        id: The provider's name for it.
        has_ended: Whether every request has its outcome.
        request_count: How many requests it has.
        created_at_ms: When it was made, by the provider's clock.
    """

    id: str
    has_ended: bool
    request_count: int
    created_at_ms: int


class BatchOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request in a batch came to.

    Attributes:
        kind: ``succeeded``, with ``response``; ``errored``, with the rest; ``canceled``; or
            ``expired``: it was not begun within the day. Only what succeeded is billed. ``not_made``:
            it never was in a batch.
        response: The model's answer.
        error: What went wrong, in a sentence.
        code: The reason of the error that a call outside of a batch would have raised.
        can_retry: Whether the same request may succeed later.
        error_metadata: Of that error.
    """

    kind: OutcomeKind
    response: ModelResponse | None = None
    error: str = ""
    code: str = ""
    can_retry: bool = False
    error_metadata: dict[str, str] = {}


class ModelBatches(Protocol):
    """Makes batches of model calls and reads what they came to.

    Nothing is repeated here, and every method may be called concurrently. Beside what is named,
    each raises ``ModelError`` if the provider refuses, fails or is not reached.
    """

    async def create(
        self, requests: Sequence[BatchRequest], *, access: ModelAccess
    ) -> ProviderBatch:
        """Makes a batch, which is paid for from then on.

        Raises:
            ModelError: The batch was not made; or, if ``may_be_made`` says so, nobody knows.
        """
        ...

    async def get(self, batch_id: str, *, access: ModelAccess) -> ProviderBatch:
        """Returns how a batch stands."""
        ...

    async def made_since(self, since_ms: int, *, access: ModelAccess) -> list[ProviderBatch]:
        """Returns the account's batches that were made at or after a time, newest first."""
        ...

    def outcomes(
        self, batch_id: str, *, access: ModelAccess
    ) -> AsyncIterator[tuple[str, BatchOutcome]]:
        """Yields the id and the outcome of each request of a batch that has ended, in any order.

        An outcome that cannot be read is one of kind ``errored``.
        """
        ...

    async def cancel(self, batch_id: str, *, access: ModelAccess) -> None:
        """Lets a batch end as soon as it can. What was answered by then is billed."""
        ...


def may_be_made(error: ModelError) -> bool:
    """Tells whether a batch may have been made although ``create`` raised this."""
    return MAY_BE_MADE_KEY in error.metadata

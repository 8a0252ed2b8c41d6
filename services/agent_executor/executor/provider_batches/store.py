"""The port to where batches and their calls are kept: beside the journal, in the same database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent_executor.executor.models.model_batches import BatchOutcome
from agent_executor.executor.provider_batches.batch import Batch, BatchedCall


class BatchStore(Protocol):
    """Keeps batches until what their calls came to is in the logs of their runs.

    What a method has written is durable, and seen by every later read, once it has returned.
    """

    async def add(self, batch: Batch, calls: Sequence[BatchedCall]) -> list[str]:
        """Stores that a batch is about to be made, with its calls.

        A call is left out if its run was taken over since: its attempt is another one by now. A
        claim of a run and this do not pass each other: one of the two sees the other.

        Returns:
            The ids of the calls that are stored. Nothing is if there are none.
        """
        ...

    async def made(self, key: str, batch_id: str, look_at_ms: int) -> None:
        """Stores that a batch was made, and when to look at it next."""
        ...

    async def remove(self, key: str) -> None:
        """Forgets a batch with its calls."""
        ...

    async def due(self, now_ms: int, look_again_at_ms: int, limit: int) -> list[Batch]:
        """Returns batches that are to be looked at now, each to one caller only.

        Another caller gets them from ``look_again_at_ms`` on, unless ``look_again`` says otherwise.
        """
        ...

    async def look_again(self, key: str, at_ms: int) -> None:
        """Stores when to look at a batch next."""
        ...

    async def batch_ids(self) -> set[str]:
        """Returns the provider's names of all batches that are kept."""
        ...

    async def calls(self, key: str) -> list[BatchedCall]:
        """Returns the calls of a batch that are kept."""
        ...

    async def find(self, run_id: str, model_call_id: str) -> tuple[BatchedCall, Batch] | None:
        """Returns a call and its batch; None if it was given into none, or is forgotten."""
        ...

    async def add_outcomes(self, key: str, outcomes: Mapping[str, BatchOutcome]) -> None:
        """Stores what calls of a batch came to, by id. What is known already stays."""
        ...

    async def collected(self, key: str) -> None:
        """Stores that what a batch's calls came to is known."""
        ...

    async def abandon(self, model_call_id: str) -> None:
        """Stores that nobody waits for a call. If nobody waits for any of its batch, that is due."""
        ...

    async def cancelled(self, key: str) -> None:
        """Stores that the provider was asked to end a batch."""
        ...

    async def forget(self, model_call_id: str) -> None:
        """Forgets a call: what it came to is in its run's log, or in the ledger."""
        ...

    async def forget_former(self, run_id: str, open_call_id: str) -> None:
        """Forgets the calls of a run that are in its log: all but the open one and abandoned ones."""
        ...

    async def has_outcome(self, run_id: str) -> bool:
        """Tells whether a run can go on, since a call that it waits for has its outcome."""
        ...

    async def runs_to_wake(self, limit: int) -> list[str]:
        """Returns ids of parked runs that can go on."""
        ...

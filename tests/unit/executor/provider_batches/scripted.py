"""A provider's batches in memory, which do what a test tells them to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from agent_executor.errors import AgentExecutorError, ModelError
from agent_executor.executor.models.mock import MockClaude
from agent_executor.executor.models.model import ModelAccess
from agent_executor.executor.models.model_batches import (
    MAY_BE_MADE_KEY,
    BatchOutcome,
    BatchRequest,
    ProviderBatch,
)

LOST_ANSWER = ModelError("The connection failed.", metadata={MAY_BE_MADE_KEY: "true"})


class ScriptedBatches:
    """A ``ModelBatches`` whose batches end when a test says so.

    Attributes:
        made: The requests of each batch, by the batch's id.
        ended: The batches that have ended.
        cancelled: Those that were asked to end.
        creating: What each next creation raises, in order; None: nothing. With ``LOST_ANSWER`` the
            batch is made nevertheless.
        coming: What requests come to in place of an answer, by their id.
        error: What every other method raises.
        gate: While it is there, a creation waits for it.
    """

    def __init__(self) -> None:
        self.made: dict[str, list[BatchRequest]] = {}
        self.ended: set[str] = set()
        self.cancelled: list[str] = []
        self.creating: list[AgentExecutorError | None] = []
        self.coming: dict[str, BatchOutcome] = {}
        self.error: AgentExecutorError | None = None
        self.gate: asyncio.Event | None = None
        self.accesses: list[ModelAccess] = []
        self.reads = 0
        self._model = MockClaude()

    def end_all(self) -> None:
        """Lets every batch end."""
        self.ended.update(self.made)

    async def create(
        self, requests: Sequence[BatchRequest], *, access: ModelAccess
    ) -> ProviderBatch:
        """See ``ModelBatches``."""
        if self.gate is not None:
            await self.gate.wait()
        error = self.creating.pop(0) if self.creating else None
        if error is not None and error is not LOST_ANSWER:
            raise error
        batch_id = f"msgbatch_{len(self.made) + 1}"
        self.made[batch_id] = list(requests)
        self.accesses.append(access)
        if error is not None:
            raise error
        return self._batch(batch_id)

    async def get(self, batch_id: str, *, access: ModelAccess) -> ProviderBatch:
        """See ``ModelBatches``."""
        self._fail_if_told()
        return self._batch(batch_id)

    async def made_since(self, since_ms: int, *, access: ModelAccess) -> list[ProviderBatch]:
        """See ``ModelBatches``."""
        self._fail_if_told()
        return [self._batch(batch_id) for batch_id in reversed(self.made)]

    async def outcomes(
        self, batch_id: str, *, access: ModelAccess
    ) -> AsyncIterator[tuple[str, BatchOutcome]]:
        """See ``ModelBatches``."""
        self._fail_if_told()
        self.reads += 1
        for one in reversed(self.made[batch_id]):
            outcome = self.coming.get(one.id)
            if outcome is None and batch_id in self.cancelled:
                outcome = BatchOutcome("canceled")
            if outcome is None:
                outcome = BatchOutcome("succeeded", await self._model.generate(one.request))
            yield one.id, outcome

    async def cancel(self, batch_id: str, *, access: ModelAccess) -> None:
        """See ``ModelBatches``."""
        self._fail_if_told()
        self.cancelled.append(batch_id)

    def _batch(self, batch_id: str) -> ProviderBatch:
        count = len(self.made[batch_id])
        return ProviderBatch(batch_id, batch_id in self.ended, count, 1_000_000)

    def _fail_if_told(self) -> None:
        if self.error is not None:
            raise self.error

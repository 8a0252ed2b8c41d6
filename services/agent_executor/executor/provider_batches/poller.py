"""Looks at the batches of all executors: whether they were made, and what their calls came to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.models.model_batches import (
    BatchOutcome,
    ModelBatches,
    ProviderBatch,
)
from agent_executor.executor.provider_batches.batch import NOT_MADE, Batch, BatchedCall
from agent_executor.executor.provider_batches.collector import BatchesOf, BatchTimes
from agent_executor.executor.provider_batches.late_costs import LateCosts
from agent_executor.executor.provider_batches.store import BatchStore

TICK_SECONDS: Final = 1.0
# Within this time a look is over; the next one may be another executor's.
LOOK_SECONDS: Final = 300.0
BATCHES_AT_ONCE: Final = 8
OUTCOMES_AT_ONCE: Final = 100
# How far the provider's clock may be behind ours.
CLOCK_MARGIN_MS: Final = 300_000
# After which time a batch is given up that cannot be read: twice what it may take.
GIVE_UP_MS: Final = 2 * 86_400_000
_NO_RESULT: Final = BatchOutcome(
    "errored",
    error="The provider's batch has no result of this call.",
    code="MODEL_ERROR",
    can_retry=True,
)
_UNREADABLE: Final = BatchOutcome(
    "errored",
    error="The provider's batch could not be read for two days; what it cost is not known here.",
    code="MODEL_ERROR",
)

_LOGGER = logging.getLogger(__name__)


class BatchPoller:
    """Looks at each batch again and again until its calls have their outcomes.

    There is one in each executor, and each look is one executor's. A batch of which nobody heard that
    it was made is searched in its provider's list before its calls are made again.

    Args:
        store: Where batches are kept.
        batches_of: The providers' batches.
        late_costs: Tells the ledger what calls cost that no run waits for.
        wake: Goes on with runs that nobody drives.
        now_ms: The time in milliseconds since 1970-01-01 UTC.
        times: How long what takes.
    """

    def __init__(
        self,
        *,
        store: BatchStore,
        batches_of: BatchesOf,
        late_costs: LateCosts,
        wake: Callable[[], Awaitable[object]],
        now_ms: Callable[[], int],
        times: BatchTimes | None = None,
    ) -> None:
        self._store = store
        self._batches_of = batches_of
        self._late_costs = late_costs
        self._wake = wake
        self._now_ms = now_ms
        self._times = times or BatchTimes()
        self._polling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look, in the background."""
        self._polling = asyncio.create_task(self._poll(), name="provider-batches")

    async def stop(self) -> None:
        """Looks no more. What was begun is done again by whoever looks next."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def look(self) -> int:
        """Looks at the batches that are due, and returns how many they are.

        Raises:
            UnavailableError: The storage failed.
        """
        now_ms = self._now_ms()
        due = await self._store.due(now_ms, now_ms + int(LOOK_SECONDS * 1000), BATCHES_AT_ONCE)
        await asyncio.gather(*map(self._look_at, due))
        return len(due)

    async def _poll(self) -> None:
        while True:
            try:
                if await self.look():
                    continue
            except AgentExecutorError as error:
                _LOGGER.warning("Batches are looked at later: %s", error.message)
            except Exception:  # a bug must not end the looking, for which runs wait
                _LOGGER.exception("Batches are looked at later.")
            await asyncio.sleep(min(TICK_SECONDS, self._times.poll))

    async def _look_at(self, batch: Batch) -> None:
        """Looks at one batch; whatever goes wrong, the others are looked at too."""
        try:
            async with asyncio.timeout(LOOK_SECONDS / 2):
                await self._go_on(batch)
        except (AgentExecutorError, TimeoutError) as error:
            _LOGGER.warning("Batch %s is looked at later: %s", batch.batch_id or batch.key, error)
        except Exception:
            _LOGGER.exception("Batch %s is looked at later.", batch.batch_id or batch.key)
        else:
            return
        try:
            await self._later_or_never(batch)
        except AgentExecutorError as error:
            _LOGGER.warning("Batch %s is looked at later: %s", batch.key, error)

    async def _go_on(self, batch: Batch) -> None:
        calls = await self._store.calls(batch.key)
        if not calls:
            # Every outcome is where it belongs. One that is under way is of use to nobody then.
            await self._store.remove(batch.key)
            return
        if batch.is_collected:
            await self._end(batch, calls)
            return
        batches = await self._batches_of[batch.provider]()
        if not batch.batch_id:
            await self._find(batch, calls, batches)
            return
        found = await batches.get(batch.batch_id, access=batch.access)
        if not found.has_ended:
            if not batch.is_cancelled and all(call.is_abandoned for call in calls):
                await batches.cancel(batch.batch_id, access=batch.access)
                await self._store.cancelled(batch.key)
            await self._later(batch)
            return
        await self._collect(batch, calls, batches)

    async def _collect(
        self, batch: Batch, calls: Sequence[BatchedCall], batches: ModelBatches
    ) -> None:
        """Stores what the calls of a batch came to that has ended, and wakes their runs."""
        missing = {call.model_call_id for call in calls if call.outcome is None}
        some: dict[str, BatchOutcome] = {}
        async for call_id, outcome in batches.outcomes(batch.batch_id, access=batch.access):
            if call_id in missing:
                missing.discard(call_id)
                some[call_id] = outcome
            if len(some) >= OUTCOMES_AT_ONCE:
                await self._store.add_outcomes(batch.key, some)
                some = {}
        await self._store.add_outcomes(batch.key, some | dict.fromkeys(missing, _NO_RESULT))
        await self._store.collected(batch.key)
        await self._wake()
        await self._end(batch, await self._store.calls(batch.key))

    async def _end(self, batch: Batch, calls: Sequence[BatchedCall]) -> None:
        """Tells the ledger what no run waits for any more, and forgets the batch if that is all."""
        left = [call for call in calls if not await self._late_costs.tell(call)]
        for call in calls:
            if call not in left:
                await self._store.forget(call.model_call_id)
        if left:
            await self._later(batch)
        else:
            await self._store.remove(batch.key)

    async def _find(
        self, batch: Batch, calls: Sequence[BatchedCall], batches: ModelBatches
    ) -> None:
        """Finds out whether a batch was made, by the provider's list.

        The list does not say what is in a batch; its results do, once it has ended. So a batch that
        could be the one is waited for before the calls are made again.
        """
        since_ms = batch.created_at_ms - CLOCK_MARGIN_MS
        listed = await batches.made_since(since_ms, access=batch.access)
        known = await self._store.batch_ids()
        # What was stopped in time is not in it.
        ids = {call.model_call_id for call in calls if call.outcome is None}
        could_be = [one for one in listed if one.id not in known and one.request_count == len(ids)]
        is_open = False
        for one in could_be:
            if not one.has_ended:
                is_open = True
            elif await self._is_of(one, ids, batch, batches):
                await self._store.made(batch.key, one.id, self._now_ms())
                return
        if is_open:
            await self._later(batch)
            return
        _LOGGER.warning("Batch %s never was made; its calls are made again.", batch.key)
        await self._store.add_outcomes(batch.key, dict.fromkeys(ids, NOT_MADE))
        await self._store.collected(batch.key)
        await self._wake()
        await self._end(batch, await self._store.calls(batch.key))

    async def _is_of(
        self, one: ProviderBatch, ids: set[str], batch: Batch, batches: ModelBatches
    ) -> bool:
        """Tells whether a batch that has ended is that of these calls, by its first result."""
        async for call_id, _ in batches.outcomes(one.id, access=batch.access):
            return call_id in ids
        return False

    async def _later(self, batch: Batch) -> None:
        at_ms = self._now_ms() + int(self._times.poll * 1000)
        await self._store.look_again(batch.key, at_ms)

    async def _later_or_never(self, batch: Batch) -> None:
        """Looks later at a batch that could not be looked at, unless it should have ended long ago."""
        if self._now_ms() - batch.created_at_ms > GIVE_UP_MS and not batch.is_collected:
            _LOGGER.error("Batch %s cannot be read and is given up.", batch.batch_id or batch.key)
            calls = await self._store.calls(batch.key)
            lost = {call.model_call_id: _UNREADABLE for call in calls}
            await self._store.add_outcomes(batch.key, lost)
            await self._store.collected(batch.key)
            await self._wake()
        await self._later(batch)

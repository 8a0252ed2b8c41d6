"""Batches in memory, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run import FINAL_STATES
from agent_executor.executor.models.model_batches import BatchOutcome
from agent_executor.executor.provider_batches.batch import Batch, BatchedCall


class MemoryBatchStore:
    """A ``BatchStore`` that lives as long as its process, beside a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._batches: dict[str, Batch] = {}
        self._calls: dict[str, BatchedCall] = {}
        self._keys: dict[str, str] = {}

    async def add(self, batch: Batch, calls: Sequence[BatchedCall]) -> list[str]:
        """See ``BatchStore``."""
        kept = [call for call in calls if await self._is_drivers(call)]
        if kept:
            self._batches[batch.key] = batch
        for call in kept:
            self._calls[call.model_call_id] = call
            self._keys[call.model_call_id] = batch.key
        return [call.model_call_id for call in kept]

    async def made(self, key: str, batch_id: str, look_at_ms: int) -> None:
        """See ``BatchStore``."""
        self._change(key, batch_id=batch_id, look_at_ms=look_at_ms)

    async def remove(self, key: str) -> None:
        """See ``BatchStore``."""
        self._batches.pop(key, None)
        for call in await self.calls(key):
            self._forget(call.model_call_id)

    async def due(self, now_ms: int, look_again_at_ms: int, limit: int) -> list[Batch]:
        """See ``BatchStore``."""
        due = [batch for batch in self._batches.values() if batch.look_at_ms <= now_ms]
        found = sorted(due, key=lambda batch: (batch.look_at_ms, batch.key))[:limit]
        for batch in found:
            await self.look_again(batch.key, look_again_at_ms)
        return [self._batches[batch.key] for batch in found]

    async def look_again(self, key: str, at_ms: int) -> None:
        """See ``BatchStore``."""
        self._change(key, look_at_ms=at_ms)

    async def batch_ids(self) -> set[str]:
        """See ``BatchStore``."""
        return {batch.batch_id for batch in self._batches.values() if batch.batch_id}

    async def calls(self, key: str) -> list[BatchedCall]:
        """See ``BatchStore``."""
        return [self._calls[of_it] for of_it, known in sorted(self._keys.items()) if known == key]

    async def find(self, run_id: str, model_call_id: str) -> tuple[BatchedCall, Batch] | None:
        """See ``BatchStore``."""
        call = self._calls.get(model_call_id)
        if call is None or call.run_id != run_id:
            return None
        return call, self._batches[self._keys[model_call_id]]

    async def add_outcomes(self, key: str, outcomes: Mapping[str, BatchOutcome]) -> None:
        """See ``BatchStore``."""
        for call in await self.calls(key):
            outcome = outcomes.get(call.model_call_id)
            if outcome is not None and call.outcome is None:
                changed = msgspec.structs.replace(call, outcome=outcome)
                self._calls[call.model_call_id] = changed

    async def collected(self, key: str) -> None:
        """See ``BatchStore``."""
        self._change(key, is_collected=True)

    async def abandon(self, model_call_id: str) -> None:
        """See ``BatchStore``."""
        call = self._calls.get(model_call_id)
        if call is None:
            return
        self._calls[model_call_id] = msgspec.structs.replace(call, is_abandoned=True)
        key = self._keys[model_call_id]
        if all(other.is_abandoned for other in await self.calls(key)):
            self._change_if_made(key)

    async def cancelled(self, key: str) -> None:
        """See ``BatchStore``."""
        self._change(key, is_cancelled=True)

    async def forget(self, model_call_id: str) -> None:
        """See ``BatchStore``."""
        self._forget(model_call_id)

    async def forget_former(self, run_id: str, open_call_id: str) -> None:
        """See ``BatchStore``."""
        for call in list(self._calls.values()):
            is_former = call.run_id == run_id and call.model_call_id != open_call_id
            if is_former and not call.is_abandoned:
                self._forget(call.model_call_id)

    async def has_outcome(self, run_id: str) -> bool:
        """See ``BatchStore``."""
        return any(call.run_id == run_id for call in self._waited_for())

    async def runs_to_wake(self, limit: int) -> list[str]:
        """See ``BatchStore``."""
        found = set()
        for call in self._waited_for():
            run = await self._run(call)
            if run is not None and not run.owner and run.state not in FINAL_STATES:
                found.add(run.run_id)
        return sorted(found)[:limit]

    def _forget(self, model_call_id: str) -> None:
        self._calls.pop(model_call_id, None)
        self._keys.pop(model_call_id, None)

    def _waited_for(self) -> list[BatchedCall]:
        return [
            call
            for call in self._calls.values()
            if call.outcome is not None and not call.is_abandoned
        ]

    def _change_if_made(self, key: str) -> None:
        if self._batches[key].batch_id:
            self._change(key, look_at_ms=0)

    def _change(self, key: str, **changes: object) -> None:
        if key in self._batches:
            self._batches[key] = msgspec.structs.replace(self._batches[key], **changes)

    async def _is_drivers(self, call: BatchedCall) -> bool:
        run = await self._run(call)
        return run is not None and run.attempt == call.attempt

    async def _run(self, call: BatchedCall) -> RunRecord | None:
        return await self._journal.get(call.organization_id, call.run_id)

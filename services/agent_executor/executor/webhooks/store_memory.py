"""The outbox in memory, for tests; the journal in memory writes it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.webhooks.delivery import Delivery, Webhook, new_delivery


class MemoryWebhookStore:
    """A ``WebhookStore`` that lives as long as its process."""

    def __init__(self) -> None:
        self._deliveries: dict[str, Delivery] = {}

    def begin_run(self, run: RunRecord, webhook: Webhook) -> None:
        """Puts a new run's delivery in."""
        new = new_delivery(run.run_id, run.organization_id, webhook, run.ended_at_ms)
        self._deliveries[run.run_id] = new

    def end_run(self, run: RunRecord) -> None:
        """Makes a run's delivery due, once."""
        stored = self._deliveries[run.run_id]
        if stored.due_at_ms == 0 and stored.attempts == 0:
            self._replace(run.run_id, due_at_ms=run.ended_at_ms)

    async def get(self, organization_id: str, run_id: str) -> Delivery | None:
        """See ``WebhookStore``."""
        found = self._deliveries.get(run_id)
        return found if found is not None and found.organization_id == organization_id else None

    async def first_due(self) -> Mapping[str, int]:
        """See ``WebhookStore``."""
        due: dict[str, int] = {}
        for delivery in self._deliveries.values():
            if delivery.due_at_ms:
                at_ms = due.get(delivery.origin, delivery.due_at_ms)
                due[delivery.origin] = min(at_ms, delivery.due_at_ms)
        return due

    async def claim(
        self, origin: str, now_ms: int, lease_until_ms: int, limit: int
    ) -> list[Delivery]:
        """See ``WebhookStore``."""
        due = [
            (delivery.due_at_ms, delivery.run_id)
            for delivery in self._deliveries.values()
            if delivery.origin == origin and 0 < delivery.due_at_ms <= now_ms
        ]
        claimed = [run_id for _, run_id in sorted(due)[:limit]]
        for run_id in claimed:
            attempts = self._deliveries[run_id].attempts + 1
            self._replace(run_id, due_at_ms=lease_until_ms, attempts=attempts)
        return [self._deliveries[run_id] for run_id in claimed]

    async def conclude(self, delivery: Delivery) -> bool:
        """See ``WebhookStore``."""
        if self._deliveries[delivery.run_id].attempts != delivery.attempts:
            return False
        self._deliveries[delivery.run_id] = delivery
        return True

    def _replace(self, run_id: str, **changes: int) -> None:
        self._deliveries[run_id] = msgspec.structs.replace(self._deliveries[run_id], **changes)

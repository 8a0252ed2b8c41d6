"""The port to the outbox: which ends of runs are to be told, beside the journal.

The journal itself puts a delivery in with its run, and makes it due with the run's last event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agent_executor.executor.webhooks.delivery import Delivery


class WebhookStore(Protocol):
    """Keeps deliveries. What a method has written is durable once it has returned."""

    async def get(self, organization_id: str, run_id: str) -> Delivery | None:
        """Returns a run's delivery; None if the organization has none of this run."""
        ...

    async def first_due(self) -> Mapping[str, int]:
        """Returns when each receiver, by origin, is to be told something first.

        It takes one look-up for each receiver that has anything to come, and one if none has.
        """
        ...

    async def claim(
        self, origin: str, now_ms: int, lease_until_ms: int, limit: int
    ) -> list[Delivery]:
        """Takes deliveries to a receiver that are due, the longest due first.

        Each is claimed by one caller only, and can be claimed again at ``lease_until_ms``, unless it
        is concluded before that.

        Returns:
            The deliveries with this attempt counted.
        """
        ...

    async def conclude(self, delivery: Delivery) -> bool:
        """Stores what became of an attempt, and when the next one is due, if there is to be one.

        Returns:
            Whether it was stored: not if somebody has claimed it again meanwhile.
        """
        ...

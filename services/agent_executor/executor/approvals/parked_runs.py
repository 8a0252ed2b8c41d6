"""Which parked runs can go on."""

from __future__ import annotations

from collections.abc import Callable

from agent_executor.executor.approvals.store import ApprovalStore
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.provider_batches.store import BatchStore


class ParkedRuns:
    """Looks for what runs that nobody drives wait for: people's decisions, and batches' outcomes.

    Args:
        approvals: Where decisions are kept.
        now_ms: The present.
        keeps_leases: Whether what nobody drives is claimed every second or so. Else a run is woken
            by whoever parked it when its time has come.
        batches: Where outcomes are kept; None: no run waits for any.
    """

    def __init__(
        self,
        approvals: ApprovalStore,
        now_ms: Callable[[], int],
        *,
        keeps_leases: bool = True,
        batches: BatchStore | None = None,
    ) -> None:
        self._approvals = approvals
        self._now_ms = now_ms
        self._batches = batches
        self._keeps_leases = keeps_leases

    async def can_go_on(self, run_id: str) -> bool:
        """Tells whether there is something that a run waits for and that is not in its log."""
        if await self._approvals.decided(run_id):
            return True
        return self._batches is not None and await self._batches.has_outcome(run_id)

    async def to_wake(self, limit: int) -> list[str]:
        """Returns runs that can go on: whoever decided did not live to, or their batch has ended."""
        if not limit:
            return []
        found = await self._approvals.runs_to_wake(limit)
        if self._batches is not None and len(found) < limit:
            found += await self._batches.runs_to_wake(limit - len(found))
        return found

    def wake_delay_seconds(self, run: RunRecord) -> float | None:
        """Returns when a run is to be woken that was parked here; None if others see to it."""
        if self._keeps_leases:
            return None
        return max(0.0, (run.wake_at_ms - self._now_ms()) / 1000)

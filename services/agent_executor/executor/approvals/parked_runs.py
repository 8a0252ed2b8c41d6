"""Which parked runs can go on."""

from __future__ import annotations

from collections.abc import Callable

from agent_executor.executor.approvals.store import ApprovalStore
from agent_executor.executor.journal import RunRecord


class ParkedRuns:
    """Looks for decisions about calls of runs that nobody drives.

    Args:
        approvals: Where decisions are kept.
        now_ms: The present.
        keeps_leases: Whether what nobody drives is claimed every second or so. Else a run is woken
            by whoever parked it when its time has come.
    """

    def __init__(
        self, approvals: ApprovalStore, now_ms: Callable[[], int], *, keeps_leases: bool = True
    ) -> None:
        self._approvals = approvals
        self._now_ms = now_ms
        self._keeps_leases = keeps_leases

    async def can_go_on(self, run_id: str) -> bool:
        """Tells whether somebody has decided about a call, and that is not in the run's log."""
        return bool(await self._approvals.decided(run_id))

    async def to_wake(self, limit: int) -> list[str]:
        """Returns runs that can go on and that whoever decided did not live to go on with."""
        return await self._approvals.runs_to_wake(limit) if limit else []

    def wake_delay_seconds(self, run: RunRecord) -> float | None:
        """Returns when a run is to be woken that was parked here; None if others see to it."""
        if self._keeps_leases:
            return None
        return max(0.0, (run.wake_at_ms - self._now_ms()) / 1000)

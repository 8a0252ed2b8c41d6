"""The port to where approvals are kept: beside the journal, in the same database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from agent_executor.executor.approvals.approval import Approval, Decision

# Where a page begins: after the approval that was asked for at this time and has this id.
Position: TypeAlias = tuple[int, str]


class ApprovalStore(Protocol):
    """Keeps what people are asked and what they decided.

    An approval of a run that has ended, or whose end somebody has asked for, is void: it is neither
    listed nor decided. A decision is *taken up* once it is in its run's log.
    """

    async def request(self, approvals: Sequence[Approval], now_ms: int) -> None:
        """Stores approvals that are pending, those that are known already left as they are.

        What expired before ``now_ms`` and belongs to runs that have ended is put away.
        """
        ...

    async def get(self, organization_id: str, run_id: str, tool_call_id: str) -> Approval | None:
        """Returns an approval, or None if the organization has none of these ids."""
        ...

    async def list_pending(
        self,
        organization_id: str,
        limit: int,
        now_ms: int,
        *,
        after: Position | None = None,
        run_id: str = "",
        agent_id: str = "",
    ) -> list[Approval]:
        """Returns approvals that can be decided, oldest first; filters that are set must match."""
        ...

    async def decide(
        self, organization_id: str, run_id: str, tool_call_id: str, decision: Decision
    ) -> Approval | None:
        """Stores a decision about an approval that is pending, not void, and has not expired by then.

        Of several decisions exactly one is stored, as long as its run has not ended.

        Returns:
            The approval as it is stored now, by whichever decision; None if there is none.
        """
        ...

    async def expire(self, run_id: str, now_ms: int) -> None:
        """Makes the pending approvals of a run expired whose time has come. Its driver calls it."""
        ...

    async def decided(self, run_id: str) -> list[Approval]:
        """Returns a run's decided and expired approvals that are not taken up."""
        ...

    async def take_up(self, run_id: str, tool_call_ids: Sequence[str]) -> None:
        """Stores that these are in the run's log."""
        ...

    async def runs_to_wake(self, limit: int) -> list[str]:
        """Returns ids of parked runs that have decisions which are not taken up."""
        ...

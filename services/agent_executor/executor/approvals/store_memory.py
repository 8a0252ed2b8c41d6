"""Approvals in memory, for the library and for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from agent_executor.executor.approvals.approval import EXPIRED, PENDING, Approval, Decision
from agent_executor.executor.approvals.store import Position
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run import FINAL_STATES


class MemoryApprovalStore:
    """An ``ApprovalStore`` that lives as long as its process, beside a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: dict[tuple[str, str], Approval] = {}
        self._taken_up: dict[tuple[str, str], Approval] = {}

    async def request(self, approvals: Sequence[Approval], now_ms: int) -> None:
        """See ``ApprovalStore``."""
        for key, approval in list(self._open.items()):
            run = await self._run(approval)
            if approval.expires_at_ms < now_ms and run.state in FINAL_STATES:
                self._taken_up[key] = self._open.pop(key)
        for approval in approvals:
            key = (approval.run_id, approval.tool_call_id)
            if key not in self._taken_up:
                self._open.setdefault(key, approval)

    async def get(self, organization_id: str, run_id: str, tool_call_id: str) -> Approval | None:
        """See ``ApprovalStore``."""
        key = (run_id, tool_call_id)
        found = self._open.get(key) or self._taken_up.get(key)
        return found if found is not None and found.organization_id == organization_id else None

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
        """See ``ApprovalStore``."""
        found = [
            approval
            for approval in self._open.values()
            if approval.organization_id == organization_id
            and run_id in ("", approval.run_id)
            and agent_id in ("", approval.agent_id)
            and (after is None or _position(approval) > after)
            and await self._can_be_decided(approval, now_ms)
        ]
        return sorted(found, key=_position)[:limit]

    async def decide(
        self, organization_id: str, run_id: str, tool_call_id: str, decision: Decision
    ) -> Approval | None:
        """See ``ApprovalStore``."""
        found = await self.get(organization_id, run_id, tool_call_id)
        if found is None or not await self._can_be_decided(found, decision.decided_at_ms):
            return found
        decided = msgspec.structs.replace(found, **msgspec.structs.asdict(decision))
        self._open[run_id, tool_call_id] = decided
        return decided

    async def expire(self, run_id: str, now_ms: int) -> None:
        """See ``ApprovalStore``."""
        for approval in list(self._of_run(run_id)):
            if approval.state == PENDING and approval.expires_at_ms <= now_ms:
                self._open[run_id, approval.tool_call_id] = msgspec.structs.replace(
                    approval, state=EXPIRED, decided_at_ms=now_ms
                )

    async def decided(self, run_id: str) -> list[Approval]:
        """See ``ApprovalStore``."""
        found = [approval for approval in self._of_run(run_id) if approval.state != PENDING]
        return sorted(found, key=_position)

    async def take_up(self, run_id: str, tool_call_ids: Sequence[str]) -> None:
        """See ``ApprovalStore``."""
        for tool_call_id in tool_call_ids:
            taken = self._open.pop((run_id, tool_call_id), None)
            if taken is not None:
                self._taken_up[run_id, tool_call_id] = taken

    async def runs_to_wake(self, limit: int) -> list[str]:
        """See ``ApprovalStore``."""
        found = set()
        for approval in self._open.values():
            run = await self._run(approval)
            if approval.state != PENDING and not run.owner and run.state not in FINAL_STATES:
                found.add(run.run_id)
        return sorted(found)[:limit]

    async def _can_be_decided(self, approval: Approval, now_ms: int) -> bool:
        run = await self._run(approval)
        is_void = run.state in FINAL_STATES or run.cancel_requested_at_ms
        return approval.state == PENDING and now_ms < approval.expires_at_ms and not is_void

    async def _run(self, approval: Approval) -> RunRecord:
        run = await self._journal.get(approval.organization_id, approval.run_id)
        if run is None:
            raise AssertionError("an approval is of a run")
        return run

    def _of_run(self, run_id: str) -> Iterator[Approval]:
        return (approval for (of_run, _), approval in self._open.items() if of_run == run_id)


def _position(approval: Approval) -> Position:
    return approval.created_at_ms, approval.tool_call_id

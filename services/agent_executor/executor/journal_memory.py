"""Runs in memory, for the library and for tests."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent_executor.errors import LeaseLostError
from agent_executor.executor.journal import RunRecord
from agent_executor.executor.run import FINAL_STATES
from agent_executor.executor.run_event import RunEvent


class MemoryJournal:
    """A ``Journal`` that lives as long as its process."""

    def __init__(self) -> None:
        self._runs: dict[str, RunRecord] = {}
        self._events: dict[str, list[RunEvent]] = {}
        self._leases: dict[str, int] = {}

    async def create(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        """See ``Journal``."""
        self._runs[run.run_id] = run
        self._events[run.run_id] = list(events)

    async def append(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        """See ``Journal``."""
        stored = self._runs[run.run_id]
        if stored.attempt != run.attempt or stored.last_sequence + len(events) != run.last_sequence:
            raise LeaseLostError(f"Run {run.run_id} is driven by another executor.")
        self._runs[run.run_id] = run
        self._events[run.run_id].extend(events)

    async def get(self, organization_id: str, run_id: str) -> RunRecord | None:
        """See ``Journal``."""
        run = self._runs.get(run_id)
        return run if run is not None and run.organization_id == organization_id else None

    async def list_runs(
        self,
        organization_id: str,
        limit: int,
        *,
        before_run_id: str = "",
        agent_id: str = "",
        state: str = "",
    ) -> list[RunRecord]:
        """See ``Journal``."""
        found = [
            run
            for run in self._runs.values()
            if run.organization_id == organization_id
            and (not before_run_id or run.run_id < before_run_id)
            and agent_id in ("", run.agent_id)
            and state in ("", run.state)
        ]
        return sorted(found, key=lambda run: run.run_id, reverse=True)[:limit]

    async def events(self, run_id: str, after_sequence: int = 0) -> list[RunEvent]:
        """See ``Journal``."""
        return self._events.get(run_id, [])[after_sequence:]

    async def renew_lease(self, owner: str, expires_at_ms: int) -> None:
        """See ``Journal``."""
        self._leases[owner] = expires_at_ms

    async def release_leases(self, worker: str) -> None:
        """See ``Journal``."""
        for owner in [owner for owner in self._leases if owner.startswith(f"{worker}/")]:
            del self._leases[owner]

    async def claim(self, owner: str, now_ms: int, limit: int) -> list[RunRecord]:
        """See ``Journal``."""
        claimed: list[RunRecord] = []
        for run in sorted(self._runs.values(), key=lambda run: run.run_id):
            if len(claimed) == limit:
                break
            is_held = run.owner == owner or self._leases.get(run.owner, 0) > now_ms
            if run.state in FINAL_STATES or is_held:
                continue
            taken = msgspec.structs.replace(run, owner=owner, attempt=run.attempt + 1)
            self._runs[run.run_id] = taken
            claimed.append(taken)
        return claimed

    async def close(self) -> None:
        """See ``Journal``."""

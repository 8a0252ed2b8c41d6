"""News of runs that are kept in memory, for tests."""

from __future__ import annotations

from collections.abc import Mapping

from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.monitor.activity import watched_run
from agent_executor.executor.monitor.run_news import RunChange, RunTail

_ALL = 2**31


class MemoryRunNews:
    """``RunNews`` of a journal, by its own methods."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def last_sequences(self, organization_id: str, ended_since_ms: int) -> dict[str, int]:
        """See ``RunNews``."""
        runs = await self._since(organization_id, ended_since_ms)
        return {run.run_id: run.last_sequence for run in runs}

    async def tails(self, organization_id: str, after: Mapping[str, int]) -> list[RunTail]:
        """See ``RunNews``."""
        tails = []
        for run_id, sequence in after.items():
            run = await self._journal.get(organization_id, run_id)
            if run is not None and run.last_sequence > sequence:
                events = await self._journal.events(run_id, sequence)
                tails.append(RunTail(watched_run(run), events))
        return tails

    async def changed_since(
        self,
        organization_id: str,
        since_ms: int,
        limit: int,
        *,
        agent_id: str = "",
        run_id: str = "",
    ) -> list[RunChange]:
        """See ``RunNews``."""
        changes = []
        for run in sorted(await self._since(organization_id, since_ms), key=lambda run: run.run_id):
            if agent_id in {"", run.agent_id} and run_id in {"", run.run_id}:
                events = await self._journal.events(run.run_id)
                new = [event.sequence for event in events if event.created_at_ms >= since_ms]
                if new:
                    changes.append(RunChange(watched_run(run), min(new)))
        return changes[:limit]

    async def _since(self, organization_id: str, ended_since_ms: int) -> list[RunRecord]:
        runs = await self._journal.list_runs(organization_id, _ALL)
        return [run for run in runs if not run.ended_at_ms or run.ended_at_ms >= ended_since_ms]

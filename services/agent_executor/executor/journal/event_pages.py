"""Reads a run's log page by page, so that a long one is never in memory as a whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from agent_executor.executor.journal.journal import Journal
from agent_executor.executor.log.run import RunState, fold
from agent_executor.executor.log.run_event import RunEvent

PAGE_EVENTS: Final = 500


async def event_pages(
    journal: Journal, run_id: str, after_sequence: int = 0
) -> AsyncGenerator[list[RunEvent]]:
    """Yields the events after a sequence, in order, some hundreds at a time."""
    while page := await journal.events(run_id, after_sequence, PAGE_EVENTS):
        yield page
        if len(page) < PAGE_EVENTS:
            return
        after_sequence = page[-1].sequence


async def folded(journal: Journal, run_id: str) -> tuple[RunState, int]:
    """Returns a run's state, and the time of its last event; 0 if it has none."""
    state, at_ms = RunState(), 0
    async for page in event_pages(journal, run_id):
        state, at_ms = fold(page, state), page[-1].created_at_ms
    return state, at_ms

"""Tells readers of a run that it has new events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from agent_executor.executor.event_pages import event_pages
from agent_executor.executor.journal import Journal
from agent_executor.executor.run_event import RunEvent, RunFinished

# How soon a reader sees the events of a run that another executor drives.
POLL_INTERVAL_SECONDS: Final = 0.25


class RunFeed:
    """Reads runs' logs as they grow. Runs of this process are noticed at once, others polled."""

    def __init__(
        self, journal: Journal, poll_interval_seconds: float = POLL_INTERVAL_SECONDS
    ) -> None:
        self._journal = journal
        self._poll_interval_seconds = poll_interval_seconds
        self._readers: dict[str, set[asyncio.Event]] = {}

    def notify(self, run_id: str) -> None:
        """Wakes the readers of a run; called after each of its commits in this process."""
        for reader in self._readers.get(run_id, ()):
            reader.set()

    async def follow(self, run_id: str, after_sequence: int = 0) -> AsyncIterator[RunEvent]:
        """Yields the events after a sequence, in order and without a gap, until the last one."""
        wake = asyncio.Event()
        readers = self._readers.setdefault(run_id, set())
        readers.add(wake)
        try:
            while True:
                wake.clear()
                async for page in event_pages(self._journal, run_id, after_sequence):
                    for event in page:
                        yield event
                        if isinstance(event.payload, RunFinished):
                            return
                        after_sequence = event.sequence
                # Not wait_for, which in Python 3.11 can lose a cancellation.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_interval_seconds):
                        await wake.wait()
        finally:
            readers.discard(wake)
            if not readers:
                self._readers.pop(run_id, None)

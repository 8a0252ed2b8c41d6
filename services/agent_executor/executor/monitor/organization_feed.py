"""Notices what happens in one organization's runs, for all who watch it.

What this process commits is noted at once. What other executors commit to the same journal is found
by asking it again and again which runs have gone on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from itertools import islice
from typing import Final

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run_event import RunEvent, RunFinished
from agent_executor.executor.monitor.activity import (
    RunActivity,
    Sums,
    activities_of,
    watched_run,
)
from agent_executor.executor.monitor.recent_activities import RecentActivities
from agent_executor.executor.monitor.run_news import RunNews
from agent_executor.executor.monitor.watcher import News, Watcher

POLL_INTERVAL_SECONDS: Final = 0.25
# At most this part of the time is spent on asking.
MAX_POLL_SHARE: Final = 0.1
# How far clocks of executors may differ, and how long a commit may take.
OVERLAP_MS: Final = 10_000
PAGE_EVENTS: Final = 50

_TAIL_EVENTS: Final = 32
_TAIL_RUNS: Final = 100

_LOGGER = logging.getLogger(__name__)


class OrganizationFeed:
    """Knows the last event of each run that is under way or has just ended.

    Attributes:
        watchers: Those who watch; whoever is added is told of what comes after ``refresh``.
        as_of_ms: All that was durable by then is noted, in milliseconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        organization_id: str,
        journal: Journal,
        news: RunNews,
        now_ms: Callable[[], int],
        poll_interval_seconds: float,
    ) -> None:
        self.watchers: set[Watcher] = set()
        self.as_of_ms = 0
        self._organization_id = organization_id
        self._journal = journal
        self._news = news
        self._now_ms = now_ms
        self._poll_interval_seconds = poll_interval_seconds
        self._known: dict[str, int] = {}
        self._ended: set[str] = set()
        self._recent = RecentActivities()
        self._refreshing = asyncio.Lock()
        self._polling = asyncio.create_task(self._poll())

    def close(self) -> None:
        """Ends the asking."""
        self._polling.cancel()

    def committed(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        """Takes note of events that this process has made durable."""
        # One that is not known has begun since the journal was last asked, maybe elsewhere.
        known_if_new = 0 if self.as_of_ms else events[0].sequence - 1
        self._note(activities_of(watched_run(run), events), known_if_new)

    async def refresh(self) -> None:
        """Takes note of all that is durable by now.

        Raises:
            UnavailableError: The storage failed.
        """
        async with self._refreshing:
            before, started_ms = dict(self._known), self._now_ms()
            # However long ago it was last asked, no run has begun and ended unnoticed.
            since_ms = min(self.as_of_ms or started_ms, started_ms) - OVERLAP_MS
            current = await self._news.last_sequences(self._organization_id, since_ms)
            if not self.as_of_ms:
                # What was there before anybody watched is no news.
                self._known = current | self._known
            else:
                await self._note_others(before, current)
            self.as_of_ms = started_ms

    async def activities(self, news: News) -> AsyncGenerator[RunActivity]:
        """Yields the activities that news are of, in order and without a gap.

        Raises:
            UnavailableError: The storage failed.
        """
        run_id = news.run.run_id
        # What comes after it is news again. A run that is not known has ended.
        last = self._known.get(run_id)
        recent = self._recent.between(run_id, news.first_sequence, last) if last else None
        if recent is not None:
            for activity in recent:
                yield activity
            return
        sums = news.before
        sequence = 0 if sums is None else news.first_sequence - 1
        sums = sums or Sums()
        while last is None or sequence < last:
            events = await self._journal.events(run_id, sequence, PAGE_EVENTS)
            if not events:
                return
            for event in events:
                sequence, sums = event.sequence, sums.after(event)
                if last is not None and sequence > last:
                    return
                if sequence >= news.first_sequence:
                    yield RunActivity(news.run, event, sums)

    async def _note_others(self, before: Mapping[str, int], current: Mapping[str, int]) -> None:
        """Takes note of what others have committed.

        Args:
            before: What was known before the journal was asked.
            current: What it has answered.
        """
        after = {}
        for run_id, sequence in current.items():
            known = self._known.get(run_id, 0)
            if known < sequence:
                # Of many events those are left to be read that not all may want.
                after[run_id] = max(known, sequence - _TAIL_EVENTS)
        gone = {
            run_id: known
            for run_id, known in before.items()
            if run_id not in current and self._known.get(run_id) == known
        }
        # Unless it was heard, they have ended by a clock that is far off, or in a commit that took long.
        after |= {run_id: known for run_id, known in gone.items() if run_id not in self._ended}
        asked = iter(after.items())
        while chunk := dict(islice(asked, _TAIL_RUNS)):
            for tail in await self._news.tails(self._organization_id, chunk):
                known = self._known.get(tail.run.run_id, 0)
                self._note(activities_of(tail.run, tail.events), known)
        for run_id, known in gone.items():
            if self._known.get(run_id) == known:
                del self._known[run_id]
                self._ended.discard(run_id)

    def _note(self, activities: Sequence[RunActivity], known_if_new: int) -> None:
        """Takes note of the last activities of a run.

        Args:
            activities: Follow one another.
            known_if_new: After which sequence they are news if nothing is known of the run.
        """
        run, last = activities[-1].run, activities[-1].event
        known = self._known.get(run.run_id, known_if_new)
        if last.sequence <= known:
            return
        self._recent.add(activities)
        self._known[run.run_id] = last.sequence
        if isinstance(last.payload, RunFinished):
            self._ended.add(run.run_id)
        before = None
        for activity in activities:
            if activity.event.sequence == known + 1:
                before = activity.sums.before(activity.event)
        noted_at_ms = self._now_ms()
        if self.as_of_ms:
            # What others have committed since then is not noted yet, however late it will be.
            noted_at_ms = min(noted_at_ms, self.as_of_ms + OVERLAP_MS // 2)
        news = News(run, known + 1, before, noted_at_ms)
        for watcher in self.watchers:
            watcher.note(news)

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        pause_seconds = self._poll_interval_seconds
        while True:
            await asyncio.sleep(pause_seconds)
            started = loop.time()
            try:
                await self.refresh()
            except AgentExecutorError as error:
                _LOGGER.warning("Runs cannot be watched: %s", error.message)
            except Exception:  # a bug must not end the watching of every run
                _LOGGER.exception("Runs cannot be watched.")
            took_seconds = loop.time() - started
            pause_seconds = max(self._poll_interval_seconds, took_seconds / MAX_POLL_SHARE)

"""One who watches an organization: which runs have news for it that it was not told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, NamedTuple

from agent_executor.errors import AgentExecutorError, LimitExceededError
from agent_executor.executor.monitor.activity import ActivityFilter, Sums
from agent_executor.executor.monitor.run_news import WatchedRun

MAX_RUNS_WITH_NEWS: Final = 10_000

_RETRY_SECONDS: Final = 1.0


class News(NamedTuple):
    """A run has events that were not told.

    Attributes:
        first_sequence: The first of them.
        before: What the run had used before it; None if that has to be read.
        noted_at_ms: When that was known, or before, in milliseconds since 1970-01-01 UTC: what comes
            after it is not older than that, but for the difference of clocks and slow commits.
    """

    run: WatchedRun
    first_sequence: int
    before: Sums | None
    noted_at_ms: int


class Watcher:
    """Holds one entry for each run that has news, however many events these are.

    Runs are told in the order in which they had the first of their news, so that what was known
    before the news that are told now has all been told.

    Args:
        activity_filter: What is told.
    """

    def __init__(self, activity_filter: ActivityFilter) -> None:
        self.filter = activity_filter
        self._news: dict[str, News] = {}
        self._has_news = asyncio.Event()
        self._failure: AgentExecutorError | None = None

    def note(self, news: News) -> None:
        """Takes note of news, if it is told of the run and does not have any of it."""
        run_id = news.run.run_id
        if run_id in self._news or not self.filter.takes_run(news.run):
            return
        if len(self._news) >= MAX_RUNS_WITH_NEWS:
            self.fail(
                LimitExceededError(
                    f"The caller reads too slowly: {MAX_RUNS_WITH_NEWS} runs have news for it.",
                    retry_after_seconds=_RETRY_SECONDS,
                )
            )
            return
        self._news[run_id] = news
        self._has_news.set()

    def note_earlier(self, earlier: list[News]) -> None:
        """Takes note of news that come before all that is noted."""
        later, self._news = self._news, {news.run.run_id: news for news in earlier}
        for run_id, news in later.items():
            known = self._news.get(run_id)
            if known is None or known.first_sequence > news.first_sequence:
                self._news[run_id] = news
        if self._news:
            self._has_news.set()

    def take(self) -> News | None:
        """Takes the oldest news out; None if there are none.

        Raises:
            AgentExecutorError: It is told nothing more.
        """
        if self._failure is not None:
            raise self._failure
        if not self._news:
            self._has_news.clear()
            return None
        return self._news.pop(next(iter(self._news)))

    async def wait(self, seconds: float) -> None:
        """Waits for news, or so long."""
        # Not wait_for, which in Python 3.11 can lose a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._has_news.wait()

    def fail(self, error: AgentExecutorError) -> None:
        """Ends its watching by an error, and lets go of what it holds."""
        self._failure = self._failure or error
        self._news.clear()
        self._has_news.set()

"""Who may watch an organization's runs, and what each is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Final

from agent_executor.errors import InvalidArgumentError, LimitExceededError, UnavailableError
from agent_executor.executor.api_keys.store import ApiKeyStore
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run_event import RunEvent
from agent_executor.executor.monitor.activity import EVENT_TYPES, Activity, ActivityFilter
from agent_executor.executor.monitor.caller_validity import CallerValidity
from agent_executor.executor.monitor.organization_feed import (
    OVERLAP_MS,
    POLL_INTERVAL_SECONDS,
    OrganizationFeed,
)
from agent_executor.executor.monitor.run_news import RunNews
from agent_executor.executor.monitor.watcher import MAX_RUNS_WITH_NEWS, News, Watcher
from agent_executor.executor.streams.feed import RunFeed
from agent_executor.serving.security import SecurityContext

PERMISSION: Final = "run:read"
SILENCE_SECONDS: Final = 15.0
MAX_SINCE_MS: Final = 3_600_000
DEFAULT_MAX_WATCHERS: Final = 100

_RETRY_SECONDS: Final = 1.0

_LOGGER = logging.getLogger(__name__)


class Monitor:
    """Tells callers what happens in the runs of their organizations. Unwatched, it costs nothing.

    Attributes:
        silence_seconds: After which time without anything to tell a sign of life is given.
        poll_interval_seconds: How soon what other executors commit is told.
        clock_skew_seconds: How far the clock of a token's issuer may be off.

    Args:
        journal: Where the runs are.
        news: Which of them have gone on.
        feed: Tells of what this process commits.
        keys: The keys and sessions by which callers watch.
        now_ms: The time in milliseconds since 1970-01-01 UTC.
        max_watchers_per_organization: How many of one organization watch here at once.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        news: RunNews,
        feed: RunFeed,
        keys: ApiKeyStore,
        now_ms: Callable[[], int],
        max_watchers_per_organization: int = DEFAULT_MAX_WATCHERS,
    ) -> None:
        self.silence_seconds = SILENCE_SECONDS
        self.poll_interval_seconds = POLL_INTERVAL_SECONDS
        self.clock_skew_seconds = 0.0
        self._journal = journal
        self._news = news
        self._run_feed = feed
        self._keys = keys
        self._now_ms = now_ms
        self._max_watchers = max_watchers_per_organization
        self._feeds: dict[str, OrganizationFeed] = {}
        self._is_closed = False

    async def watch(
        self,
        security: SecurityContext,
        activity_filter: ActivityFilter,
        since_ms: int | None = None,
    ) -> AsyncGenerator[Activity]:
        """Yields what happens from now on, or from a time on, until the caller may watch no more.

        It begins with a sign of life, once nothing that happens is missed.

        Args:
            security: Who watches.
            activity_filter: What is told.
            since_ms: From when on, at most an hour ago, in milliseconds since 1970-01-01 UTC; what
                happened shortly before is told, too.

        Raises:
            PermissionDeniedError: Without ``run:read``.
            InvalidArgumentError: An event's type is unknown, or the time is too long ago.
            LimitExceededError: Too many of the organization watch, or the caller reads too slowly.
            UnauthenticatedError: What the caller has shown holds no longer.
            UnavailableError: This executor stops, or the storage failed.
        """
        security.require(PERMISSION)
        self._check(activity_filter, since_ms)
        if since_ms is not None:
            # A clock may be before ours.
            since_ms = min(since_ms, self._now_ms())
        validity = CallerValidity(security, self._keys, self._now_ms, self.clock_skew_seconds)
        watcher = Watcher(activity_filter)
        with self._watching(security.organization_id, watcher) as feed:
            await feed.refresh()
            if since_ms is not None:
                await self._look_back(security.organization_id, watcher, since_ms)
                # What was known of the runs is not older than what was just read of them.
                await feed.refresh()
            # Says that the caller may watch, and since when nothing is missed.
            yield Activity(since_ms if since_ms is not None else feed.as_of_ms)
            async with aclosing(self._told(feed, watcher, validity)) as told:
                async for activity in told:
                    yield activity

    def close(self) -> None:
        """Ends all watching, since this executor stops; it can be gone on with at another one."""
        self._is_closed = True
        for feed in self._feeds.values():
            for watcher in feed.watchers:
                watcher.fail(_stopping())

    async def _told(
        self, feed: OrganizationFeed, watcher: Watcher, validity: CallerValidity
    ) -> AsyncGenerator[Activity]:
        loop = asyncio.get_running_loop()
        silent_at = loop.time() + self.silence_seconds
        while True:
            await validity.check()
            news = watcher.take()
            if news is not None:
                async with aclosing(feed.activities(news)) as activities:
                    async for happened in activities:
                        if watcher.filter.takes_event(happened.event):
                            await validity.check()
                            yield Activity(news.noted_at_ms, happened)
                            silent_at = loop.time() + self.silence_seconds
            elif loop.time() >= silent_at:
                yield Activity(feed.as_of_ms)
                silent_at = loop.time() + self.silence_seconds
            else:
                silent_seconds = silent_at - loop.time()
                await watcher.wait(min(silent_seconds, validity.remaining_seconds))

    async def _look_back(self, organization_id: str, watcher: Watcher, since_ms: int) -> None:
        """Notes the runs that have gone on since a time."""
        wanted = watcher.filter
        changes = await self._news.changed_since(
            organization_id,
            since_ms - OVERLAP_MS,
            MAX_RUNS_WITH_NEWS + 1,
            agent_id=wanted.agent_id,
            run_id=wanted.run_id,
        )
        if len(changes) > MAX_RUNS_WITH_NEWS:
            raise LimitExceededError(
                f"More than {MAX_RUNS_WITH_NEWS} runs have gone on since then; "
                "ask for a later time, or for one agent."
            )
        told_at_ms = since_ms
        watcher.note_earlier(
            [News(change.run, change.first_sequence, None, told_at_ms) for change in changes]
        )

    @contextlib.contextmanager
    def _watching(self, organization_id: str, watcher: Watcher) -> Iterator[OrganizationFeed]:
        if self._is_closed:
            raise _stopping()
        feed = self._feeds.get(organization_id)
        if feed is None:
            feed = OrganizationFeed(
                organization_id,
                self._journal,
                self._news,
                self._now_ms,
                self.poll_interval_seconds,
            )
            self._feeds[organization_id] = feed
            self._run_feed.on_commit = self._committed
        if len(feed.watchers) >= self._max_watchers:
            raise LimitExceededError(
                f"{self._max_watchers} of the organization watch already.",
                retry_after_seconds=_RETRY_SECONDS,
            )
        feed.watchers.add(watcher)
        try:
            yield feed
        finally:
            feed.watchers.discard(watcher)
            if not feed.watchers:
                feed.close()
                del self._feeds[organization_id]
            if not self._feeds:
                self._run_feed.on_commit = None

    def _committed(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        feed = self._feeds.get(run.organization_id)
        if feed is None:
            return
        try:
            feed.committed(run, events)
        except Exception:  # a bug in what is told must not end the run that it is told of
            _LOGGER.exception("Those who watch were not told of a commit.")

    def _check(self, activity_filter: ActivityFilter, since_ms: int | None) -> None:
        unknown = sorted(activity_filter.event_types - EVENT_TYPES)
        if unknown:
            message = f"There is no type of event {unknown[0]!r}; there are: "
            message += ", ".join(sorted(EVENT_TYPES)) + "."
            raise InvalidArgumentError(message, field_violations=(("event_types", message),))
        if since_ms is not None and since_ms < self._now_ms() - MAX_SINCE_MS:
            message = "The time is more than an hour ago."
            raise InvalidArgumentError(message, field_violations=(("since", message),))


def _stopping() -> UnavailableError:
    return UnavailableError(
        "This executor stops; go on at another one, since the last time that was told."
    )

"""Executors that share a journal, and callers who watch them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from agent_executor.executor.api_keys.store_memory import MemoryApiKeyStore
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.event_pages import folded
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import (
    ModelCallCompleted,
    ModelCallSettled,
    ModelCallStarted,
    RunEvent,
    RunFinished,
    RunResumed,
    RunStarted,
)
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.models.model import ModelUsage, TextBlock
from agent_executor.executor.monitor.activity import Activity, ActivityFilter
from agent_executor.executor.monitor.monitor import Monitor
from agent_executor.executor.monitor.run_news import RunNews
from agent_executor.executor.monitor.run_news_memory import MemoryRunNews
from agent_executor.executor.streams.feed import RunFeed
from agent_executor.serving.security import SecurityContext

ADA: Final = SecurityContext("acme", "ada", frozenset({"run:read"}))
EVE: Final = SecurityContext("other", "eve", frozenset({"run:read"}))
ALL: Final = ActivityFilter()
PATIENCE_SECONDS: Final = 60.0


@dataclass
class Clock:
    """The time of all executors of a test."""

    now_ms: int = 1_000_000_000

    def read(self) -> int:
        """Returns the time in milliseconds."""
        return self.now_ms


class WatchedExecutor:
    """One executor: what it commits, and those who watch at it."""

    def __init__(
        self,
        journal: Journal | None = None,
        news: RunNews | None = None,
        clock: Clock | None = None,
        name: str = "w/1",
        **options: Any,
    ) -> None:
        self.journal = journal or MemoryJournal()
        self.clock = clock or Clock()
        self.name = name
        self.keys = MemoryApiKeyStore()
        self.feed = RunFeed(self.journal)
        self.monitor = Monitor(
            journal=self.journal,
            news=news or MemoryRunNews(self.journal),
            feed=self.feed,
            keys=self.keys,
            now_ms=self.clock.read,
            **options,
        )

    async def start(
        self, organization_id: str = "acme", agent_id: str = "agent", text: str = "hello"
    ) -> RunLog:
        """Starts a run, whose first event is durable."""
        run = RunRecord(
            run_id=new_id(),
            organization_id=organization_id,
            user_id="ada",
            permissions=("*",),
            agent_id=agent_id,
            agent_version=1,
            model="model",
            input=text,
            is_test=False,
            traceparent="",
            created_at_ms=self.clock.now_ms,
            owner=self.name,
        )
        log = RunLog(self.journal, run, RunState(), self.clock.read, self.feed)
        log.add(RunStarted(agent_id, 1, "model", text))
        await log.commit()
        return log

    async def take_over(self, run_id: str) -> RunLog:
        """Goes on with a run of another executor."""
        run = await self.journal.claim_run(self.name, run_id, self.clock.now_ms)
        assert run is not None
        state, _ = await folded(self.journal, run_id)
        log = RunLog(self.journal, run, state, self.clock.read, self.feed)
        log.add(RunResumed(run.attempt))
        await log.commit()
        return log

    @asynccontextmanager
    async def watching(
        self,
        security: SecurityContext = ADA,
        activity_filter: ActivityFilter = ALL,
        since_ms: int | None = None,
    ) -> AsyncGenerator[Caller]:
        """Yields a caller who watches; nothing that happens from then on is missed."""
        stream = self.monitor.watch(security, activity_filter, since_ms)
        async with aclosing(stream) as activities:
            caller = Caller(activities)
            first = await caller.hear()
            assert first.happened is None
            yield caller


@dataclass
class Caller:
    """One who watches, and what it was told of each run."""

    activities: AsyncGenerator[Activity]
    told: dict[str, list[RunEvent]] = field(default_factory=dict)
    last_told_at_ms: int = 0

    async def hear(self) -> Activity:
        """Returns the next activity."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            activity = await anext(self.activities)
        # Others get their turn, as when it is sent.
        await asyncio.sleep(0)
        self.last_told_at_ms = activity.told_at_ms
        if activity.happened is not None:
            run_id = activity.happened.run.run_id
            self.told.setdefault(run_id, []).append(activity.happened.event)
        return activity

    async def hear_until(self, log: RunLog, last_sequence: int) -> None:
        """Hears until an event of a run."""
        while self.last_of(log.run.run_id) < last_sequence:
            await self.hear()

    def last_of(self, run_id: str) -> int:
        """Returns the sequence of the last event of a run that it was told."""
        return self.told[run_id][-1].sequence if run_id in self.told else 0


async def model_call(log: RunLog, number: int = 1, text: str = "answer") -> None:
    """Adds a model call to a run: three events in three commits, 30 tokens and 5 nano-dollars."""
    for payload in (
        ModelCallStarted(f"call {number}", number),
        ModelCallCompleted(
            f"call {number}",
            (TextBlock(text),),
            "end_turn",
            ModelUsage(input_tokens=10, output_tokens=20),
        ),
        ModelCallSettled(f"call {number}", "entry", 5),
    ):
        log.add(payload)
        await log.commit()


async def finish(log: RunLog) -> None:
    """Ends a run."""
    log.add(RunFinished("completed", "answer"))
    await log.commit()


def sequences(events: Sequence[RunEvent]) -> list[int]:
    """Returns the numbers of events."""
    return [event.sequence for event in events]

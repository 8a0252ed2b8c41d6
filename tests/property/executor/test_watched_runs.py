"""Whoever watches is told every event of every run, in order, whoever commits and however it reads.

Two executors share a journal, start runs, go on with them and take over each other's, while callers
watch at both: some read slowly, and all come back now and then, at the other executor too, by the
last time that they were told.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_executor.executor.journal.journal import Journal
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.monitor import organization_feed, recent_activities
from agent_executor.executor.monitor.run_news import RunNews
from agent_executor.executor.monitor.run_news_memory import MemoryRunNews
from agent_executor.executor.monitor.run_news_sql import SqlRunNews
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.sqlite import migrated_file
from tests.unit.executor.monitor.watching import (
    ADA,
    ALL,
    Clock,
    WatchedExecutor,
    finish,
    model_call,
)

# How far the clock goes on at a time, at most. Where a commit takes time, it must not take the 10
# seconds that a commit may take at most.
STEP_MS = {"memory": 3_000, "sqlite": 8}
RUNS = 15
CALLERS = 6


@asynccontextmanager
async def kept(kind: str, folder: Path) -> AsyncIterator[tuple[Journal, RunNews]]:
    """Yields a journal and its news."""
    if kind == "memory":
        memory = MemoryJournal()
        yield memory, MemoryRunNews(memory)
        return
    path = folder / "journal.sqlite3"
    migrated_file(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield SqliteJournal(database), SqlRunNews(SqliteStatementRunner(database))
    await database.close()


class World:
    """The executors, the runs that were committed, and what each caller was told of them."""

    def __init__(self, journal: Journal, news: RunNews, seed: int, step_ms: int) -> None:
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.step_ms = step_ms
        self.executors = [
            WatchedExecutor(journal, news, self.clock, f"w/{number}") for number in (1, 2)
        ]
        self.journal = journal
        self.run_ids: list[str] = []
        self.told: list[dict[str, list[int]]] = [defaultdict(list) for _ in range(CALLERS)]
        self.begun = [asyncio.Event() for _ in range(CALLERS)]
        self.ends: dict[str, int] = {}
        self.is_over = False

    async def drive(self) -> None:
        """Takes one run from its beginning to its end, at one executor and then at the other."""
        executor = self.chance.choice(self.executors)
        log = await executor.start()
        self.run_ids.append(log.run.run_id)
        for number in range(1, self.chance.randint(1, 8)):
            await self.pass_time()
            await model_call(log, number)
            if self.chance.random() < 0.3:
                executor = self.chance.choice([each for each in self.executors if each != executor])
                log = await executor.take_over(log.run.run_id)
        await finish(log)

    async def watch(self, number: int) -> None:
        """Watches until every run has ended and was told to its end."""
        since_ms: int | None = None
        # A slow one leaves the events to be read from the journal.
        is_slow = number % 2 == 1
        last: dict[str, int] = {}
        while not self.is_whole(last):
            executor = self.chance.choice(self.executors)
            stays = self.chance.randint(50, 500)
            async with executor.watching(ADA, ALL, since_ms) as caller:
                since_ms = caller.last_told_at_ms
                self.begun[number].set()
                while stays and not self.is_whole(last):
                    stays -= 1
                    activity = await caller.hear()
                    since_ms = activity.told_at_ms
                    if activity.happened is not None:
                        run_id = activity.happened.run.run_id
                        sequence = activity.happened.event.sequence
                        # As the client library does.
                        if sequence > last.get(run_id, 0):
                            last[run_id] = sequence
                            self.told[number][run_id].append(sequence)
                    if is_slow:
                        await asyncio.sleep(self.chance.random() / 200)

    def is_whole(self, last: dict[str, int]) -> bool:
        """Tells whether a caller was told of everything."""
        return self.is_over and all(last.get(run_id) == self.ends[run_id] for run_id in self.ends)

    async def pass_time(self) -> None:
        """Lets time pass, for the clock and for the others."""
        self.clock.now_ms += self.chance.randint(0, self.step_ms)
        await asyncio.sleep(self.chance.random() / 200)

    async def run(self) -> None:
        """Drives all runs while the callers watch."""
        for executor in self.executors:
            executor.monitor.silence_seconds = 0.02
            executor.monitor.poll_interval_seconds = 0.01
        watching = [asyncio.create_task(self.watch(number)) for number in range(CALLERS)]
        # Nothing is before the time of any of them.
        await asyncio.gather(*(begun.wait() for begun in self.begun))
        await asyncio.gather(*(self.drive() for _ in range(RUNS)))
        self.ends = {run_id: len(await self.journal.events(run_id)) for run_id in self.run_ids}
        self.is_over = True
        async with asyncio.timeout(60.0):
            await asyncio.gather(*watching)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("recent", [1_000, 3])
async def test_every_caller_is_told_every_event_in_order(
    kind: str,
    recent: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    monkeypatch.setattr(organization_feed, "_TAIL_EVENTS", 2)
    monkeypatch.setattr(organization_feed, "PAGE_EVENTS", 3)
    monkeypatch.setattr(recent_activities, "MAX_ACTIVITIES", recent)
    rounds = 20 if pytestconfig.getoption("--full") else 1
    for seed in range(rounds):
        folder = tmp_path / str(seed)
        folder.mkdir()
        async with kept(kind, folder) as (journal, news):
            world = World(journal, news, seed, STEP_MS[kind])
            await world.run()
            whole = {run_id: list(range(1, end + 1)) for run_id, end in world.ends.items()}
            assert len(whole) == RUNS
            for told in world.told:
                assert told == whole, f"seed {seed}"

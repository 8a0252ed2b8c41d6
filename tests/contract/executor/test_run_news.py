"""What the news of runs must be, on every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import msgspec
import pytest

from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.journal.journal_postgres import PostgresJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.log.run_event import (
    ModelCallStarted,
    RunEvent,
    RunFinished,
    RunStarted,
)
from agent_executor.executor.monitor.activity import watched_run
from agent_executor.executor.monitor.run_news import RunChange, RunNews, RunTail
from agent_executor.executor.monitor.run_news_memory import MemoryRunNews
from agent_executor.executor.monitor.run_news_sql import SqlRunNews
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer
from tests.sqlite import migrated_file


@dataclass
class World:
    """A journal and its news."""

    journal: Journal
    news: RunNews
    _numbers: count[int] = field(default_factory=count)

    async def run(
        self, *, organization_id: str = "acme", agent_id: str = "agent", at_ms: int = 1_000
    ) -> RunRecord:
        """Makes a run with one event."""
        run = RunRecord(
            run_id=f"run_{next(self._numbers):02d}",
            organization_id=organization_id,
            user_id="ada",
            permissions=("*",),
            agent_id=agent_id,
            agent_version=3,
            model="model",
            input="input",
            is_test=False,
            traceparent="",
            created_at_ms=at_ms,
            owner="w/1",
            state="running",
            last_sequence=1,
        )
        await self.journal.create(
            run, [RunEvent(1, at_ms, RunStarted(agent_id, 3, "model", "input"))]
        )
        return run

    async def go_on(self, run: RunRecord, at_ms: int, tokens_used: int = 0) -> RunRecord:
        """Adds an event to a run."""
        sequence = run.last_sequence + 1
        after = msgspec.structs.replace(
            run, last_sequence=sequence, tokens_used=run.tokens_used + tokens_used
        )
        event = RunEvent(sequence, at_ms, ModelCallStarted(f"call {sequence}", sequence))
        await self.journal.append(after, [event])
        return after

    async def end(self, run: RunRecord, at_ms: int) -> RunRecord:
        """Ends a run."""
        sequence = run.last_sequence + 1
        ended = msgspec.structs.replace(
            run, last_sequence=sequence, state="completed", ended_at_ms=at_ms, cost_nano_usd=7
        )
        await self.journal.append(ended, [RunEvent(sequence, at_ms, RunFinished("completed"))])
        return ended


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        memory = MemoryJournal()
        yield World(memory, MemoryRunNews(memory))
        return
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        postgres = PostgresDatabase(server.url(name))
        yield World(PostgresJournal(postgres), SqlRunNews(PostgresStatementRunner(postgres)))
        await postgres.close()
        await server.drop_database(name)
        return
    path = tmp_path / "journal.sqlite3"
    migrated_file(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield World(SqliteJournal(database), SqlRunNews(SqliteStatementRunner(database)))
    await database.close()


async def test_the_last_events_are_those_of_runs_under_way_and_just_ended(world: World) -> None:
    under_way = await world.go_on(await world.run(), 2_000)
    just_ended = await world.end(await world.run(), 5_000)
    await world.end(await world.run(), 4_999)
    found = await world.news.last_sequences("acme", 5_000)
    assert found == {under_way.run_id: 2, just_ended.run_id: 2}


async def test_a_tail_is_a_run_and_its_events_of_one_moment(world: World) -> None:
    run = await world.run()
    for tokens_used in (10, 20):
        run = await world.go_on(run, 2_000, tokens_used)
    ended = await world.end(await world.run(), 3_000)
    whole = await world.run()
    tails = await world.news.tails("acme", {run.run_id: 1, ended.run_id: 2, whole.run_id: 0})
    assert sorted(tails, key=lambda tail: tail.run.run_id) == [
        RunTail(watched_run(run), await world.journal.events(run.run_id, 1)),
        RunTail(watched_run(whole), await world.journal.events(whole.run_id)),
    ]
    assert tails[0].run.tokens_used == 30
    assert await world.news.tails("acme", {}) == []


async def test_what_has_changed_is_told_from_its_first_event_of_a_time_on(world: World) -> None:
    old = await world.run(at_ms=1_000)
    went_on = await world.go_on(await world.go_on(await world.run(at_ms=1_000), 2_000), 2_500)
    ended = await world.end(await world.run(at_ms=1_999), 2_000)
    await world.end(await world.run(at_ms=1_000), 1_999)
    new = await world.run(at_ms=3_000)
    changes = await world.news.changed_since("acme", 2_000, 10)
    assert changes == [
        RunChange(watched_run(went_on), 2),
        RunChange(watched_run(ended), 2),
        RunChange(watched_run(new), 1),
    ]
    assert await world.news.changed_since("acme", 2_000, 2) == changes[:2]
    assert old.run_id not in {change.run.run_id for change in changes}


async def test_changes_are_of_one_agent_or_of_one_run(world: World) -> None:
    one = await world.run(agent_id="one")
    other = await world.run(agent_id="other")
    of_agent = await world.news.changed_since("acme", 1, 10, agent_id="one")
    assert [change.run.run_id for change in of_agent] == [one.run_id]
    of_run = await world.news.changed_since("acme", 1, 10, run_id=other.run_id)
    assert [change.run.run_id for change in of_run] == [other.run_id]
    assert await world.news.changed_since("acme", 1, 10, agent_id="a\0b") == []


async def test_another_organization_has_no_news_of_them(world: World) -> None:
    run = await world.run(organization_id="other")
    assert await world.news.last_sequences("acme", 1) == {}
    assert await world.news.tails("acme", {run.run_id: 0}) == []
    assert await world.news.changed_since("acme", 1, 10) == []
    assert await world.news.changed_since("acme", 1, 10, run_id=run.run_id) == []
    assert await world.news.last_sequences("other", 1) == {run.run_id: 1}

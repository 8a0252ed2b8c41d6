"""What every store of provider batches must do, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.journal.journal_postgres import PostgresJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.log.run_event import HistoryTrimmed, RunEvent, RunFinished, RunStarted
from agent_executor.executor.models.model import (
    ModelAccess,
    ModelResponse,
    ModelUsage,
    TextBlock,
    ToolSpecification,
)
from agent_executor.executor.models.model_batches import BatchOutcome
from agent_executor.executor.provider_batches.batch import NOT_MADE, Batch, BatchedCall, CallDetails
from agent_executor.executor.provider_batches.store import BatchStore
from agent_executor.executor.provider_batches.store_memory import MemoryBatchStore
from agent_executor.executor.provider_batches.store_sql import SqlBatchStore
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer
from tests.sqlite import migrated_file

FIRST = RunEvent(1, 1_000, RunStarted("agent", 1, "model", "input", processing="batch"))
NOW = 5_000
ANSWER = BatchOutcome(
    "succeeded",
    ModelResponse("msg", "model", (TextBlock("é"),), "end_turn", ModelUsage(3, 4)),
)
ERROR = BatchOutcome("errored", error="No.", code="MODEL_ERROR", can_retry=True)
DETAILS = CallDetails(
    turn=2,
    tries=3,
    size_bytes=400,
    reduced_max_tokens=5,
    tools=(ToolSpecification("email", "", {}, effect="unsafe", requires_approval=True),),
    trims=HistoryTrimmed(4, 99, "They spoke.", 5),
    summary_bytes=6,
)


@dataclass
class Place:
    """A store and the journal beside it."""

    store: BatchStore
    journal: Journal

    async def run(self, *, owner: str = "me/1") -> RunRecord:
        run = RunRecord(
            run_id=new_id(),
            organization_id="acme",
            user_id="ada",
            permissions=(),
            agent_id="agent",
            agent_version=1,
            model="model",
            input="input",
            is_test=False,
            traceparent="",
            created_at_ms=1_000,
            owner=owner,
            state="waiting",
            last_sequence=1,
            wake_at_ms=0 if owner else 10**12,
        )
        await self.journal.create(run, [FIRST])
        return run

    async def park(self, run: RunRecord) -> None:
        await self.journal.append(msgspec.structs.replace(run, owner="", wake_at_ms=10**12), [])

    async def end(self, run: RunRecord) -> None:
        ended = msgspec.structs.replace(run, state="completed", ended_at_ms=1_001, last_sequence=2)
        await self.journal.append(ended, [RunEvent(2, 1_001, RunFinished("completed"))])

    async def add(self, runs: Sequence[RunRecord], key: str = "b", **changes: object) -> Batch:
        """Stores a batch with a call of each run."""
        batch = Batch(key, "anthropic", created_at_ms=NOW, look_at_ms=NOW + 60_000)
        batch = msgspec.structs.replace(batch, **changes)
        ids = await self.store.add(batch, list(map(call_of, runs)))
        assert sorted(ids) == sorted(call_of(run).model_call_id for run in runs)
        return batch


def call_of(run: RunRecord) -> BatchedCall:
    return BatchedCall(f"{run.run_id}_1_m1", run.run_id, "acme", "ada", run.attempt, DETAILS)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        journal = MemoryJournal()
        yield Place(MemoryBatchStore(journal), journal)
        return
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        postgres = PostgresDatabase(server.url(name))
        statements = PostgresStatementRunner(postgres)
        yield Place(SqlBatchStore(statements), PostgresJournal(postgres))
        await postgres.close()
        await server.drop_database(name)
        return
    path = tmp_path / "journal.sqlite3"
    migrated_file(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield Place(SqlBatchStore(SqliteStatementRunner(database)), SqliteJournal(database))
    await database.close()


async def test_what_is_stored_is_read(place: Place) -> None:
    run = await place.run()
    access = ModelAccess("agent", b"\x00key", "https://example.com")
    batch = await place.add([run], access=access)
    call = call_of(run)
    assert await place.store.find(run.run_id, call.model_call_id) == (call, batch)
    assert await place.store.calls("b") == [call]
    assert await place.store.find("another", call.model_call_id) is None
    assert await place.store.find(run.run_id, "another") is None
    assert await place.store.batch_ids() == set()
    await place.store.made("b", "msgbatch_1", NOW + 1)
    made = msgspec.structs.replace(batch, batch_id="msgbatch_1", look_at_ms=NOW + 1)
    assert await place.store.find(run.run_id, call.model_call_id) == (call, made)
    assert await place.store.batch_ids() == {"msgbatch_1"}
    await place.store.cancelled("b")
    await place.store.collected("b")
    found = await place.store.find(run.run_id, call.model_call_id)
    assert found is not None
    assert (found[1].is_cancelled, found[1].is_collected) == (True, True)
    await place.store.remove("b")
    assert await place.store.find(run.run_id, call.model_call_id) is None
    assert await place.store.due(10**13, 10**14, 10) == []


async def test_a_call_whose_run_was_taken_over_is_left_out(place: Place) -> None:
    kept, taken = await place.run(), await place.run()
    assert await place.journal.claim_run("heir/1", taken.run_id, NOW) is not None
    batch = Batch("b", "anthropic", NOW, NOW)
    stored = await place.store.add(batch, [call_of(kept), call_of(taken)])
    assert stored == [call_of(kept).model_call_id]
    assert await place.store.calls("b") == [call_of(kept)]
    other = Batch("c", "anthropic", NOW, NOW)
    assert await place.store.add(other, [call_of(taken)]) == []
    assert [batch.key for batch in await place.store.due(NOW, NOW + 1, 10)] == ["b"]


async def test_a_claim_and_a_batch_do_not_pass_each_other(place: Place) -> None:
    for number in range(20):
        run = await place.run()
        batch = Batch(str(number), "anthropic", NOW, NOW)

        async def heir_finds(run: RunRecord = run) -> bool:
            assert await place.journal.claim_run("heir/1", run.run_id, NOW) is not None
            return await place.store.find(run.run_id, call_of(run).model_call_id) is not None

        stored, found = await asyncio.gather(place.store.add(batch, [call_of(run)]), heir_finds())
        assert bool(stored) == found


async def test_each_batch_is_looked_at_by_one_when_it_is_due(place: Place) -> None:
    for key, at_ms in (("late", NOW + 1), ("b", NOW), ("a", NOW), ("first", NOW - 1)):
        await place.add([await place.run()], key, look_at_ms=at_ms)
    looks = await asyncio.gather(*(place.store.due(NOW, NOW + 10, 3) for _ in range(5)))
    assert sorted(batch.key for look in looks for batch in look) == ["a", "b", "first"]
    assert {batch.look_at_ms for look in looks for batch in look} == {NOW + 10}
    assert await place.store.due(NOW, NOW + 10, 3) == []
    assert [batch.key for batch in await place.store.due(NOW + 1, NOW + 20, 9)] == ["late"]
    await place.store.look_again("b", NOW)
    assert [batch.key for batch in await place.store.due(NOW, NOW + 20, 1)] == ["b"]


async def test_an_outcome_is_stored_once_and_wakes_its_run_once_that_is_parked(
    place: Place,
) -> None:
    run, other = await place.run(), await place.run(owner="")
    await place.add([run, other])
    key = call_of(run).model_call_id
    assert not await place.store.has_outcome(run.run_id)
    await place.store.add_outcomes("b", {key: ANSWER, "unknown": ERROR})
    await place.store.add_outcomes("b", {key: ERROR})
    found = await place.store.find(run.run_id, key)
    assert found is not None
    assert found[0].outcome == ANSWER
    assert await place.store.has_outcome(run.run_id)
    assert await place.store.runs_to_wake(10) == []
    await place.park(run)
    assert await place.store.runs_to_wake(10) == [run.run_id]
    await place.store.add_outcomes("b", {call_of(other).model_call_id: NOT_MADE})
    assert await place.store.runs_to_wake(10) == sorted([run.run_id, other.run_id])
    assert len(await place.store.runs_to_wake(1)) == 1
    await place.store.forget(key)
    assert await place.store.runs_to_wake(10) == [other.run_id]
    await place.end(other)
    assert await place.store.runs_to_wake(10) == []


async def test_an_outcome_is_of_its_own_batch(place: Place) -> None:
    run = await place.run()
    await place.add([run])
    await place.store.add_outcomes("another", {call_of(run).model_call_id: ANSWER})
    assert not await place.store.has_outcome(run.run_id)


async def test_a_batch_that_nobody_waits_for_is_due_at_once(place: Place) -> None:
    one, two = await place.run(), await place.run()
    await place.add([one, two])
    await place.store.made("b", "msgbatch_1", NOW + 60_000)
    await place.store.abandon(call_of(one).model_call_id)
    assert await place.store.due(NOW, NOW + 1, 9) == []
    await place.store.abandon(call_of(two).model_call_id)
    assert [batch.key for batch in await place.store.due(NOW, NOW + 1, 9)] == ["b"]
    assert all(call.is_abandoned for call in await place.store.calls("b"))
    await place.park(one)
    await place.store.add_outcomes("b", {call_of(one).model_call_id: ANSWER})
    assert not await place.store.has_outcome(one.run_id)
    assert await place.store.runs_to_wake(9) == []


async def test_a_batch_that_may_not_have_been_made_keeps_its_time(place: Place) -> None:
    run = await place.run()
    await place.add([run])
    await place.store.abandon(call_of(run).model_call_id)
    assert await place.store.due(NOW, NOW + 1, 9) == []
    await place.store.abandon("unknown")


async def test_former_calls_are_forgotten_but_for_abandoned_ones(place: Place) -> None:
    run = await place.run()
    calls = [msgspec.structs.replace(call_of(run), model_call_id=name) for name in "abc"]
    batch = Batch("b", "anthropic", NOW, NOW)
    await place.store.add(batch, calls)
    await place.store.abandon("a")
    await place.store.forget_former(run.run_id, "c")
    assert [call.model_call_id for call in await place.store.calls("b")] == ["a", "c"]


async def test_many_calls_are_stored_and_answered(place: Place) -> None:
    runs = [await place.run() for _ in range(250)]
    await place.add(runs)
    await place.store.add_outcomes("b", {call_of(run).model_call_id: ANSWER for run in runs})
    assert all(call.outcome == ANSWER for call in await place.store.calls("b"))

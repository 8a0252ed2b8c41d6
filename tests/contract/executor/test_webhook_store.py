"""What every outbox must do, on every adapter, with the journal that writes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agent_executor.errors import IdempotencyConflictError, LeaseLostError
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import IdempotencyKey, Journal, RunRecord
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.journal.journal_postgres import PostgresJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.log.run_event import RunEvent, RunFinished, RunStarted
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.executor.webhooks.delivery import Delivery, Webhook
from agent_executor.executor.webhooks.store import WebhookStore
from agent_executor.executor.webhooks.store_sql import SqlWebhookStore
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer
from tests.sqlite import migrated_file

FIRST = RunEvent(1, 1_000, RunStarted("agent", 1, "model", "input"))
LAST = RunEvent(2, 2_000, RunFinished("completed", "answer"))
ENDED = 2_000
A, B, C = "https://a.test", "https://b.test", "https://c.test:8443"


class Place:
    """An outbox beside its journal."""

    def __init__(self, store: WebhookStore, journal: Journal) -> None:
        self.store = store
        self.journal = journal

    async def begin(
        self, origin: str = A, *, key: IdempotencyKey | None = None, is_told: bool = True
    ) -> RunRecord:
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
            owner="w/1",
            state="running",
            last_sequence=1,
            has_webhook=is_told,
        )
        webhook = Webhook(f"msg_{run.run_id}", f"{origin}/é?x=1", origin, b"\0secret\xff")
        await self.journal.create(run, [FIRST], key, webhook=webhook if is_told else None)
        return run

    async def end(self, run: RunRecord, ended_at_ms: int = ENDED, **changes: object) -> RunRecord:
        ended = msgspec.structs.replace(
            run, state="completed", ended_at_ms=ended_at_ms, last_sequence=2, **changes
        )
        await self.journal.append(ended, [LAST])
        return ended

    async def ended(self, origin: str = A, ended_at_ms: int = ENDED) -> RunRecord:
        return await self.end(await self.begin(origin), ended_at_ms)

    async def of(self, run: RunRecord) -> Delivery:
        found = await self.store.get(run.organization_id, run.run_id)
        assert found is not None
        return found


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        journal = MemoryJournal()
        yield Place(journal.webhooks, journal)
        return
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        postgres = PostgresDatabase(server.url(name))
        yield Place(SqlWebhookStore(PostgresStatementRunner(postgres)), PostgresJournal(postgres))
        await postgres.close()
        await server.drop_database(name)
        return
    path = tmp_path / "journal.sqlite3"
    migrated_file(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield Place(SqlWebhookStore(SqliteStatementRunner(database)), SqliteJournal(database))
    await database.close()


async def test_a_run_has_its_delivery_from_the_beginning(place: Place) -> None:
    run = await place.begin()
    assert await place.of(run) == Delivery(
        run.run_id, "acme", f"msg_{run.run_id}", f"{A}/é?x=1", A, b"\0secret\xff"
    )
    stored = await place.journal.get("acme", run.run_id)
    assert stored is not None
    assert stored.has_webhook is True


async def test_a_run_without_a_webhook_has_none(place: Place) -> None:
    run = await place.end(await place.begin(is_told=False))
    assert await place.store.get("acme", run.run_id) is None
    assert await place.store.first_due() == {}
    stored = await place.journal.get("acme", run.run_id)
    assert stored is not None
    assert stored.has_webhook is False


async def test_another_organization_has_none(place: Place) -> None:
    run = await place.begin()
    assert await place.store.get("other", run.run_id) is None


async def test_nothing_is_due_before_the_end(place: Place) -> None:
    run = await place.begin()
    goes_on = msgspec.structs.replace(run, last_sequence=2)
    await place.journal.append(goes_on, [RunEvent(2, 1_500, FIRST.payload)])
    assert await place.store.first_due() == {}
    assert await place.store.claim(A, 10**12, 10**12 + 1, 10) == []


async def test_the_end_makes_it_due(place: Place) -> None:
    run = await place.ended()
    assert await place.store.first_due() == {A: ENDED}
    assert (await place.of(run)).due_at_ms == ENDED


async def test_an_end_that_was_refused_makes_nothing_due(place: Place) -> None:
    run = await place.begin()
    with pytest.raises(LeaseLostError):
        await place.end(run, attempt=7)
    assert await place.store.first_due() == {}


async def test_a_repeat_under_a_key_makes_no_other_delivery(place: Place) -> None:
    run = await place.begin(key=IdempotencyKey("key", "digest"))
    again = await place.begin(key=IdempotencyKey("key", "digest"))
    assert await place.store.get("acme", again.run_id) is None
    with pytest.raises(IdempotencyConflictError):
        await place.begin(key=IdempotencyKey("key", "other"))
    await place.end(run)
    [claimed] = await place.store.claim(A, ENDED, ENDED + 1, 10)
    assert claimed.run_id == run.run_id


async def test_a_claim_counts_the_attempt_and_holds_it_for_a_time(place: Place) -> None:
    run = await place.ended()
    [claimed] = await place.store.claim(A, ENDED, 9_000, 10)
    assert (claimed.run_id, claimed.attempts, claimed.due_at_ms) == (run.run_id, 1, 9_000)
    assert await place.store.claim(A, 8_999, 20_000, 10) == []
    assert await place.store.first_due() == {A: 9_000}
    # Whoever claimed it has died.
    [again] = await place.store.claim(A, 9_000, 20_000, 10)
    assert again.attempts == 2


async def test_an_outcome_is_stored(place: Place) -> None:
    run = await place.ended()
    [claimed] = await place.store.claim(A, ENDED, 9_000, 10)
    later = msgspec.structs.replace(claimed, status_code=500, error="é", due_at_ms=7_000)
    assert await place.store.conclude(later)
    assert await place.of(run) == later
    assert await place.store.first_due() == {A: 7_000}
    [again] = await place.store.claim(A, 7_000, 20_000, 10)
    told = msgspec.structs.replace(
        again, state="delivered", status_code=204, error="", due_at_ms=0, secret_ciphertext=b""
    )
    assert await place.store.conclude(told)
    assert await place.of(run) == told
    assert await place.store.first_due() == {}
    assert await place.store.claim(A, 10**12, 10**12 + 1, 10) == []


async def test_the_outcome_of_a_lost_attempt_is_not_stored(place: Place) -> None:
    run = await place.ended()
    [lost] = await place.store.claim(A, ENDED, 3_000, 10)
    [own] = await place.store.claim(A, 3_000, 9_000, 10)
    failed = msgspec.structs.replace(lost, state="failed", due_at_ms=0)
    assert not await place.store.conclude(failed)
    assert await place.of(run) == own


async def test_a_log_that_is_written_after_its_end_tells_nothing_again(place: Place) -> None:
    run = await place.ended()
    [claimed] = await place.store.claim(A, ENDED, 9_000, 10)
    await place.store.conclude(msgspec.structs.replace(claimed, state="delivered", due_at_ms=0))
    stored = await place.journal.get("acme", run.run_id)
    assert stored is not None
    after = msgspec.structs.replace(stored, ended_at_ms=3_000, last_sequence=3)
    await place.journal.append(after, [RunEvent(3, 3_000, FIRST.payload)])
    assert await place.store.first_due() == {}


async def test_receivers_are_apart(place: Place) -> None:
    await place.begin(B)
    for origin, ended_at_ms in ((C, 5_000), (A, 4_000), (A, 3_000), (C, 6_000)):
        await place.ended(origin, ended_at_ms)
    assert await place.store.first_due() == {A: 3_000, C: 5_000}
    assert [claimed.origin for claimed in await place.store.claim(C, 9_000, 20_000, 10)] == [C, C]
    assert await place.store.first_due() == {A: 3_000, C: 20_000}


async def test_the_longest_due_are_claimed_first(place: Place) -> None:
    ends = [5_000, 3_000, 4_000, 6_000]
    runs = {ended_at_ms: await place.ended(A, ended_at_ms) for ended_at_ms in ends}
    claimed = await place.store.claim(A, 9_000, 20_000, 2)
    assert {delivery.run_id for delivery in claimed} == {runs[3_000].run_id, runs[4_000].run_id}
    claimed = await place.store.claim(A, 5_500, 20_000, 2)
    assert [delivery.run_id for delivery in claimed] == [runs[5_000].run_id]


async def test_each_is_claimed_once_by_many(place: Place) -> None:
    runs = [await place.ended() for _ in range(20)]
    claims = await asyncio.gather(*(place.store.claim(A, ENDED, 10**12, 3) for _ in range(10)))
    claimed = [delivery.run_id for claim in claims for delivery in claim]
    assert sorted(claimed) == sorted(run.run_id for run in runs)


async def test_executors_on_one_database_claim_each_once(postgres_server: PostgresServer) -> None:
    name = await postgres_server.new_database(MIGRATIONS)
    databases = [PostgresDatabase(postgres_server.url(name)) for _ in range(3)]
    stores = [SqlWebhookStore(PostgresStatementRunner(database)) for database in databases]
    place = Place(stores[0], PostgresJournal(databases[0]))
    runs = [await place.ended() for _ in range(30)]
    claims = await asyncio.gather(
        *(store.claim(A, ENDED, 10**12, 2) for store in stores for _ in range(10))
    )
    claimed = [delivery.run_id for claim in claims for delivery in claim]
    # Some may have passed by what another one was claiming.
    assert len(set(claimed)) == len(claimed)
    left = await place.store.claim(A, ENDED, 10**12, 100)
    assert sorted([*claimed, *(each.run_id for each in left)]) == sorted(run.run_id for run in runs)
    for database in databases:
        await database.close()
    await postgres_server.drop_database(name)

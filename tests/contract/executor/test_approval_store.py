"""What every approval store must do, on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from agent_executor.executor.approvals.approval import Approval, Decision
from agent_executor.executor.approvals.store import ApprovalStore
from agent_executor.executor.approvals.store_memory import MemoryApprovalStore
from agent_executor.executor.approvals.store_sql import SqlApprovalStore
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.journal.journal_postgres import PostgresJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.log.run_event import RunEvent, RunFinished, RunStarted
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_postgres import PostgresStatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from tests.postgres import PostgresServer
from tests.sqlite import migrated_file

FIRST = RunEvent(1, 1_000, RunStarted("agent", 1, "model", "input"))
LAST = RunEvent(2, 1_001, RunFinished("completed"))
NOW = 5_000
EXPIRY = 9_000


@dataclass
class Place:
    """A store and the journal beside it."""

    store: ApprovalStore
    journal: Journal

    async def run(self, *, owner: str = "", organization_id: str = "acme") -> RunRecord:
        """Makes a run that waits."""
        run = RunRecord(
            run_id=new_id(),
            organization_id=organization_id,
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
            wake_at_ms=0 if owner else EXPIRY,
        )
        await self.journal.create(run, [FIRST])
        return run

    async def end(self, run: RunRecord) -> None:
        ended = msgspec.structs.replace(run, state="completed", ended_at_ms=1_001, last_sequence=2)
        await self.journal.append(ended, [LAST])

    async def ask(self, run: RunRecord, number: int = 0, **changes: object) -> Approval:
        """Stores a call of a run that waits."""
        asked = Approval(
            tool_call_id=f"{run.run_id}_1_{number}",
            run_id=run.run_id,
            organization_id=run.organization_id,
            agent_id=run.agent_id,
            tool_name="email",
            arguments_json='{"to":"é"}',
            reason="It is sent.",
            created_at_ms=2_000 + number,
            expires_at_ms=EXPIRY,
        )
        asked = msgspec.structs.replace(asked, **changes)
        await self.store.request([asked], NOW)
        return asked

    async def decide(self, asked: Approval, decision: Decision) -> Approval:
        decided = await self.store.decide(
            asked.organization_id, asked.run_id, asked.tool_call_id, decision
        )
        assert decided is not None
        return decided

    async def pending(self, **filters: object) -> list[str]:
        found = await self.store.list_pending("acme", 10, NOW, **filters)  # type: ignore[arg-type]  # filters of the method
        return [approval.tool_call_id for approval in found]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        journal = MemoryJournal()
        yield Place(MemoryApprovalStore(journal), journal)
        return
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        postgres = PostgresDatabase(server.url(name))
        statements = PostgresStatementRunner(postgres)
        yield Place(SqlApprovalStore(statements), PostgresJournal(postgres))
        await postgres.close()
        await server.drop_database(name)
        return
    path = tmp_path / "journal.sqlite3"
    migrated_file(path, MIGRATIONS)
    database = SqliteDatabase(path)
    yield Place(SqlApprovalStore(SqliteStatementRunner(database)), SqliteJournal(database))
    await database.close()


def approve(
    *, by: str = "bob", reason: str = "", arguments_json: str = "", at_ms: int = NOW
) -> Decision:
    return Decision("approved", by, reason, arguments_json, at_ms)


def deny(*, by: str = "eve", reason: str = "No.", at_ms: int = NOW) -> Decision:
    return Decision("denied", by, reason, "", at_ms)


async def test_what_is_asked_is_read(place: Place) -> None:
    asked = await place.ask(await place.run())
    assert await place.store.get("acme", asked.run_id, asked.tool_call_id) == asked
    assert await place.store.list_pending("acme", 10, NOW) == [asked]


async def test_another_organization_sees_and_decides_nothing(place: Place) -> None:
    asked = await place.ask(await place.run())
    key = (asked.run_id, asked.tool_call_id)
    assert await place.store.get("other", *key) is None
    assert await place.store.list_pending("other", 10, NOW) == []
    assert await place.store.decide("other", *key, approve()) is None
    assert await place.store.get("acme", *key) == asked


async def test_there_is_no_approval_of_unknown_ids(place: Place) -> None:
    asked = await place.ask(await place.run())
    for key in (
        ("none", asked.tool_call_id),
        (asked.run_id, "none"),
        ("\0", asked.tool_call_id),
        (asked.run_id, "\0"),
    ):
        assert await place.store.get("acme", *key) is None
        assert await place.store.decide("acme", *key, approve()) is None


async def test_asking_again_changes_nothing(place: Place) -> None:
    run = await place.run()
    asked = await place.ask(run)
    await place.ask(run, tool_name="other", created_at_ms=7_000)
    assert await place.store.list_pending("acme", 10, NOW) == [asked]
    decided = await place.decide(asked, approve())
    await place.ask(run)
    assert await place.store.get("acme", run.run_id, asked.tool_call_id) == decided
    await place.store.take_up(run.run_id, [asked.tool_call_id])
    await place.ask(run)
    assert await place.pending() == []


async def test_a_decision_is_kept_with_who_and_why(place: Place) -> None:
    asked = await place.ask(await place.run())
    decision = approve(by="bob", reason="fine", arguments_json='{"to":"b"}')
    decided = await place.decide(asked, decision)
    assert decided == msgspec.structs.replace(asked, **msgspec.structs.asdict(decision))
    assert decision.is_that_of(decided)
    assert await place.store.get("acme", asked.run_id, asked.tool_call_id) == decided
    assert await place.pending() == []


async def test_the_first_decision_stays(place: Place) -> None:
    asked = await place.ask(await place.run())
    first = await place.decide(asked, deny(by="eve"))
    second = approve(by="bob")
    assert await place.decide(asked, second) == first
    assert not second.is_that_of(first)
    assert await place.decide(asked, deny(by="bob", reason="other")) == first


async def test_of_many_decisions_at_once_one_is_stored(place: Place) -> None:
    asked = [await place.ask(await place.run(), number) for number in range(3)]
    decisions = [
        approve(by=f"u{number}") if number % 2 else deny(by=f"u{number}") for number in range(20)
    ]
    for call in asked:
        seen = await asyncio.gather(*(place.decide(call, decision) for decision in decisions))
        assert len({(it.state, it.decided_by) for it in seen}) == 1
        assert seen[0].state in {"approved", "denied"}


async def test_what_has_expired_is_neither_listed_nor_decided(place: Place) -> None:
    run = await place.run()
    asked = await place.ask(run)
    assert await place.store.list_pending("acme", 10, EXPIRY - 1) == [asked]
    assert await place.store.list_pending("acme", 10, EXPIRY) == []
    assert await place.decide(asked, approve(at_ms=EXPIRY)) == asked
    await place.store.expire(run.run_id, EXPIRY - 1)
    assert await place.store.decided(run.run_id) == []
    await place.store.expire(run.run_id, EXPIRY)
    [expired] = await place.store.decided(run.run_id)
    assert expired == msgspec.structs.replace(asked, state="expired", decided_at_ms=EXPIRY)
    assert await place.decide(asked, approve(at_ms=EXPIRY - 1)) == expired


async def test_what_is_decided_does_not_expire(place: Place) -> None:
    run = await place.run()
    asked = await place.ask(run)
    decided = await place.decide(asked, approve(at_ms=EXPIRY - 1))
    await place.store.expire(run.run_id, EXPIRY)
    assert await place.store.decided(run.run_id) == [decided]


async def test_only_the_run_that_is_meant_expires(place: Place) -> None:
    run, other = await place.run(), await place.run()
    await place.ask(run)
    await place.ask(other)
    await place.store.expire(run.run_id, EXPIRY)
    assert await place.store.decided(other.run_id) == []


async def test_an_expiry_and_a_decision_at_once_leave_one_of_them(place: Place) -> None:
    for _ in range(10):
        run = await place.run()
        asked = await place.ask(run)
        decided, _ = await asyncio.gather(
            place.decide(asked, approve(at_ms=EXPIRY - 1)),
            place.store.expire(run.run_id, EXPIRY),
        )
        assert decided.state in {"approved", "expired"}
        assert await place.store.decided(run.run_id) == [decided]


async def test_approvals_of_runs_that_have_ended_are_void(place: Place) -> None:
    run, other = await place.run(), await place.run()
    asked, left = await place.ask(run), await place.ask(other)
    await place.end(run)
    assert await place.store.list_pending("acme", 10, NOW) == [left]
    assert await place.decide(asked, approve()) == asked


async def test_approvals_of_runs_that_are_to_end_are_void(place: Place) -> None:
    run, other = await place.run(), await place.run()
    asked, left = await place.ask(run), await place.ask(other)
    await place.journal.request_cancel(msgspec.structs.replace(run, cancel_requested_at_ms=3_000))
    assert await place.store.list_pending("acme", 10, NOW) == [left]
    assert await place.decide(asked, approve()) == asked


async def test_the_oldest_are_listed_first_page_by_page(place: Place) -> None:
    run = await place.run()
    for number in (2, 0, 1):
        await place.ask(run, number)
    await place.ask(run, 3, created_at_ms=2_001)
    ids = [f"{run.run_id}_1_{number}" for number in (0, 1, 3, 2)]
    assert await place.pending() == ids
    for cut in range(1, 4):
        page = await place.store.list_pending("acme", cut, NOW)
        assert [it.tool_call_id for it in page] == ids[:cut]
        after = (page[-1].created_at_ms, page[-1].tool_call_id)
        assert await place.pending(after=after) == ids[cut:]
    assert await place.pending(after=(1_999, "\0")) == ids


async def test_lists_are_filtered_by_run_and_agent(place: Place) -> None:
    run, other = await place.run(), await place.run()
    mine = await place.ask(run)
    theirs = await place.ask(other, agent_id="other")
    assert await place.pending(run_id=run.run_id) == [mine.tool_call_id]
    assert await place.pending(agent_id="other") == [theirs.tool_call_id]
    assert await place.pending(run_id=run.run_id, agent_id="other") == []
    assert await place.pending(run_id="\0") == []


async def test_decisions_are_taken_up_once(place: Place) -> None:
    run = await place.run()
    first, second, third = [await place.ask(run, number) for number in range(3)]
    await place.decide(second, deny())
    await place.decide(first, approve())
    found = [it.tool_call_id for it in await place.store.decided(run.run_id)]
    assert found == [first.tool_call_id, second.tool_call_id]
    await place.store.take_up(run.run_id, [first.tool_call_id])
    found = [it.tool_call_id for it in await place.store.decided(run.run_id)]
    assert found == [second.tool_call_id]
    await place.store.take_up(run.run_id, [second.tool_call_id, "none"])
    assert await place.store.decided(run.run_id) == []
    kept = await place.store.get("acme", run.run_id, first.tool_call_id)
    assert kept is not None
    assert kept.state == "approved"
    assert await place.pending() == [third.tool_call_id]


async def test_runs_are_woken_that_are_decided_about_and_that_nobody_drives(place: Place) -> None:
    decided, driven = await place.run(), await place.run(owner="a/1")
    pending, ended, taken = await place.run(), await place.run(), await place.run()
    for run in (decided, driven, ended, taken):
        await place.decide(await place.ask(run), approve())
    await place.decide(await place.ask(decided, 1), deny())
    await place.ask(pending)
    await place.end(ended)
    await place.store.take_up(taken.run_id, [f"{taken.run_id}_1_0"])
    assert await place.store.runs_to_wake(10) == [decided.run_id]


async def test_as_many_runs_are_woken_as_there_is_room_for(place: Place) -> None:
    runs = [await place.run() for _ in range(3)]
    for run in runs:
        await place.decide(await place.ask(run), approve())
    assert len(await place.store.runs_to_wake(2)) == 2
    assert await place.store.runs_to_wake(0) == []
    assert await place.store.runs_to_wake(9) == sorted(run.run_id for run in runs)


async def test_what_is_left_of_ended_runs_is_put_away_and_nothing_else(place: Place) -> None:
    ended, waiting = await place.run(), await place.run()
    left, due = await place.ask(ended), await place.ask(waiting)
    await place.end(ended)
    await place.store.request([], EXPIRY + 1)
    await place.store.expire(ended.run_id, EXPIRY + 1)
    await place.store.expire(waiting.run_id, EXPIRY + 1)
    assert await place.store.decided(ended.run_id) == []
    assert [it.tool_call_id for it in await place.store.decided(waiting.run_id)] == [
        due.tool_call_id
    ]
    assert await place.store.get("acme", ended.run_id, left.tool_call_id) is not None


async def test_texts_keep_what_a_database_cannot_as_its_sign(place: Place) -> None:
    asked = await place.ask(await place.run())
    decided = await place.decide(asked, deny(reason="a\0b"))
    assert decided.decision_reason in {"a\0b", "a\ufffdb"}

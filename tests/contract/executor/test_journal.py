"""What every journal must do, on every adapter."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agent_executor.errors import IdempotencyConflictError, LeaseLostError
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import IdempotencyKey, Journal, RunFilter, RunRecord
from agent_executor.executor.journal.journal_memory import MemoryJournal
from agent_executor.executor.journal.journal_postgres import PostgresJournal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.log.run_event import ModelCallStarted, RunEvent, RunStarted
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.sqlite import SqliteDatabase
from tests.postgres import PostgresServer
from tests.sqlite import migrated_file

FIRST = RunEvent(1, 1_000, RunStarted("agent", 1, "model", "input"))
SECOND = RunEvent(2, 1_001, ModelCallStarted("call", 1))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryJournal()
        return
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        name = await server.new_database(MIGRATIONS)
        shared = PostgresJournal(PostgresDatabase(server.url(name)))
        yield shared
        await shared.close()
        await server.drop_database(name)
        return
    path = tmp_path / "journal.sqlite3"
    migrated_file(path, MIGRATIONS)
    journal = SqliteJournal(SqliteDatabase(path))
    yield journal
    await journal.close()


def new_run(**changes: object) -> RunRecord:
    """Returns a run with one event."""
    run = RunRecord(
        run_id=new_id(),
        organization_id="acme",
        user_id="ada",
        permissions=("run:execute", "tool:calculator"),
        agent_id="agent",
        agent_version=1,
        model="model",
        input="input é",
        is_test=False,
        traceparent="",
        created_at_ms=1_000,
        owner="a/1",
        state="running",
        last_sequence=1,
        parent_run_id="parent",
        amount_id="root",
    )
    return msgspec.structs.replace(run, **changes)


async def test_what_was_written_is_read(journal: Journal) -> None:
    run = new_run()
    await journal.create(run, [FIRST])
    appended = msgspec.structs.replace(run, last_sequence=2, tokens_used=7, cost_nano_usd=9)
    await journal.append(appended, [SECOND])
    assert await journal.get("acme", run.run_id) == appended
    assert await journal.events(run.run_id) == [FIRST, SECOND]
    assert await journal.events(run.run_id, after_sequence=1) == [SECOND]


async def test_another_organization_sees_nothing(journal: Journal) -> None:
    run = new_run()
    await journal.create(run, [FIRST])
    assert await journal.get("other", run.run_id) is None
    assert await journal.list_runs("other", 10) == []


async def test_unknown_run_is_none(journal: Journal) -> None:
    assert await journal.get("acme", "no such run") is None
    assert await journal.events("no such run") == []


async def test_append_with_another_attempt_is_refused_and_changes_nothing(
    journal: Journal,
) -> None:
    run = new_run()
    await journal.create(run, [FIRST])
    stale = msgspec.structs.replace(run, attempt=2, last_sequence=2)
    with pytest.raises(LeaseLostError):
        await journal.append(stale, [SECOND])
    assert await journal.events(run.run_id) == [FIRST]
    assert await journal.get("acme", run.run_id) == run


async def test_append_that_would_leave_a_gap_or_repeat_is_refused(journal: Journal) -> None:
    run = new_run()
    await journal.create(run, [FIRST])
    appended = msgspec.structs.replace(run, last_sequence=2)
    await journal.append(appended, [SECOND])
    with pytest.raises(LeaseLostError):
        await journal.append(appended, [SECOND])
    assert len(await journal.events(run.run_id)) == 2


async def test_list_is_newest_first_filtered_and_paged(journal: Journal) -> None:
    runs = [new_run(agent_id="odd" if number % 2 else "even") for number in range(6)]
    for run in runs:
        await journal.create(run, [FIRST])
    newest_first = sorted((run.run_id for run in runs), reverse=True)
    listed = await journal.list_runs("acme", 10)
    assert [run.run_id for run in listed] == newest_first
    page = await journal.list_runs("acme", 2, before_run_id=newest_first[1])
    assert [run.run_id for run in page] == newest_first[2:4]
    assert {
        run.agent_id
        for run in await journal.list_runs("acme", 10, run_filter=RunFilter(agent_id="odd"))
    } == {"odd"}
    assert await journal.list_runs("acme", 10, run_filter=RunFilter(state="completed")) == []


async def test_claim_takes_only_unfinished_runs_of_owners_without_a_lease(
    journal: Journal,
) -> None:
    dead = new_run(owner="a/1")
    alive = new_run(owner="b/1")
    ended = new_run(owner="a/1", state="completed", ended_at_ms=2_000)
    for run in (dead, alive, ended):
        await journal.create(run, [FIRST])
    await journal.renew_lease("a/1", 5_000)
    await journal.renew_lease("b/1", 9_000)
    assert await journal.claim("c/1", 4_999, 10) == []
    claimed = await journal.claim("c/1", 5_000, 10)
    assert claimed == [msgspec.structs.replace(dead, owner="c/1", attempt=2)]
    await journal.renew_lease("c/1", 9_000)
    assert await journal.claim("d/1", 5_001, 10) == []


async def test_claim_fences_the_former_owner(journal: Journal) -> None:
    run = new_run()
    await journal.create(run, [FIRST])
    (claimed,) = await journal.claim("c/1", 1, 10)
    with pytest.raises(LeaseLostError):
        await journal.append(msgspec.structs.replace(run, last_sequence=2), [SECOND])
    await journal.append(msgspec.structs.replace(claimed, last_sequence=2), [SECOND])
    assert len(await journal.events(run.run_id)) == 2


async def test_released_leases_are_those_of_one_worker(journal: Journal) -> None:
    mine = new_run(owner="w/old")
    similar = new_run(owner="w2/old")
    for run in (mine, similar):
        await journal.create(run, [FIRST])
        await journal.renew_lease(run.owner, 9_000)
    await journal.release_leases("w")
    assert [run.run_id for run in await journal.claim("w/new", 1, 10)] == [mine.run_id]


async def test_claim_is_limited_and_oldest_first(journal: Journal) -> None:
    runs = sorted((new_run() for _ in range(4)), key=lambda run: run.run_id)
    for run in reversed(runs):
        await journal.create(run, [FIRST])
    claimed = await journal.claim("c/1", 1, 3)
    assert [run.run_id for run in claimed] == [run.run_id for run in runs[:3]]


async def test_claim_leaves_the_claimers_own_runs_alone_however_late_it_renews(
    journal: Journal,
) -> None:
    await journal.create(new_run(owner="a/1"), [FIRST])
    await journal.renew_lease("a/1", 5_000)
    assert await journal.claim("a/1", 6_000, 10) == []
    assert len(await journal.claim("b/1", 6_000, 10)) == 1


async def test_a_run_that_waits_for_its_turn_is_claimed_and_organizations_take_turns(
    journal: Journal,
) -> None:
    greedy = [new_run(owner="", state="pending") for _ in range(4)]
    modest = [new_run(owner="", state="pending", organization_id="other") for _ in range(2)]
    for run in (*greedy, *modest):
        await journal.create(run, [FIRST])
    assert await journal.count_waiting() == {"acme": 4, "other": 2}
    claimed = await journal.claim("c/1", 1, 4)
    assert [run.organization_id for run in claimed].count("other") == 2
    assert {run.run_id for run in claimed} == {
        run.run_id for run in (*sorted(greedy, key=lambda run: run.run_id)[:2], *modest)
    }
    assert await journal.count_waiting() == {"acme": 2}


@pytest.mark.parametrize("waiting_only", [False, True])
async def test_organizations_that_are_driven_least_come_first(
    journal: Journal, waiting_only: bool
) -> None:
    names = {"acme": 5, 'an "odd" é\\ one': 3, "third": 1}
    for name, count in names.items():
        for _ in range(count):
            await journal.create(new_run(owner="", attempt=0, organization_id=name), [FIRST])

    async def claim(limit: int, **driven: int) -> Counter[str]:
        named = dict(zip(names, driven.values(), strict=True))
        claimed = await journal.claim("c/1", 1, limit, waiting_only=waiting_only, driven=named)
        assert {run.attempt for run in claimed} <= {1}
        assert all(run.owner == "c/1" for run in claimed)
        return Counter(run.organization_id for run in claimed)

    first, second, third = names
    # One at a time they come to those that hold the fewest places, and not to the oldest.
    assert await claim(1, a=2, b=0, c=1) == {second: 1}
    assert await claim(2, a=3, b=1, c=1) == {second: 1, third: 1}
    # As places go, two to one: what is left of the second, and then the first alone.
    assert await claim(3, a=1, b=1, c=2) == {first: 2, second: 1}
    assert await claim(10, a=0, b=0, c=0) == {first: 3}
    assert await claim(10, a=0, b=0, c=0) == {}


async def test_a_look_at_the_waiting_leaves_all_others_alone(journal: Journal) -> None:
    waiting = [new_run(owner="", attempt=0) for _ in range(3)]
    parked, dead = new_run(), new_run(owner="dead/1")
    for each in (*waiting, parked, dead, new_run(owner="", state="completed", ended_at_ms=9)):
        await journal.create(each, [FIRST])
    await journal.append(
        msgspec.structs.replace(parked, owner="", wake_at_ms=5, last_sequence=2), [SECOND]
    )
    claimed = await journal.claim("c/1", 10, 10, waiting_only=True)
    assert {run.run_id for run in claimed} == {run.run_id for run in waiting}
    assert claimed == sorted(claimed, key=lambda run: run.run_id)
    claimed = await journal.claim("c/1", 10, 10)
    assert {run.run_id for run in claimed} == {parked.run_id, dead.run_id}


async def test_of_many_claims_at_once_each_waiting_run_goes_to_one(journal: Journal) -> None:
    runs = [new_run(owner="", attempt=0, organization_id=f"o{n % 3}") for n in range(20)]
    for run in runs:
        await journal.create(run, [FIRST])
    claimed = [
        run
        for claims in await asyncio.gather(
            *(journal.claim(f"c{n}/1", 1, 3, waiting_only=True) for n in range(10))
        )
        for run in claims
    ]
    # Claims at the same time may find less than there is, but never the same.
    while more := await journal.claim("last/1", 1, 3, waiting_only=True):
        claimed += more
    assert sorted(run.run_id for run in claimed) == sorted(run.run_id for run in runs)


async def test_those_that_have_ended_are_told(journal: Journal) -> None:
    runs = [new_run(), new_run(state="completed", ended_at_ms=9), new_run(owner="")]
    for run in runs:
        await journal.create(run, [FIRST])
    asked = [run.run_id for run in runs] + ["no such run"]
    assert await journal.ended(asked) == [runs[1].run_id]
    assert await journal.ended([]) == []


async def test_the_run_of_a_key_is_found_by_the_same_request_only(journal: Journal) -> None:
    run, key = new_run(), IdempotencyKey("key é", "digest")
    assert await journal.run_of_key("acme", key) is None
    await journal.create(run, [FIRST], key)
    assert await journal.run_of_key("acme", key) == run.run_id
    assert await journal.run_of_key("other", key) is None
    with pytest.raises(IdempotencyConflictError):
        await journal.run_of_key("acme", IdempotencyKey("key é", "another digest"))


async def test_a_parked_run_is_claimed_when_its_time_has_come_and_by_name_at_once(
    journal: Journal,
) -> None:
    run, other = new_run(), new_run()
    for each in (run, other):
        await journal.create(each, [FIRST])
        parked = msgspec.structs.replace(
            each, owner="", wake_at_ms=5_000, state="waiting", last_sequence=2
        )
        await journal.append(parked, [SECOND])
    assert await journal.count_waiting() == {}
    assert await journal.claim("c/1", 4_999, 10) == []
    taken = await journal.claim_run("c/1", run.run_id, 1_500)
    assert taken is not None
    assert (taken.owner, taken.attempt, taken.wake_at_ms) == ("c/1", 2, 0)
    await journal.renew_lease("c/1", 9_000)
    assert await journal.claim_run("d/1", run.run_id, 1_500) is None
    assert [each.run_id for each in await journal.claim("d/1", 5_000, 10)] == [other.run_id]


async def test_an_ended_or_unknown_run_is_not_claimed_by_name(journal: Journal) -> None:
    ended = new_run(state="completed", ended_at_ms=2_000)
    await journal.create(ended, [FIRST])
    assert await journal.claim_run("c/1", ended.run_id, 1) is None
    assert await journal.claim_run("c/1", "no such run", 1) is None


async def test_a_repeat_under_a_key_is_the_same_run_and_stores_nothing(journal: Journal) -> None:
    first, repeat, elsewhere = new_run(), new_run(), new_run(organization_id="other")
    key = IdempotencyKey("key é", "digest")
    assert await journal.create(first, [FIRST], key) == first.run_id
    assert await journal.create(repeat, [FIRST], key) == first.run_id
    assert await journal.get("acme", repeat.run_id) is None
    assert await journal.create(elsewhere, [FIRST], key) == elsewhere.run_id
    with pytest.raises(IdempotencyConflictError):
        await journal.create(new_run(), [FIRST], IdempotencyKey("key é", "another digest"))
    await journal.forget_keys(1_000)
    assert await journal.create(new_run(), [FIRST], key) == first.run_id
    await journal.forget_keys(1_001)
    again = new_run()
    assert await journal.create(again, [FIRST], key) == again.run_id


async def test_a_request_to_cancel_is_seen_by_the_owner_and_survives_its_writes(
    journal: Journal,
) -> None:
    run, untouched = new_run(), new_run()
    for each in (run, untouched):
        await journal.create(each, [FIRST])
    asked = msgspec.structs.replace(
        run, cancel_requested_at_ms=7, cancel_user_id="ada", cancel_reason="enough"
    )
    await journal.request_cancel(asked)
    await journal.request_cancel(msgspec.structs.replace(asked, cancel_user_id="late"))
    await journal.append(msgspec.structs.replace(run, last_sequence=2), [SECOND])
    (seen,) = await journal.cancel_requested("a/1")
    assert (seen.run_id, seen.cancel_user_id, seen.cancel_reason) == (run.run_id, "ada", "enough")
    assert await journal.cancel_requested("b/1") == []
    ended = msgspec.structs.replace(run, last_sequence=3, state="cancelled", ended_at_ms=9)
    third = RunEvent(3, 1_002, ModelCallStarted("call", 2))
    await journal.append(ended, [third])
    assert await journal.cancel_requested("a/1") == []


async def test_runs_that_their_owner_gives_up_can_be_claimed(journal: Journal) -> None:
    run, kept, ended, another = new_run(), new_run(), new_run(), new_run(owner="b/1")
    for each in (run, kept, ended, another):
        await journal.create(each, [FIRST])
    end = msgspec.structs.replace(ended, state="failed", ended_at_ms=9, last_sequence=2)
    await journal.append(end, [SECOND])
    for owner in ("a/1", "b/1"):
        await journal.renew_lease(owner, 10_000)
    assert set(await journal.owned("a/1")) == {run.run_id, kept.run_id}
    await journal.give_up("a/1", [run.run_id, ended.run_id, another.run_id])
    (claimed,) = await journal.claim("a/1", 2_000, 10)
    assert (claimed.run_id, claimed.attempt) == (run.run_id, 2)
    assert await journal.claim("c/1", 2_000, 10) == []


@pytest.mark.parametrize("is_parked_first", [True, False])
async def test_a_parked_run_that_is_to_end_can_be_claimed_at_once(
    journal: Journal, *, is_parked_first: bool
) -> None:
    run, other = new_run(), new_run()
    for each in (run, other):
        await journal.create(each, [FIRST])
    parked = msgspec.structs.replace(
        run, owner="", state="waiting", wake_at_ms=10**12, last_sequence=2
    )
    if is_parked_first:
        await journal.append(parked, [SECOND])
    await journal.request_cancel(msgspec.structs.replace(run, cancel_requested_at_ms=7))
    if not is_parked_first:
        await journal.append(parked, [SECOND])
    await journal.append(msgspec.structs.replace(parked, run_id=other.run_id), [SECOND])
    (claimed,) = await journal.claim("c/1", 2_000, 10)
    assert (claimed.run_id, claimed.cancel_requested_at_ms) == (run.run_id, 7)


async def test_lists_are_filtered_by_user_conversation_parent_and_time(journal: Journal) -> None:
    run = new_run(
        user_id="grace", conversation_id="talk", parent_run_id="another", created_at_ms=2_000
    )
    for each in (run, new_run()):
        await journal.create(each, [FIRST])
    for run_filter in (
        RunFilter(user_id="grace"),
        RunFilter(conversation_id="talk"),
        RunFilter(parent_run_id="another"),
        RunFilter(start_ms=2_000),
        RunFilter(start_ms=1_500, end_ms=2_001),
    ):
        listed = await journal.list_runs("acme", 10, run_filter=run_filter)
        assert [each.run_id for each in listed] == [run.run_id], run_filter
    assert await journal.list_runs("acme", 10, run_filter=RunFilter(end_ms=1_000)) == []


async def test_a_run_can_be_parked_without_an_event(journal: Journal) -> None:
    run = new_run()
    await journal.create(run, [FIRST])
    parked = msgspec.structs.replace(run, owner="", state="waiting", wake_at_ms=9_000)
    await journal.append(parked, [])
    assert await journal.get("acme", run.run_id) == parked
    assert await journal.events(run.run_id) == [FIRST]
    taken = await journal.claim_run("b/1", run.run_id, 0)
    assert taken is not None
    with pytest.raises(LeaseLostError):
        await journal.append(parked, [])


async def test_the_last_sequences_of_many_runs_are_read_at_once(journal: Journal) -> None:
    runs = [new_run() for _ in range(3)]
    for run in runs:
        await journal.create(msgspec.structs.replace(run, last_sequence=1), [FIRST])
    grown = msgspec.structs.replace(runs[1], last_sequence=2)
    await journal.append(grown, [SECOND])
    asked = [runs[0].run_id, runs[1].run_id, new_id(), "é'\u0000"[:2]]
    assert await journal.last_sequences(asked) == {runs[0].run_id: 1, runs[1].run_id: 2}
    assert await journal.last_sequences([]) == {}

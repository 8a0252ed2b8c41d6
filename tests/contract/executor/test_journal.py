"""What every journal must do, on every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agent_executor.errors import LeaseLostError
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal import Journal, RunRecord
from agent_executor.executor.journal_memory import MemoryJournal
from agent_executor.executor.journal_sqlite import SqliteJournal
from agent_executor.executor.run_event import ModelCallStarted, RunEvent, RunStarted
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase

FIRST = RunEvent(1, 1_000, RunStarted("agent", 1, "model", "input"))
SECOND = RunEvent(2, 1_001, ModelCallStarted("call", 1))


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    """Yields each adapter, empty."""
    if request.param == "memory":
        yield MemoryJournal()
        return
    path = tmp_path / "journal.sqlite3"
    upgrade(path, MIGRATIONS)
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
    assert {run.agent_id for run in await journal.list_runs("acme", 10, agent_id="odd")} == {"odd"}
    assert await journal.list_runs("acme", 10, state="completed") == []


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

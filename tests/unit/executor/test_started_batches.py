"""Batches of background runs: each input is started or refused for itself, in few commits."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_executor.errors import AgentNotFoundError, IdempotencyConflictError
from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.runs.batch_convert import started_to_proto
from agent_executor.executor.runs.batches import start_batch
from agent_executor.executor.runs.idempotency import idempotency_key
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.storage.group_commit import BatchStatistics
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from tests.unit.executor.platforms import ADA, Platform, until_idle

INPUTS = [f"What is {number} + 1?" for number in range(6)]
NOTHING = RunOptions()


def keys(count: int, request: bytes = b"request") -> list[IdempotencyKey]:
    return [idempotency_key("key", "ada", "batch", request, index) for index in range(count)]


async def test_each_input_has_its_run_in_the_order_of_the_inputs() -> None:
    platform = Platform()
    agent_id = await platform.agent()
    answer = started_to_proto(await start_batch(platform.runs, agent_id, INPUTS, ADA, NOTHING))
    assert [started.index for started in answer.results] == list(range(6))
    assert answer.started_count == 6
    assert not any(started.HasField("error") for started in answer.results)
    views = [await platform.runs.get(started.run_id, ADA) for started in answer.results]
    assert [view.run.input for view in views] == INPUTS
    assert all(view.state.is_background for view in views)
    await until_idle(platform.runs)
    views = [await platform.runs.get(started.run_id, ADA) for started in answer.results]
    assert {view.state.state for view in views} == {"completed"}


async def test_what_finds_no_room_is_refused_alone_and_begun_by_a_repeat() -> None:
    platform = Platform(max_active_runs=0, max_waiting_runs=4)
    agent_id = await platform.agent()
    answer = started_to_proto(
        await start_batch(platform.runs, agent_id, INPUTS, ADA, NOTHING, keys(6))
    )
    codes = sorted(started.code for started in answer.results)
    assert codes == ["", "", "", "", "LIMIT_EXCEEDED", "LIMIT_EXCEEDED"]
    assert answer.started_count == 4
    assert all(bool(started.run_id) != bool(started.error) for started in answer.results)
    again = started_to_proto(
        await start_batch(platform.runs, agent_id, INPUTS, ADA, NOTHING, keys(6))
    )
    assert [each.run_id for each in again.results] == [each.run_id for each in answer.results]
    assert len(await platform.runs.list_runs(ADA, 100)) == 4


async def test_what_concerns_the_agent_or_the_key_refuses_the_whole_call() -> None:
    platform = Platform()
    with pytest.raises(AgentNotFoundError):
        await start_batch(platform.runs, "nobody's", INPUTS, ADA, NOTHING)
    agent_id = await platform.agent()
    await start_batch(platform.runs, agent_id, INPUTS[:2], ADA, NOTHING, keys(2))
    with pytest.raises(IdempotencyConflictError):
        await start_batch(platform.runs, agent_id, INPUTS[:3], ADA, NOTHING, keys(3, b"other"))
    assert len(await platform.runs.list_runs(ADA, 100)) == 2
    await until_idle(platform.runs)


async def test_a_thousand_runs_take_few_commits(tmp_path: Path) -> None:
    seen: list[BatchStatistics] = []
    upgrade(tmp_path / "journal.sqlite3", MIGRATIONS)
    journal = SqliteJournal(SqliteDatabase(tmp_path / "journal.sqlite3", on_batch=seen.append))
    platform = Platform(journal=journal, max_active_runs=0, max_waiting_runs=2_000)
    agent_id = await platform.agent()
    seen.clear()
    results = await start_batch(platform.runs, agent_id, ["Hi"] * 1_000, ADA, NOTHING, keys(1_000))
    assert len({result.run_id for result in results}) == 1_000
    assert sum(batch.last_batch_operations for batch in seen) == 1_000
    # What comes while a commit goes on shares the next one.
    assert len(seen) <= 100
    await journal.close()

"""Batches: each input has its own run, with its own result or error, in order."""

from __future__ import annotations

import asyncio

import pytest

from agent_executor.errors import (
    AgentInactiveError,
    AgentNotFoundError,
    IdempotencyConflictError,
)
from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.executor.runs.batch_convert import batch_to_proto
from agent_executor.executor.runs.batches import execute_batch
from agent_executor.executor.runs.idempotency import idempotency_key
from agent_executor.executor.runs.run_options import RunOptions
from tests.unit.executor.platforms import ADA, CALCULATOR, Platform, until_idle

SUMS = [f"What is {number} + 1?" for number in range(12)]
NOTHING = RunOptions()


def keys(request: bytes = b"request", count: int = len(SUMS)) -> list[IdempotencyKey]:
    return [idempotency_key("key", "ada", "batch", request, index) for index in range(count)]


async def test_more_inputs_than_places_are_run_in_turn_and_answered_in_order() -> None:
    platform = Platform(max_active_runs=3, max_waiting_runs=20)
    agent_id = await platform.agent(tools=CALCULATOR)
    results = await execute_batch(platform.runs, agent_id, SUMS, ADA, NOTHING)
    views = [result.view for result in results if result.view is not None]
    assert [view.run.input for view in views] == SUMS
    assert {view.state.state for view in views} == {"completed"}
    assert platform.tools.running_max <= 3
    answered = batch_to_proto(results)
    assert [result.index for result in answered.results] == list(range(len(SUMS)))
    assert [result.execution.input for result in answered.results] == SUMS
    assert answered.completed_count == len(SUMS)
    assert answered.tokens_used == sum(view.state.tokens_used for view in views) > 0
    assert answered.cost_nano_usd == platform.ledger.spent_nano_usd > 0


async def test_an_input_that_is_refused_or_fails_spoils_no_other() -> None:
    platform = Platform(max_active_runs=1, max_waiting_runs=2)
    platform.tools.gate = asyncio.Event()
    agent_id = await platform.agent(tools=CALCULATOR)
    calling = asyncio.create_task(
        execute_batch(platform.runs, agent_id, SUMS[:5], ADA, RunOptions(timeout_seconds=1))
    )
    await platform.tools.wait_until_asked()
    platform.now_ms += 2_000
    platform.tools.gate.set()
    results = await calling
    answered = batch_to_proto(results)
    codes = [(each.code, each.execution.code) for each in answered.results]
    assert codes == [
        ("", "DEADLINE_EXCEEDED"),
        ("", ""),
        ("", ""),
        ("LIMIT_EXCEEDED", ""),
        ("LIMIT_EXCEEDED", ""),
    ]
    assert [each.HasField("execution") for each in answered.results] == [True] * 3 + [False] * 2
    assert answered.results[3].error
    assert answered.completed_count == 2


async def test_what_concerns_the_agent_refuses_the_whole_call() -> None:
    platform = Platform()
    with pytest.raises(AgentNotFoundError):
        await execute_batch(platform.runs, "nobody's", SUMS, ADA, NOTHING)
    agent_id = await platform.agent(is_active=False)
    with pytest.raises(AgentInactiveError):
        await execute_batch(platform.runs, agent_id, SUMS, ADA, NOTHING)
    assert await platform.runs.list_runs(ADA, 100) == []


async def test_a_repeat_of_a_batch_waits_for_the_same_runs_and_begins_the_missing_ones() -> None:
    platform = Platform(max_active_runs=2, max_waiting_runs=2)
    agent_id = await platform.agent()
    first = await execute_batch(platform.runs, agent_id, SUMS, ADA, NOTHING, keys())
    refused = [result for result in first if result.view is None]
    assert 0 < len(refused) < len(SUMS)
    again = first
    for _ in range(len(SUMS)):
        await asyncio.sleep(0.11)  # as long as a count of the queue is used that refuses
        again = await execute_batch(platform.runs, agent_id, SUMS, ADA, NOTHING, keys())
        if all(result.view is not None for result in again):
            break
    for before, after in zip(first, again, strict=True):
        assert after.view is not None
        assert before.view is None or after.view == before.view
    assert len(await platform.runs.list_runs(ADA, 100)) == len(SUMS)
    await platform.agents.update(agent_id, {"is_active": False}, None, ADA)
    assert again == await execute_batch(platform.runs, agent_id, SUMS, ADA, NOTHING, keys())


async def test_another_batch_under_the_key_is_a_conflict() -> None:
    platform = Platform()
    agent_id = await platform.agent()
    await execute_batch(platform.runs, agent_id, SUMS[:2], ADA, NOTHING, keys(count=2))
    with pytest.raises(IdempotencyConflictError):
        await execute_batch(platform.runs, agent_id, SUMS[:3], ADA, NOTHING, keys(b"other", 3))
    await until_idle(platform.runs)
    assert len(await platform.runs.list_runs(ADA, 100)) == 2

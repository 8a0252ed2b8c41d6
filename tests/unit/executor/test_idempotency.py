"""Idempotency keys: which are, and what a repeat of a call does."""

from __future__ import annotations

import asyncio

import pytest

from agent_executor.errors import (
    AgentInactiveError,
    IdempotencyConflictError,
    InvalidArgumentError,
    PermissionDeniedError,
)
from agent_executor.executor.driving.leases import LeaseKeeper
from agent_executor.executor.journal.journal import IdempotencyKey
from agent_executor.executor.runs.idempotency import DEFAULT_TTL_SECONDS, idempotency_key
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.platforms import ADA, CALCULATOR, Platform, until_idle

SUM = "What is 2 + 3?"


def keyed(text: str = "one", request: bytes = b"request", user_id: str = "ada") -> RunOptions:
    return RunOptions(key=idempotency_key(text, user_id, "method", request))


@pytest.mark.parametrize("text", ["", " ", "a b", "ä", "a\n", "\x7f", "a" * 256])
def test_a_text_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        idempotency_key(text, "ada", "method", b"")
    assert refusal.value.field_violations[0][0] == "Idempotency-Key"


def test_keys_differ_by_user_index_and_text_and_digests_by_what_is_asked() -> None:
    keys = [
        idempotency_key("k", "ada", "m", b"r"),
        idempotency_key("k", "bob", "m", b"r"),
        idempotency_key("k", "ada", "m", b"r", 0),
        idempotency_key("k", "ada", "m", b"r", 1),
        idempotency_key("k", "1 ada", "m", b"r"),
        idempotency_key("a" * 255, "ada", "m", b"r"),
    ]
    assert len({key.key for key in keys}) == len(keys)
    digests = {
        idempotency_key("k", "ada", method, request).request_digest
        for method, request in (("m", b"r"), ("m", b"s"), ("n", b"r"), ("mr", b""))
    }
    assert len(digests) == 4


@pytest.mark.parametrize("max_active_runs", [1, 8])
async def test_the_same_call_at_the_same_time_is_the_same_run(max_active_runs: int) -> None:
    platform = Platform(max_active_runs=max_active_runs)
    platform.tools.gate = asyncio.Event()
    agent_id = await platform.agent(tools=CALCULATOR)
    calls = [
        asyncio.create_task(platform.runs.execute(agent_id, SUM, ADA, keyed())) for _ in range(5)
    ]
    await platform.tools.wait_until_asked()
    platform.tools.gate.set()
    views = await asyncio.gather(*calls)
    assert len({view.run.run_id for view in views}) == 1
    assert all(view == views[0] for view in views)
    assert views[0].state.state == "completed"
    assert len(platform.tools.requests) == 1
    await until_idle(platform.runs)
    assert len(await platform.runs.list_runs(ADA, 10)) == 1
    # No place was lost to the repeats.
    assert platform.drivers._places.free == max_active_runs


async def test_a_repeat_is_answered_whatever_has_become_of_the_agent() -> None:
    platform = Platform()
    agent_id = await platform.agent()
    first = await platform.runs.execute(agent_id, "hello", ADA, keyed())
    await platform.agents.update(agent_id, {"is_active": False}, None, ADA)
    only_execute = SecurityContext("acme", "ada", frozenset({"run:execute"}))
    assert await platform.runs.execute(agent_id, "hello", only_execute, keyed()) == first
    with pytest.raises(AgentInactiveError):
        await platform.runs.execute(agent_id, "hello", ADA, keyed("two"))
    with pytest.raises(PermissionDeniedError):
        await platform.runs.execute(
            agent_id, "hello", SecurityContext("acme", "ada", frozenset()), keyed()
        )


async def test_a_repeated_start_returns_the_run_as_it_stands() -> None:
    platform = Platform()
    agent_id = await platform.agent()
    first = await platform.runs.start(agent_id, "hello", ADA, keyed())
    await until_idle(platform.runs)
    again = await platform.runs.start(agent_id, "hello", ADA, keyed())
    assert again.run.run_id == first.run.run_id
    assert again.state.state == "completed"


async def test_another_request_under_the_key_is_a_conflict_and_starts_nothing() -> None:
    platform = Platform()
    agent_id = await platform.agent()
    await platform.runs.execute(agent_id, "hello", ADA, keyed())
    for call in (platform.runs.execute, platform.runs.start):
        with pytest.raises(IdempotencyConflictError):
            await call(agent_id, "hello", ADA, keyed(request=b"another"))
    assert len(await platform.runs.list_runs(ADA, 10)) == 1
    other_user = SecurityContext("acme", "bob", frozenset({"*"}))
    view = await platform.runs.execute(agent_id, "hello", other_user, keyed(user_id="bob"))
    assert view.run.user_id == "bob"


async def test_a_conflict_that_shows_only_in_storing_gives_its_place_back() -> None:
    platform = Platform(max_active_runs=1)
    agent_id = await platform.agent()
    await platform.runs.execute(agent_id, "hello", ADA, keyed())

    async def finds_nothing(*_: object) -> None:
        return None

    platform.journal.run_of_key = finds_nothing  # type: ignore[assignment, method-assign]  # looked up before the other stored it
    with pytest.raises(IdempotencyConflictError):
        await platform.runs.execute(agent_id, "hello", ADA, keyed(request=b"another"))
    assert platform.drivers._places.free == 1


async def test_old_keys_are_forgotten_by_the_keeper() -> None:
    platform = Platform()
    agent_id = await platform.agent()
    first = await platform.runs.execute(agent_id, "hello", ADA, keyed())

    async def run_after(seconds: float) -> str:
        platform.now_ms += int(seconds * 1000)
        keeper = LeaseKeeper(
            journal=platform.journal,
            agents=platform.agents,
            runs=platform.runs,
            owner=platform.owner,
            now_ms=lambda: platform.now_ms,
        )
        await keeper.start()
        await keeper.stop()
        return (await platform.runs.execute(agent_id, "hello", ADA, keyed())).run.run_id

    assert await run_after(DEFAULT_TTL_SECONDS) == first.run.run_id
    assert await run_after(1.0) != first.run.run_id


async def test_a_key_is_of_no_use_to_another_organization() -> None:
    platform = Platform()
    key = IdempotencyKey("key", "digest")
    eve = SecurityContext("other", "eve", frozenset({"*"}))
    theirs = (await platform.agents.create({"name": "Theirs"}, "", eve)).agent_id
    mine = await platform.runs.execute(await platform.agent(), "hello", ADA, RunOptions(key=key))
    view = await platform.runs.execute(theirs, "hello", eve, RunOptions(key=key))
    assert view.run.run_id != mine.run.run_id

"""Word of changes between processes, by a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr

from agent_executor.storage.redis_changes import RedisChanges, channel_of
from agent_executor.storage.redis_client import RedisClient
from tests.integration.storage.test_redis_client import SHORT_SECONDS, reached, up
from tests.redis_server import RedisServer


class Process:
    """One that hears of a topic."""

    def __init__(self, client: RedisClient, changes: RedisChanges) -> None:
        self.client = client
        self.changes = changes
        self.heard: list[tuple[str, ...]] = []
        self.times_all = 0
        changes.watch("policy", self._hear, self._hear_all)
        changes.watch("other", lambda name: None, lambda: None)

    def _hear(self, organization_id: str, name: str) -> None:
        self.heard.append((organization_id, name))

    def _hear_all(self) -> None:
        self.times_all += 1


@contextlib.asynccontextmanager
async def process(server: RedisServer) -> AsyncIterator[Process]:
    url = SecretStr(server.url)
    client = RedisClient(url, timeout_seconds=SHORT_SECONDS)
    changes = RedisChanges(url, client, timeout_seconds=SHORT_SECONDS)
    made = Process(client, changes)
    await client.start()
    await changes.start()
    await up(client)
    await reached(lambda: made.times_all > 0)
    try:
        yield made
    finally:
        await changes.close()
        await client.close()


@pytest.fixture
async def pair(redis_server: RedisServer) -> AsyncIterator[tuple[Process, Process]]:
    async with process(redis_server) as one, process(redis_server) as other:
        yield one, other


async def test_the_others_hear_what_one_tells(pair: tuple[Process, Process]) -> None:
    one, other = pair
    one.changes.tell("policy", "acme", 'a "name"\0\ud800')
    one.changes.tell("other", "x")
    await reached(lambda: bool(other.heard))
    assert other.heard == [("acme", 'a "name"\0\ud800')]
    other.changes.tell("policy", "acme", "b")
    await reached(lambda: bool(one.heard))
    # And not what it told itself.
    assert one.heard == [("acme", "b")]


async def test_what_cannot_be_understood_counts_for_everything_or_nothing(
    redis_server: RedisServer, pair: tuple[Process, Process]
) -> None:
    one, _ = pair
    before = one.times_all
    with redis_server.client() as own:
        for message in ("", "[]", "{", "7", '["sender", "too few"]', '["sender"]'):
            own.publish(channel_of("policy"), message)
    await reached(lambda: one.times_all == before + 2)
    assert one.heard == []


def _kill(server: RedisServer) -> None:
    server.kill()


def _halt(server: RedisServer) -> None:
    server.halt()


@pytest.mark.parametrize("away", [_kill, _halt])
async def test_what_was_missed_or_could_not_be_told_counts_for_everything(
    redis_server: RedisServer,
    pair: tuple[Process, Process],
    away: Callable[[RedisServer], None],
) -> None:
    one, other = pair
    before = one.times_all, other.times_all
    away(redis_server)
    await reached(lambda: not one.client.is_up)
    one.changes.tell("policy", "acme", "a")
    redis_server.restore()
    await reached(lambda: other.times_all > before[1])
    if away is _kill:
        # A connection that outlives a halt has missed nothing.
        await reached(lambda: one.times_all > before[0])
    heard = other.times_all
    # One tells now that it could not tell before; it may have done so already.
    await reached(lambda: one.client.is_up and not one.changes._untold)
    one.changes.tell("policy", "acme", "b")
    await reached(lambda: ("acme", "b") in other.heard)
    assert other.times_all >= heard
    assert one.heard == []


async def test_what_is_no_text_makes_nobody_deaf(
    redis_server: RedisServer, pair: tuple[Process, Process]
) -> None:
    one, other = pair
    before = other.times_all
    with redis_server.client() as own:
        own.publish(channel_of("policy"), b"\xff")
    await reached(lambda: other.times_all > before)
    one.changes.tell("policy", "acme", "d")
    await reached(lambda: ("acme", "d") in other.heard)


async def test_a_lost_connection_is_made_again(
    redis_server: RedisServer, pair: tuple[Process, Process]
) -> None:
    one, other = pair
    before = other.times_all
    with redis_server.client() as own:
        own.client_kill_filter(_type="pubsub")
    await reached(lambda: other.times_all > before)
    one.changes.tell("policy", "acme", "c")
    await reached(lambda: ("acme", "c") in other.heard)
    await asyncio.sleep(0)

"""A connection that many share: to a real Redis that works, is killed, hangs, and comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from agent_executor.errors import UnavailableError
from agent_executor.storage import redis_client as redis_client_module
from agent_executor.storage.redis_client import RedisClient, Script, connection_of
from tests.redis_server import RedisServer

PATIENCE_SECONDS = 30.0
SHORT_SECONDS = 0.1


class Observed:
    """What was told of a connection."""

    def __init__(self) -> None:
        self.states: list[bool] = []
        self.errors: Counter[str] = Counter()
        self.round_trips = 0

    def state(self, *, is_up: bool) -> None:
        self.states.append(is_up)

    def round_trip(self, seconds: float) -> None:
        self.round_trips += 1

    def error(self, reason: str) -> None:
        self.errors[reason] += 1


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def client(redis_server: RedisServer, observed: Observed) -> AsyncIterator[RedisClient]:
    """A connection that gives a hanging server up soon."""
    client = RedisClient(
        SecretStr(redis_server.url), timeout_seconds=SHORT_SECONDS, observer=observed
    )
    await client.start()
    await up(client)
    yield client
    await client.close()


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def up(client: RedisClient) -> None:
    await reached(lambda: client.is_up)


async def down(client: RedisClient) -> None:
    await reached(lambda: not client.is_up)


async def patient(redis_server: RedisServer, observed: Observed | None = None) -> RedisClient:
    client = RedisClient(
        SecretStr(redis_server.url), timeout_seconds=PATIENCE_SECONDS, observer=observed
    )
    await client.start()
    return client


async def test_commands_that_come_together_go_together(
    redis_server: RedisServer, observed: Observed
) -> None:
    client = await patient(redis_server, observed)
    replies = await asyncio.gather(*(client.run("INCR", "n") for _ in range(1_000)))
    assert replies == list(range(1, 1_001))
    assert observed.round_trips <= 4
    await client.close()


async def test_a_script_is_sent_once_and_again_when_it_is_gone(redis_server: RedisServer) -> None:
    client = await patient(redis_server)
    with redis_server.client() as own:
        # Other tests of this process have used the server.
        own.config_resetstat()
    script = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert await client.run_script(script, ["n"], [2]) == 2
    with redis_server.client() as own:
        own.script_flush()
        assert await client.run_script(script, ["n"], [3]) == 5
        assert await client.run_script(script, ["n"], [4]) == 9
        assert own.info("commandstats")["cmdstat_eval"]["calls"] == 2
    await client.close()


async def test_a_command_that_is_refused_harms_no_other(
    redis_server: RedisServer, observed: Observed
) -> None:
    client = await patient(redis_server, observed)
    replies = await asyncio.gather(
        client.run("SET", "n", 1),
        client.run("NONSENSE"),
        client.run("INCR", "n"),
        return_exceptions=True,
    )
    assert (replies[0], replies[2]) == (b"OK", 2)
    assert isinstance(replies[1], UnavailableError)
    assert observed.errors == {"refused": 1}
    assert client.is_up
    await client.close()


async def test_a_caller_that_goes_away_harms_no_other(redis_server: RedisServer) -> None:
    client = await patient(redis_server)
    gone, stays = client.run("INCR", "n"), client.run("INCR", "n")
    gone.cancel()
    assert await stays == 2
    assert await client.run("GET", "n") == b"2"
    await client.close()


async def test_a_killed_server_fails_calls_at_once_and_is_found_when_it_is_back(
    redis_server: RedisServer,
    client: RedisClient,
    observed: Observed,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await client.run("PING") == b"PONG"
    caplog.clear()
    redis_server.kill()
    await down(client)
    for _ in range(100):
        with pytest.raises(UnavailableError):
            await client.run("PING")
    # Not for each call, nor for each try.
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    redis_server.start()
    await up(client)
    assert await client.run("PING") == b"PONG"
    assert observed.states[-3:] == [True, False, True]


async def test_no_call_waits_for_a_server_that_hangs(
    redis_server: RedisServer, client: RedisClient, observed: Observed
) -> None:
    redis_server.halt()
    waits = []

    async def call() -> None:
        started = time.monotonic()
        with pytest.raises(UnavailableError):
            await client.run("PING")
        waits.append(time.monotonic() - started)

    calls = [asyncio.create_task(call())]
    await asyncio.sleep(SHORT_SECONDS / 2)
    calls += [asyncio.create_task(call()) for _ in range(100)]
    await asyncio.gather(*calls)
    assert observed.errors["timeout"] >= 1
    # Twice the timeout, and what a busy machine adds.
    assert max(waits) < 2 * SHORT_SECONDS + 2
    assert not client.is_up
    redis_server.resume()
    await up(client)
    assert await client.run("PING") == b"PONG"


async def test_a_server_that_hangs_is_known_to_before_anyone_calls(
    redis_server: RedisServer, client: RedisClient
) -> None:
    redis_server.halt()
    await down(client)


async def test_a_server_that_is_not_there_at_the_start_may_come_later(
    redis_server: RedisServer,
) -> None:
    redis_server.kill()
    client = RedisClient(SecretStr(redis_server.url), timeout_seconds=SHORT_SECONDS)
    started = time.monotonic()
    await client.start()
    assert time.monotonic() - started < 60
    assert not client.is_up
    redis_server.start()
    await up(client)
    await client.close()


async def test_a_bug_ends_no_connection_for_good(
    client: RedisClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = client._exchange
    failures = [RuntimeError("unable to perform operation on a closed transport")]

    async def fail_once(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        await exchange(*arguments)

    monkeypatch.setattr(client, "_exchange", fail_once)
    with pytest.raises(UnavailableError):
        await client.run("PING")
    await reached(lambda: not client.is_up and not failures)
    await up(client)
    assert await client.run("PING") == b"PONG"
    assert "unable to perform operation" in caplog.text


async def test_a_server_that_takes_no_writes_fills_no_log(
    redis_server: RedisServer,
    observed: Observed,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No connection lasts that long.
    monkeypatch.setattr(redis_client_module, "HEARTBEAT_SECONDS", 600.0)
    caplog.set_level(logging.INFO)
    client = await patient(redis_server, observed)
    with redis_server.client() as own:
        own.replicaof("127.0.0.1", "1")
        try:
            for _ in range(5):
                await up(client)
                with pytest.raises(UnavailableError):
                    await client.run("SET", "n", "1")
                await down(client)
        finally:
            own.replicaof("NO", "ONE")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert client._outage._backoff_seconds == redis_client_module._BACKOFF_SECONDS_MAX
    await client.close()


async def test_a_wrong_password_is_told_from_a_server_that_is_away(
    redis_server: RedisServer, observed: Observed, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server.client() as own:
        own.config_set("requirepass", "right")
        try:
            url = redis_server.url.replace("unix://", "unix://:s3cret@")
            client = RedisClient(
                SecretStr(url), timeout_seconds=PATIENCE_SECONDS, observer=observed
            )
            await client.start()
            assert not client.is_up
            assert observed.errors["authentication"] >= 1
            assert "s3cret" not in caplog.text
            assert "authentication" in caplog.text
            await client.close()
            right = SecretStr(redis_server.url.replace("unix://", "unix://:right@"))
            client = RedisClient(right, timeout_seconds=PATIENCE_SECONDS)
            await client.start()
            assert await client.run("PING") == b"PONG"
            await client.close()
        finally:
            own.config_set("requirepass", "")


@pytest.mark.parametrize("url", ["redis://user:s3cret@h:1/2", "rediss://h", "unix:///s?db=3"])
def test_the_kinds_of_url(url: str) -> None:
    connection = connection_of(SecretStr(url))
    assert "s3cret" not in repr(connection)

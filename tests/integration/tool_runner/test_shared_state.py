"""What tool-runners share by a real Redis: limits, results, and word of changes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from agent_executor.errors import UnavailableError
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext
from agent_executor.storage.encryption import KEY_BYTES, Encryption
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements_sqlite import SqliteStatementRunner
from agent_executor.tool_runner.builtin.calculator import CalculatorTool
from agent_executor.tool_runner.calls.result_cache import ResultCache
from agent_executor.tool_runner.custom.custom_tools import ToolRegistration
from agent_executor.tool_runner.mcp.client import McpClient
from agent_executor.tool_runner.mcp.mcp_server import McpServer
from agent_executor.tool_runner.policy.rate_limit import RateLimit
from agent_executor.tool_runner.registry import ToolRegistry
from agent_executor.tool_runner.resources import Resources
from agent_executor.tool_runner.schema import MIGRATIONS
from agent_executor.tool_runner.settings import ToolRunnerSettings
from agent_executor.tool_runner.shared_state import SharedState
from tests.integration.storage.test_redis_client import reached
from tests.redis_server import RedisServer
from tests.sqlite import migrated_file
from tests.unit.tool_runner.resources_of_tests import GREETER, FakeInspector
from tests.unit.tool_runner.test_mcp_servers import URL, FakeClient

ADMIN = SecurityContext("acme", "ada", frozenset({"*"}))
HOUR = 3_600.0
HOURLY = 10
LIMIT = [("ada", RateLimit.of(HOURLY, HOUR))]
# A busy machine is not taken for a Redis that is away.
PATIENCE_SECONDS = 30.0
SHORT_SECONDS = 0.2


class Replica:
    """A tool-runner's parts, on a clock that stands still: what it has read stays good for ever."""

    def __init__(self, shared: SharedState, resources: Resources, metrics: Metrics) -> None:
        self.shared = shared
        self.resources = resources
        self.metrics = metrics
        self.cache = ResultCache(shared=shared.results)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"agent_executor_{name}", labels)


class Replicas:
    """Those on one database and one Redis."""

    def __init__(self, server: RedisServer, folder: Path, stack: contextlib.AsyncExitStack) -> None:
        self.server = server
        self._stack = stack
        path = folder / "tool_runner.sqlite3"
        migrated_file(path, MIGRATIONS)
        database = SqliteDatabase(path)
        stack.push_async_callback(database.close)
        self._runner = SqliteStatementRunner(database)
        self._encryption = Encryption(bytes(KEY_BYTES))

    async def start(
        self, timeout_seconds: float = PATIENCE_SECONDS, key: bytes | None = None, **settings: Any
    ) -> Replica:
        chosen = ToolRunnerSettings(
            redis_url=SecretStr(self.server.url), redis_timeout_seconds=timeout_seconds, **settings
        )
        metrics = Metrics()
        encryption = self._encryption if key is None else Encryption(key)
        shared = await SharedState.of(chosen, metrics, encryption, self._stack)
        resources = Resources.in_database(
            self._runner,
            ToolRegistry([CalculatorTool()]),
            encryption,
            FakeInspector(),
            cast("McpClient", FakeClient()),
            lambda: 0,
            clock=lambda: 0.0,
        )
        await shared.share_changes(resources)
        return Replica(shared, resources, metrics)


@pytest.fixture
async def replicas(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Replicas]:
    async with contextlib.AsyncExitStack() as stack:
        yield Replicas(redis_server, tmp_path, stack)


async def _limit(replica: Replica) -> object:
    return (await replica.resources.policies.of("acme")).rate_limits.get("calculator")


async def _domains(replica: Replica) -> object:
    return (await replica.resources.policies.of("acme")).allowed_domains


async def _version(name: str, replica: Replica) -> object:
    tool = await replica.resources.tools.find("acme", name)
    return None if tool is None else tool.version


async def _differs(
    read: Callable[[Replica], Awaitable[object]], replica: Replica, before: object
) -> None:
    async with asyncio.timeout(60):
        while True:
            if await read(replica) != before:
                return
            await asyncio.sleep(0.001)


async def _register(replica: Replica, source: str) -> None:
    asked = ToolRegistration(name="greeter", source=source, class_name="Greeter")
    await replica.resources.custom_tools.register(asked, ADMIN)


async def test_what_one_changes_the_other_sees_within_a_second(replicas: Replicas) -> None:
    one, other = await replicas.start(), await replicas.start()
    policies, custom, mcp = (
        one.resources.policies,
        one.resources.custom_tools,
        one.resources.mcp_servers,
    )

    async def greeter(replica: Replica) -> object:
        return await _version("greeter", replica)

    async def remote(replica: Replica) -> object:
        return await _version("weather__forecast", replica)

    changes: list[tuple[str, Callable[[], Awaitable[Any]], Callable[[Replica], Awaitable[object]]]]
    changes = [
        ("rate limit set", lambda: policies.set_rate_limit("calculator", 5, 60, ADMIN), _limit),
        ("rate limit gone", lambda: policies.delete_rate_limit("calculator", ADMIN), _limit),
        (
            "domain added",
            lambda: policies.add_allowed_domain("weather.example.com", ADMIN),
            _domains,
        ),
        ("tool registered", lambda: _register(one, GREETER), greeter),
        ("tool changed", lambda: _register(one, GREETER + "\n"), greeter),
        ("tool deleted", lambda: custom.delete("greeter", ADMIN), greeter),
        ("MCP server put", lambda: mcp.put(McpServer(name="weather", url=URL), ADMIN), remote),
        ("MCP server deleted", lambda: mcp.delete("weather", ADMIN), remote),
        (
            "domain removed",
            lambda: policies.remove_allowed_domain("weather.example.com", ADMIN),
            _domains,
        ),
    ]
    for name, change, seen in changes:
        before = await seen(other)
        await change()
        written = time.monotonic()
        await _differs(seen, other, before)
        # A second is promised; the rest is a busy machine's.
        assert time.monotonic() - written < 1 + 5, name
        assert await seen(other) == await seen(one)


async def test_what_was_missed_while_redis_was_away_is_seen_when_it_is_back(
    replicas: Replicas,
) -> None:
    one, other = await replicas.start(SHORT_SECONDS), await replicas.start(SHORT_SECONDS)
    before = await _limit(other)
    replicas.server.kill()
    await one.resources.policies.set_rate_limit("calculator", 5, 60, ADMIN)
    assert await _limit(other) == before
    replicas.server.start()
    await _differs(_limit, other, before)


async def test_limits_are_one_for_all(replicas: Replicas) -> None:
    both = [await replicas.start(), await replicas.start()]
    outcomes = await asyncio.gather(
        *(replica.shared.limits.admit(LIMIT, "tool") for replica in both for _ in range(50))
    )
    assert outcomes.count(None) == HOURLY


async def _known_replicas(replica: Replica, count: int) -> None:
    await reached(lambda: replica.shared.limits._processes() == count)


async def test_while_redis_is_away_each_has_its_share(replicas: Replicas) -> None:
    both = [await replicas.start(SHORT_SECONDS), await replicas.start(SHORT_SECONDS)]
    for replica in both:
        await _known_replicas(replica, 2)
    replicas.server.kill()
    await reached(lambda: all(each.metric("redis_up", use="limits") == 0 for each in both))
    outcomes = await asyncio.gather(
        *(replica.shared.limits.admit(LIMIT, "tool") for replica in both for _ in range(50))
    )
    assert outcomes.count(None) == HOURLY
    refusal = outcomes[-1]
    assert refusal is not None
    # It names the whole limit, and the time until the share lets one through.
    assert (refusal.key, refusal.limit) == LIMIT[0]
    assert refusal.retry_after_seconds == pytest.approx(2 * HOUR / HOURLY, abs=60)
    counted = [
        both[0].metric("rate_limits_without_redis_total", outcome=outcome)
        for outcome in ("admitted", "refused")
    ]
    assert counted == [HOURLY / 2, 50 - HOURLY / 2]


async def test_a_redis_that_comes_back_counts_at_once(replicas: Replicas) -> None:
    replica = await replicas.start(SHORT_SECONDS)
    replicas.server.kill()
    await reached(lambda: replica.metric("redis_up", use="limits") == 0)
    assert await replica.shared.limits.admit(LIMIT, "tool") is None
    replicas.server.start()
    await reached(lambda: replica.metric("redis_up", use="limits") == 1)
    other = await replicas.start()
    outcomes = await asyncio.gather(
        *(each.shared.limits.admit(LIMIT, "tool") for each in (replica, other) for _ in range(50))
    )
    assert outcomes.count(None) == HOURLY


async def test_who_wants_no_uncounted_call_gets_none(replicas: Replicas) -> None:
    replica = await replicas.start(SHORT_SECONDS, on_redis_unavailable="refuse")
    replicas.server.halt()
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="rate limits cannot be counted"):
        await replica.shared.limits.admit(LIMIT, "tool")
    assert time.monotonic() - started < 2 * SHORT_SECONDS + 5
    replicas.server.resume()
    await reached(lambda: replica.metric("redis_up", use="limits") == 1)
    # The call that hung may have been counted.
    outcomes = [await replica.shared.limits.admit(LIMIT, "tool") for _ in range(HOURLY + 1)]
    assert outcomes.count(None) in {HOURLY - 1, HOURLY}
    assert replica.metric("rate_limits_without_redis_total", outcome="unavailable") == 1


class Tool:
    """Counts how often it runs."""

    def __init__(self, result: str = '"private"') -> None:
        self.result = result
        self.runs = 0
        self.shared = 0

    async def __call__(self) -> str:
        self.runs += 1
        return self.result

    async def by(self, replica: Replica, key: str = "k", ttl_seconds: float = 60) -> str:
        def on_shared() -> None:
            self.shared += 1

        return await replica.cache.run(("acme", "tool", key), ttl_seconds, self, on_shared)


async def _stored(server: RedisServer) -> list[bytes]:
    with server.client() as client:
        keys = await asyncio.to_thread(lambda: list(client.scan_iter("agent_executor:1:result:*")))
        return [cast("bytes", client.get(key)) for key in keys]


async def test_a_result_of_one_is_given_by_the_other(replicas: Replicas) -> None:
    one, other, tool = await replicas.start(), await replicas.start(), Tool()
    assert await tool.by(one) == tool.result
    await asyncio.sleep(0)
    assert await tool.by(other) == tool.result
    assert (tool.runs, tool.shared) == (1, 1)
    assert await tool.by(other) == tool.result  # now its own
    assert await tool.by(other, "another") == tool.result
    assert tool.runs == 2


async def test_results_are_encrypted_and_bound_to_their_call(replicas: Replicas) -> None:
    one, tool = await replicas.start(), Tool()
    await tool.by(one)
    await reached(lambda: bool(replicas.server.client().keys("agent_executor:1:result:*")))
    (ciphertext,) = await _stored(replicas.server)
    assert b"private" not in ciphertext
    assert b"acme" not in b"".join(
        cast("list[bytes]", replicas.server.client().keys("agent_executor:1:result:*"))
    )
    # A tool-runner with another key takes it for nothing.
    stranger = await replicas.start(key=b"\1" * KEY_BYTES)
    await tool.by(stranger)
    assert (tool.runs, tool.shared) == (2, 0)
    # Nor does one result stand for another.
    with replicas.server.client() as client:
        (name,) = cast("list[bytes]", client.keys("agent_executor:1:result:*"))
        await tool.by(one, "b")
        await reached(lambda: len(cast("list[bytes]", client.keys("*:result:*"))) == 2)
        for key in cast("list[bytes]", client.keys("*:result:*")):
            if key != name:
                client.set(key, cast("bytes", client.get(name)), ex=60)
    fresh = await replicas.start()
    await tool.by(fresh, "b")
    assert tool.shared == 0


async def test_a_result_is_shared_for_its_time_and_if_it_is_not_too_large(
    replicas: Replicas,
) -> None:
    one, large = await replicas.start(), Tool(result='"' + "x" * 300_000 + '"')
    await large.by(one)
    tool = Tool()
    await tool.by(one, "short", ttl_seconds=0.05)
    await reached(lambda: not replicas.server.client().keys("*:result:*"))
    other = await replicas.start()
    await tool.by(other, "short")
    assert (tool.runs, tool.shared) == (2, 0)


async def test_without_redis_tools_just_run(replicas: Replicas) -> None:
    one, other = await replicas.start(SHORT_SECONDS), await replicas.start(SHORT_SECONDS)
    replicas.server.halt()
    tool = Tool()
    started = time.monotonic()
    assert [await tool.by(one), await tool.by(other)] == [tool.result] * 2
    assert tool.runs == 2
    # Each waited for it once, at the most.
    assert time.monotonic() - started < 4 * SHORT_SECONDS + 5

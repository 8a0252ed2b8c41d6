"""What executors hear of each other and of tool-runners by a real Redis."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import time_machine
from pydantic import SecretStr

from agent_executor.errors import UnauthenticatedError
from agent_executor.executor.api_keys.api_key import KEY
from agent_executor.executor.api_keys.api_keys import ApiKeys, KeyRequest
from agent_executor.executor.api_keys.exchange import KeyExchange
from agent_executor.executor.changes import hear_changes
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.serving.metrics import Metrics
from agent_executor.storage.redis_changes import MCP_SERVER, TOOL, RedisChanges
from agent_executor.storage.redis_client import RedisClient
from tests.integration.storage.test_redis_client import reached
from tests.redis_server import RedisServer
from tests.unit.executor.api_keys.key_world import KeyWorld, caller

PATIENCE_SECONDS = 30.0
START = 1_800_000_000.25


class Tools:
    """Notes what it is told to ask for again."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def forget(self, organization_id: str, name: str = "") -> None:
        self.forgotten.append(organization_id)

    def forget_all(self) -> None:
        pass


class Executor:
    def __init__(self, exchange: KeyExchange, api_keys: ApiKeys) -> None:
        self.exchange = exchange
        self.api_keys = api_keys
        self.tools = Tools()


@pytest.fixture
async def start(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Callable[[], Any]]:
    world = KeyWorld(tmp_path)
    async with contextlib.AsyncExitStack() as stack:

        async def start() -> Executor:
            executor = Executor(*world.executor())
            settings = ExecutorSettings(
                redis_url=SecretStr(redis_server.url), redis_timeout_seconds=PATIENCE_SECONDS
            )
            runtime = SimpleNamespace(settings=settings, metrics=Metrics(), resources=stack)
            await hear_changes(cast("Any", runtime), cast("Any", executor.tools), executor.exchange)
            return executor

        yield start


async def test_a_key_that_one_executor_revokes_is_dead_at_the_others(
    start: Callable[[], Any],
) -> None:
    one, other = await start(), await start()
    # On a clock that stands still what was looked up once would hold for ever.
    with time_machine.travel(START, tick=False):
        new = await one.api_keys.create(KeyRequest(name="key"), caller("*"))
        await other.exchange.exchange(new.secret, KEY, "a")
        await one.api_keys.revoke(new.key.key_id, caller("*"))
        await reached(lambda: len(other.exchange._tokens) == 0)
        with pytest.raises(UnauthenticatedError, match="revoked"):
            await other.exchange.exchange(new.secret, KEY, "a")


async def test_executors_hear_of_tools_that_tool_runners_changed(
    redis_server: RedisServer, start: Callable[[], Any]
) -> None:
    executor = await start()
    url = SecretStr(redis_server.url)
    client = RedisClient(url, timeout_seconds=PATIENCE_SECONDS)
    await client.start()
    tool_runner = RedisChanges(url, client)
    tool_runner.tell(TOOL, "acme", "greeter")
    tool_runner.tell(MCP_SERVER, "other", "weather")
    await reached(lambda: sorted(executor.tools.forgotten) == ["acme", "other"])
    await client.close()

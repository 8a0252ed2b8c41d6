from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import Any

import pytest
from google.protobuf.message import Message

from agent_executor.client import AgentExecutorClient, AsyncAgentExecutorClient, attempts
from tests.unit.client.fake_platform import FakePlatform, fake_platform


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePlatform]:
    """Yields a platform; its clients hardly wait before they repeat a call."""
    monkeypatch.setattr(attempts, "FIRST_WAIT_SECONDS", 0.001)
    with fake_platform(FakePlatform()) as platform:
        yield platform


Call = Callable[..., Any]


@pytest.fixture(params=("sync", "async"))
def call(request: pytest.FixtureRequest, platform: FakePlatform) -> Call:
    """Makes a call of either client, and returns the answer, or the list of what is iterated over."""

    def call_sync(use: Callable[[Any], Any], credential: Any = "a-token", **options: Any) -> Any:
        with AgentExecutorClient(platform.url, credential, **options) as client:
            answer = use(client)
            is_list = isinstance(answer, Iterable) and not isinstance(answer, Message)
            return list(answer) if is_list else answer

    def call_async(use: Callable[[Any], Any], credential: Any = "a-token", **options: Any) -> Any:
        async def main() -> Any:
            async with AsyncAgentExecutorClient(platform.url, credential, **options) as client:
                answer = use(client)
                if isinstance(answer, AsyncIterable):
                    return [item async for item in answer]
                return await answer

        return asyncio.run(main())

    return call_sync if request.param == "sync" else call_async

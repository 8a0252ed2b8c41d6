from __future__ import annotations

import asyncio

import pytest

from agent_executor.errors import UnavailableError
from agent_executor.tool_runner.fresh_cache import FreshCache
from tests.unit.tool_runner.tools_of_tests import until


class Source:
    """What a cache reads; it can be held back."""

    def __init__(self) -> None:
        self.now = 0.0
        self.value: int | None = 1
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.cache = FreshCache(self.read, ttl_seconds=1.0, entries_max=2, clock=lambda: self.now)

    async def has_begun(self, reads: int) -> None:
        await until(lambda: self.reads >= reads)

    async def read(self, key: str) -> int | None:
        self.reads += 1
        value = self.value
        await self.gate.wait()
        if key == "broken":
            raise UnavailableError("No.")
        return value


async def test_a_value_is_used_for_its_time_and_then_read_again() -> None:
    source = Source()
    assert source.cache.known("a") is None
    assert await source.cache.get("a") == 1
    source.value = None
    source.now = 0.9
    assert (await source.cache.get("a"), source.cache.known("a")) == (1, (1,))
    source.now = 1.1
    assert source.cache.known("a") is None
    assert (await source.cache.get("a"), source.cache.known("a")) == (None, (None,))
    assert source.reads == 2


async def test_those_who_ask_at_the_same_time_share_one_read() -> None:
    source = Source()
    source.gate.clear()
    asking = [asyncio.ensure_future(source.cache.get("a")) for _ in range(100)]
    await source.has_begun(1)
    asking[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking[0]
    source.gate.set()
    assert await asyncio.gather(*asking[1:]) == [1] * 99
    assert source.reads == 1


async def test_what_was_read_before_a_write_is_not_kept() -> None:
    source = Source()
    source.gate.clear()
    early = asyncio.ensure_future(source.cache.get("a"))
    await source.has_begun(1)
    source.value = 2
    source.cache.forget(lambda key: key == "a")
    late = asyncio.ensure_future(source.cache.get("a"))
    await source.has_begun(2)
    source.gate.set()
    assert (await early, await late) == (1, 2)
    assert source.cache.known("a") == (2,)


async def test_a_failure_is_not_kept() -> None:
    source = Source()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await source.cache.get("broken")
    assert source.reads == 2


async def test_the_oldest_make_room() -> None:
    source = Source()
    for key in "abc":
        await source.cache.get(key)
    assert [source.cache.known(key) for key in "abc"] == [None, (1,), (1,)]

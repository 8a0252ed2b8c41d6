from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from agent_executor.errors import UnavailableError
from agent_executor.web.deadlines import deadline, until_stopping


async def test_a_deadline_ends_what_takes_longer() -> None:
    with pytest.raises(TimeoutError):
        async with deadline(0.001, asyncio.Event()):
            await asyncio.Event().wait()
    async with deadline(None, asyncio.Event()):
        await asyncio.sleep(0)


async def test_a_stream_ends_by_itself_or_with_the_process() -> None:
    stopping, is_closed = asyncio.Event(), False

    async def numbers(count: int) -> AsyncGenerator[int, None]:
        nonlocal is_closed
        try:
            for number in range(count):
                yield number
            if count > 2:
                await asyncio.Event().wait()
        finally:
            is_closed = True

    assert [number async for number in until_stopping(numbers(2), stopping)] == [0, 1]
    is_closed = False
    seen: list[int] = []

    async def read() -> None:
        async for number in until_stopping(numbers(3), stopping):
            seen.append(number)
            if number == 2:
                stopping.set()

    with pytest.raises(UnavailableError):
        await read()
    assert (seen, is_closed) == ([0, 1, 2], True)

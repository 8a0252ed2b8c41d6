"""How long is waited for a service: until a deadline, and no longer than this process serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from agent_executor.errors import UnavailableError

ItemT = TypeVar("ItemT")


@asynccontextmanager
async def deadline(seconds: float | None, stopping: asyncio.Event) -> AsyncIterator[None]:
    """Surrounds what may take so long, in seconds, unless the process stops before.

    Raises:
        TimeoutError: It took longer, or the process stops.
    """
    async with asyncio.timeout(seconds) as limit:

        async def expire() -> None:
            await stopping.wait()
            limit.reschedule(asyncio.get_running_loop().time())

        watch = asyncio.create_task(expire())
        try:
            yield
        finally:
            watch.cancel()


async def until_stopping(
    stream: AsyncGenerator[ItemT, None], stopping: asyncio.Event
) -> AsyncGenerator[ItemT, None]:
    """Yields what a stream yields, and closes it.

    Raises:
        UnavailableError: The process stops.
    """
    async with aclosing(stream):
        while True:
            try:
                async with deadline(None, stopping):
                    item = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise UnavailableError("This server stops; the same call may go on soon.") from None
            yield item

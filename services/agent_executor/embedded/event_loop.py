"""The event loop on which all runs of this process are driven, and how others wait for it."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

_STARTING: Final = threading.Lock()


class Steps(Generic[T]):
    """An iteration that is taken step by step from elsewhere than the loop that it runs on."""

    def __init__(self, steps: AsyncGenerator[T]) -> None:
        self._steps = steps
        # Whoever is interrupted leaves a step behind that is just being cancelled.
        self._step = asyncio.Lock()

    async def next(self) -> T | None:
        """Returns the next item; None after the last one."""
        async with self._step:
            return await anext(self._steps, None)

    async def close(self) -> None:
        """Ends the iteration."""
        async with self._step:
            await self._steps.aclose()


async def awaited(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the loop of all runs, and awaits it from any other."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, _event_loop()))


def _event_loop() -> asyncio.AbstractEventLoop:
    """Returns the loop on which all runs of this process are driven, in a thread of its own."""
    # Of threads that come first at the same time only one may start it.
    with _STARTING:
        return _started_event_loop()


@functools.cache
def _started_event_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="agent-executor", daemon=True).start()
    return loop


def loop_runs(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on that loop and waits for it; interrupted, it cancels it.

    Raises:
        RuntimeError: It is called on that loop itself, by a tool that is a coroutine.
    """
    loop = _event_loop()
    if asyncio._get_running_loop() is loop:  # noqa: SLF001 -- documented, for event loops' code
        coroutine.close()
        raise RuntimeError(
            "A coroutine of a tool cannot wait for an agent, since both need the same event loop;"
            " let its _execute_impl be a plain def."
        )
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    finally:
        future.cancel()

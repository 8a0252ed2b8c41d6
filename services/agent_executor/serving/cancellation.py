"""How what is under way is told to end: by its caller, or since its connection is lost.

Two things are kept apart. A task is cancelled by asyncio, and the message says why. A
``StopSignal`` is heard by those who take part in it, each of whom ends in its own way and tells what
came of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final, TypeVar

T = TypeVar("T")

CONNECTION_LOST: Final = "the connection to the caller was lost"
"""The message with which a task is cancelled when its connection ends: the caller may come back."""

CALLER_STOPS: Final = "the caller says to stop, and waits to hear what came of it"
"""The message with which a task is cancelled whose caller wants no more done.

What serves the call may end what it does, take the cancellation back by ``Task.uncancel`` and answer
what came of it; or let the cancellation pass.
"""

WAS_BEGUN_KEY: Final = "was_begun"
"""In the metadata of a ``CancelledRunError``: "false" if what was stopped had not begun."""


def is_connection_lost(cancelled: asyncio.CancelledError) -> bool:
    """Tells whether the connection ended, rather than that the caller said to stop."""
    return CONNECTION_LOST in cancelled.args


def is_stop(cancelled: asyncio.CancelledError) -> bool:
    """Tells whether the caller said to stop and waits for what came of it."""
    return CALLER_STOPS in cancelled.args


class StopSignal:
    """Tells what is under way to stop. It is given once, and stays. Belongs to one event loop.

    Attributes:
        is_set: Whether it was given.
    """

    __slots__ = ("_callbacks", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._callbacks: list[Callable[[], None]] = []

    def set(self) -> None:
        """Gives the signal: everybody who listens is called."""
        if self.is_set:
            return
        self.is_set = True
        for callback in tuple(self._callbacks):
            callback()

    def calling(self, callback: Callable[[], None]) -> AbstractContextManager[None]:
        """Calls somebody when the signal is given within the block, or has been before it."""
        return _Calling(self, self._callbacks, callback)

    async def bound(self, work: Awaitable[T]) -> T | None:
        """Awaits work, and breaks it off when the signal is given.

        Returns:
            What came of the work; None if it was broken off.
        """
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                with self.calling(lambda: end_now(timeout)):
                    return await work
        except TimeoutError:
            if not timeout.expired():
                raise
            return None

    async def sleep(self, seconds: float) -> None:
        """Returns after so long, or when the signal is given."""
        if not self.is_set:
            await self.bound(asyncio.sleep(seconds))


class _Calling:
    """See ``StopSignal.calling``. A class, since every call passes one and a generator takes longer."""

    __slots__ = ("_callback", "_callbacks", "_signal")

    def __init__(
        self, signal: StopSignal, callbacks: list[Callable[[], None]], callback: Callable[[], None]
    ) -> None:
        self._signal = signal
        self._callbacks = callbacks
        self._callback = callback

    def __enter__(self) -> None:
        if self._signal.is_set:
            self._callback()
        # Once it was given it is given no more.
        self._callbacks.append(self._callback)

    def __exit__(self, *exc_info: object) -> None:
        self._callbacks.remove(self._callback)


def end_now(timeout: asyncio.Timeout) -> None:
    """Lets the block of a timeout end at once, as if its time were over."""
    # One that has just expired by itself takes no other time, and would keep others from hearing.
    if not timeout.expired():
        timeout.reschedule(0.0)

"""Values that are read again after a second at most, and once for all who ask at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from cachetools import TTLCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# How late this process may see what another one wrote.
TTL_SECONDS: Final = 1.0
ENTRIES_MAX: Final = 10_000


class FreshCache(Generic[K, V]):
    """What a store holds, for reads that are too frequent to ask it each time.

    Args:
        load: Reads the value of a key; one that may be None is cached as well.
        ttl_seconds: How long a value is used.
        entries_max: How many values are kept; the oldest make room.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        load: Callable[[K], Awaitable[V]],
        *,
        ttl_seconds: float = TTL_SECONDS,
        entries_max: int = ENTRIES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        # In tuples, for None is a value too.
        self._values: TTLCache[K, tuple[V]] = TTLCache(entries_max, ttl_seconds, timer=clock)
        self._loading: dict[K, asyncio.Task[V]] = {}

    def known(self, key: K) -> tuple[V] | None:
        """Returns the value in a tuple if it is fresh, at once; None if it must be read."""
        return self._values.get(key)

    async def get(self, key: K) -> V:
        """Returns the value.

        Raises:
            Exception: What ``load`` raised.
        """
        known = self._values.get(key)
        if known is not None:
            return known[0]
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.ensure_future(self._read(key))
            task.add_done_callback(_retrieve)
        # Whoever is cancelled leaves the reading to the others; it ends by itself.
        return await asyncio.shield(task)

    def forget(self, is_meant: Callable[[K], bool]) -> None:
        """Makes the next ``get`` of some keys read again; to be called after each write."""
        # What is being read at present may be from before the write.
        for entries in (self._values, self._loading):
            for key in [key for key in entries if is_meant(key)]:
                entries.pop(key, None)

    def forget_all(self) -> None:
        """Makes the next ``get`` of every key read again."""
        self.forget(lambda _: True)

    async def _read(self, key: K) -> V:
        task = asyncio.current_task()
        try:
            value = await self._load(key)
            if self._loading.get(key) is task:
                self._values[key] = (value,)
            return value
        finally:
            if self._loading.get(key) is task:
                del self._loading[key]


def _retrieve(task: asyncio.Task[V]) -> None:
    """Nobody is to be warned of a failure for which nobody waits any more."""
    if not task.cancelled():
        task.exception()

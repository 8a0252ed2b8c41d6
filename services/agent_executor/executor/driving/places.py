"""The places in which runs are driven."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping


class Places:
    """So many places, each for one run at a time.

    Args:
        count: How many there are.
        on_free: Called when one is free and no run of this process waits for it.

    Attributes:
        free: How many are free.
    """

    def __init__(self, count: int, on_free: Callable[[], None]) -> None:
        self.free = count
        self._on_free = on_free
        self._held: Counter[str] = Counter()
        self._waiters: deque[tuple[asyncio.Future[bool], str]] = deque()
        self._is_closed = False

    @property
    def held(self) -> Mapping[str, int]:
        """How many places each organization holds; those that hold none are left out."""
        return self._held

    def take_now(self, organization_id: str) -> bool:
        """Takes a place if one is free, and tells whether it did."""
        if not self.free:
            return False
        self.free -= 1
        self._held[organization_id] += 1
        return True

    async def take(self, organization_id: str) -> bool:
        """Takes a place, waiting for one in the order of arrival; False once none is given any more."""
        if self._is_closed:
            return False
        if self.take_now(organization_id):
            return True
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, organization_id))
        try:
            return await waiter
        except asyncio.CancelledError:
            # It may have been given a place in the same moment.
            if not waiter.cancelled() and waiter.result():
                self.give_back(organization_id)
            raise

    def give_back(self, organization_id: str) -> None:
        """Gives a place to whoever waits for it longest, or makes it free."""
        self._held[organization_id] -= 1
        if not self._held[organization_id]:
            del self._held[organization_id]
        while self._waiters:
            waiter, other_organization_id = self._waiters.popleft()
            if not waiter.done():
                self._held[other_organization_id] += 1
                waiter.set_result(True)
                return
        self.free += 1
        self._on_free()

    def close(self) -> None:
        """Gives nobody a place any more who waits for one, now or later."""
        self._is_closed = True
        while self._waiters:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(False)

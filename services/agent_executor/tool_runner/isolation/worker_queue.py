"""Which call gets which worker: those that are ready, and the calls that wait for one, in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

from agent_executor.errors import AgentExecutorError, LimitExceededError
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.worker_handle import WorkerHandle

# How much the last call counts in the mean duration of calls.
_WEIGHT: Final = 0.1
_FIRST_GUESS_SECONDS: Final = 0.1
_RETRY_AFTER_SECONDS_MIN: Final = 0.1


class WorkerQueue:
    """Ready workers, and calls that wait.

    Attributes:
        busy: Workers that serve a call.
    """

    def __init__(self, limits: SandboxLimits, refill: Callable[[], None]) -> None:
        """See the class; ``refill`` is called when workers are missing."""
        self._limits = limits
        self._refill = refill
        self._idle: deque[WorkerHandle] = deque()
        self._waiting: deque[asyncio.Future[WorkerHandle]] = deque()
        self._mean_call_seconds = _FIRST_GUESS_SECONDS
        self.busy = 0

    @property
    def idle(self) -> int:
        """How many workers are ready."""
        return len(self._idle)

    async def take(self, tool_name: str) -> WorkerHandle:
        """Waits for a worker; it counts as busy until ``release``.

        Raises:
            LimitExceededError: Too many calls wait already.
        """
        if len(self._waiting) >= self._limits.queued_calls_max:
            raise self._too_many(tool_name)
        if self._idle and not self._waiting and self.busy < self._limits.busy_workers_max:
            return self._take_idle()
        place: asyncio.Future[WorkerHandle] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._hand_out()
        try:
            return await place
        except asyncio.CancelledError:
            if place.cancelled():
                with contextlib.suppress(ValueError):
                    # It is out already if a worker became free at the same moment.
                    self._waiting.remove(place)
            elif not place.exception():
                # It has not been told anything, so it can serve another call.
                self.busy -= 1
                self._idle.appendleft(place.result())
                self._hand_out()
            raise

    def release(self, seconds: float) -> None:
        """Counts a worker as busy no longer.

        Args:
            seconds: How long it was.
        """
        self.busy -= 1
        self._mean_call_seconds += _WEIGHT * (seconds - self._mean_call_seconds)
        self._refill()
        self._hand_out()

    def add(self, worker: WorkerHandle) -> None:
        """Adds a worker that is ready."""
        self._idle.append(worker)
        self._hand_out()

    def discard(self, worker: WorkerHandle) -> bool:
        """Takes out a worker that is not to serve, and tells whether it was in."""
        if worker not in self._idle:
            return False
        self._idle.remove(worker)
        return True

    def refuse_all(self, error_of: Callable[[], AgentExecutorError]) -> None:
        """Refuses every call that waits."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(error_of())

    def _hand_out(self) -> None:
        while self._idle and self._waiting and self.busy < self._limits.busy_workers_max:
            place = self._waiting.popleft()
            if place.done():
                continue
            place.set_result(self._take_idle())

    def _take_idle(self) -> WorkerHandle:
        self.busy += 1
        worker = self._idle.popleft()
        # Forking takes the processor that a call could have; while there are workers enough it
        # waits until the call is over.
        if 2 * len(self._idle) < self._limits.idle_workers:
            self._refill()
        return worker

    def _too_many(self, tool_name: str) -> LimitExceededError:
        wait_seconds = len(self._waiting) * self._mean_call_seconds / self._limits.busy_workers_max
        return LimitExceededError(
            f"{len(self._waiting)} tool calls wait for a worker already; no more are accepted.",
            metadata={"limit": "queued_calls", "limitValue": str(self._limits.queued_calls_max)},
            tool_name=tool_name,
            retry_after_seconds=max(_RETRY_AFTER_SECONDS_MIN, wait_seconds),
        )

"""Which call gets which worker: those that are ready, and the calls that wait for one, in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from agent_executor.errors import AgentExecutorError, LimitExceededError
from agent_executor.tool_runner.isolation.failure import LIMIT_KEY
from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.isolation.worker_handle import WorkerHandle

QUEUED_CALLS: Final = "queued_calls"
"""The limit that a call met before it had a worker."""

# How much the last call counts in the mean duration of calls.
_WEIGHT: Final = 0.1
_FIRST_GUESS_SECONDS: Final = 0.1
_RETRY_AFTER_SECONDS_MIN: Final = 0.1


class _Sharer:
    """One organization: its calls that wait, in order, and how many of its calls run."""

    __slots__ = ("busy", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[WorkerHandle]] = deque()
        self.busy = 0


class WorkerQueue:
    """Ready workers, and calls that wait.

    Organizations take turns; the calls of each are served in order.

    Attributes:
        busy: Workers that serve a call.
    """

    def __init__(self, limits: SandboxLimits, refill: Callable[[], None]) -> None:
        """See the class; ``refill`` is called when workers are missing."""
        self._limits = limits
        self._refill = refill
        self._idle: deque[WorkerHandle] = deque()
        # Those with calls; the one whose turn is next comes first.
        self._sharers: OrderedDict[str, _Sharer] = OrderedDict()
        self._waiting = 0
        self._mean_call_seconds = _FIRST_GUESS_SECONDS
        self.busy = 0

    @property
    def idle(self) -> int:
        """How many workers are ready."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many calls wait for a worker."""
        return self._waiting

    async def take(self, tool_name: str, organization_id: str) -> WorkerHandle:
        """Waits for a worker; it counts as busy until ``release``.

        Raises:
            LimitExceededError: Too many calls wait already, or too many of the organization's.
        """
        sharer = self._sharers.get(organization_id) or _Sharer()
        waiting, limits = len(sharer.waiting), self._limits
        if waiting >= limits.queued_calls_of_one_max:
            raise self._too_many(tool_name, waiting, limits.queued_calls_of_one_max)
        if self._waiting >= limits.queued_calls_max:
            raise self._too_many(tool_name, self._waiting, limits.queued_calls_max)
        self._sharers[organization_id] = sharer
        place: asyncio.Future[WorkerHandle] = asyncio.get_running_loop().create_future()
        sharer.waiting.append(place)
        self._waiting += 1
        self._hand_out()
        try:
            return await place
        except asyncio.CancelledError:
            if place.cancelled():
                with contextlib.suppress(ValueError):
                    # It is out already if a worker became free at the same moment.
                    sharer.waiting.remove(place)
                    self._waiting -= 1
                self._forget_if_gone(organization_id)
            elif not place.exception():
                # It has not been told anything, so it can serve another call.
                self._idle.appendleft(place.result())
                self._end(organization_id)
                self._hand_out()
                self._end_surplus()
            raise

    def release(self, organization_id: str, seconds: float) -> None:
        """Counts a worker as busy no longer.

        Args:
            organization_id: Whom it served.
            seconds: How long it was.
        """
        self._end(organization_id)
        self._mean_call_seconds += _WEIGHT * (seconds - self._mean_call_seconds)
        self._refill()
        self._hand_out()

    def add(self, worker: WorkerHandle) -> None:
        """Adds a worker that is ready."""
        self._idle.append(worker)
        self._hand_out()
        self._end_surplus()

    def discard(self, worker: WorkerHandle) -> bool:
        """Takes out a worker that is not to serve, and tells whether it was in."""
        if worker not in self._idle:
            return False
        self._idle.remove(worker)
        return True

    def refuse_all(self, error_of: Callable[[], AgentExecutorError]) -> None:
        """Refuses every call that waits."""
        self._waiting = 0
        for organization_id, sharer in list(self._sharers.items()):
            for place in sharer.waiting:
                if not place.done():
                    place.set_exception(error_of())
            sharer.waiting.clear()
            self._forget_if_gone(organization_id)

    def _hand_out(self) -> None:
        while self._idle and self.busy < self._limits.busy_workers_max:
            organization_id = self._whose_turn()
            if organization_id is None:
                return
            sharer = self._sharers[organization_id]
            self._sharers.move_to_end(organization_id)
            place = sharer.waiting.popleft()
            self._waiting -= 1
            if not place.done():
                sharer.busy += 1
                place.set_result(self._take_idle())
            self._forget_if_gone(organization_id)

    def _end_surplus(self) -> None:
        # A worker that was given back unused meets the one that was started in its place.
        while len(self._idle) > self._limits.idle_workers:
            self._idle.pop().kill()

    def _whose_turn(self) -> str | None:
        most = self._limits.busy_workers_of_one_max
        for organization_id, sharer in self._sharers.items():
            if sharer.waiting and sharer.busy < most:
                return organization_id
        return None

    def _end(self, organization_id: str) -> None:
        self.busy -= 1
        self._sharers[organization_id].busy -= 1
        self._forget_if_gone(organization_id)

    def _forget_if_gone(self, organization_id: str) -> None:
        sharer = self._sharers.get(organization_id)
        if sharer is not None and not sharer.waiting and not sharer.busy:
            del self._sharers[organization_id]

    def _take_idle(self) -> WorkerHandle:
        self.busy += 1
        worker = self._idle.popleft()
        # Forking takes the processor that a call could have; while there are workers enough it
        # waits until the call is over.
        if 2 * len(self._idle) < self._limits.idle_workers:
            self._refill()
        return worker

    def _too_many(self, tool_name: str, waiting: int, most: int) -> LimitExceededError:
        wait_seconds = waiting * self._mean_call_seconds / self._limits.busy_workers_max
        return LimitExceededError(
            f"{waiting} tool calls wait for a worker already; no more are accepted.",
            metadata={LIMIT_KEY: QUEUED_CALLS, "limitValue": str(most)},
            tool_name=tool_name,
            retry_after_seconds=max(_RETRY_AFTER_SECONDS_MIN, wait_seconds),
        )

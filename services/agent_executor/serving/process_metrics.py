"""What every Python process of the platform tells of itself: what it is, and how it keeps up."""

from __future__ import annotations

import asyncio
import gc
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from agent_executor.serving.metric_names import (
    BUILD_INFO,
    EVENT_LOOP_LAG,
    GARBAGE_COLLECTION_SECONDS,
    GARBAGE_COLLECTIONS,
)
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.telemetry import platform_version

LAG_SAMPLE_SECONDS: Final = 0.5

_GENERATIONS: Final = ("0", "1", "2")


@contextmanager
def process_told(metrics: Metrics, process_name: str) -> Iterator[None]:
    """Tells of this process until the block ends; to be entered in its event loop.

    Args:
        metrics: Where it is told.
        process_name: As logs know it.
    """
    metrics.set_gauge(BUILD_INFO, 1, platform_version(), platform.python_version(), process_name)
    sampler = _Sampler(metrics)
    gc.callbacks.append(sampler.on_collection)
    sampler.begin()
    try:
        yield
    finally:
        sampler.end()
        gc.callbacks.remove(sampler.on_collection)


class _Sampler:
    """Measures how late the event loop is, and passes on what the cycle collector did."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0
        self._collection_began_at = 0.0
        self._collections = [0] * len(_GENERATIONS)
        self._seconds = [0.0] * len(_GENERATIONS)
        metrics.show(EVENT_LOOP_LAG)
        self._tell_collections()

    def begin(self) -> None:
        """Sets the timer."""
        # Not the loop's clock, which uvloop reads once in each turn: what held the turn up is
        # what is looked for.
        self._due_at = time.perf_counter() + LAG_SAMPLE_SECONDS
        self._timer = self._loop.call_later(LAG_SAMPLE_SECONDS, self._sample)

    def end(self) -> None:
        """Takes it back."""
        if self._timer is not None:
            self._timer.cancel()

    def on_collection(self, phase: str, info: dict[str, Any]) -> None:
        """Is called by the cycle collector, on any thread and between any two lines of code.

        So it must not count in a metric, whose lock the interrupted code may hold.
        """
        if phase == "start":
            self._collection_began_at = time.perf_counter()
        elif self._collection_began_at:
            generation = info["generation"]
            self._collections[generation] += 1
            self._seconds[generation] += time.perf_counter() - self._collection_began_at

    def _sample(self) -> None:
        # The loop's timers are exact to a millisecond, so one may come too early by that.
        self._metrics.observe(EVENT_LOOP_LAG, max(0.0, time.perf_counter() - self._due_at))
        self._tell_collections()
        self.begin()

    def _tell_collections(self) -> None:
        counts, self._collections = self._collections, [0] * len(_GENERATIONS)
        seconds, self._seconds = self._seconds, [0.0] * len(_GENERATIONS)
        for place, generation in enumerate(_GENERATIONS):
            self._metrics.increment(GARBAGE_COLLECTIONS, generation, by=counts[place])
            self._metrics.increment(GARBAGE_COLLECTION_SECONDS, generation, by=seconds[place])

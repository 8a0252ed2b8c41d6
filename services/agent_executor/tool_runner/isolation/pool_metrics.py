"""What is counted of the sandbox's workers and of the calls that want one."""

from __future__ import annotations

from agent_executor.serving.metric_names import (
    SANDBOX_REFUSALS,
    SANDBOX_WAIT_DURATION,
    SANDBOX_WORKER_DEATHS,
    SANDBOX_WORKER_STARTS,
)
from agent_executor.serving.metrics import Metrics


class PoolMetrics:
    """Counts for a pool of workers.

    Args:
        metrics: Where. Default: nowhere that anybody looks at.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._metrics.show(SANDBOX_WORKER_STARTS, SANDBOX_WAIT_DURATION)
        for reason in ("unavailable", "queued_calls", "deadline"):
            self._metrics.increment(SANDBOX_REFUSALS, reason, by=0)

    def started(self) -> None:
        """Counts a worker that is ready."""
        self._metrics.increment(SANDBOX_WORKER_STARTS)

    def waited(self, seconds: float) -> None:
        """Adds how long a call waited for its worker."""
        self._metrics.observe(SANDBOX_WAIT_DURATION, seconds)

    def died(self, reason: str) -> None:
        """Counts a worker that ended before its call had its result, or had none yet."""
        self._metrics.increment(SANDBOX_WORKER_DEATHS, reason)

    def refused(self, reason: str) -> None:
        """Counts a call that got no worker."""
        self._metrics.increment(SANDBOX_REFUSALS, reason)

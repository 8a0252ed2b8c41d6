"""What is counted of Redis."""

from __future__ import annotations

from agent_executor.serving.metric_names import REDIS_DURATION, REDIS_ERRORS, REDIS_UP
from agent_executor.serving.metrics import Metrics


class RedisMetrics:
    """Counts for one use of Redis, which is a label."""

    def __init__(self, metrics: Metrics, use: str) -> None:
        self._metrics = metrics
        self._use = use

    def state(self, *, is_up: bool) -> None:
        """Shows whether Redis answers."""
        self._metrics.set_gauge(REDIS_UP, is_up, self._use)

    def round_trip(self, seconds: float) -> None:
        """Adds the duration of a round trip."""
        self._metrics.observe(REDIS_DURATION, seconds, self._use)

    def error(self, reason: str) -> None:
        """Counts a failure."""
        self._metrics.increment(REDIS_ERRORS, self._use, reason)

"""Tells in gauges what this tool-runner has at hand."""

from __future__ import annotations

from agent_executor.serving.database_metrics import tell_connections
from agent_executor.serving.metric_names import SANDBOX_CALLS_WAITING, SANDBOX_WORKERS
from agent_executor.serving.metrics import Metrics
from agent_executor.tool_runner.isolation.pool import WorkerPool
from agent_executor.tool_runner.storage import ToolRunnerStorage


class ToolRunnerGauges:
    """Sets the gauges of a tool-runner.

    Args:
        pool: The sandbox.
        storage: The database.
        metrics: Where it is told.
    """

    def __init__(self, pool: WorkerPool, storage: ToolRunnerStorage, metrics: Metrics) -> None:
        self._pool = pool
        self._storage = storage
        self._metrics = metrics

    async def look(self) -> None:
        """Sets them to the present."""
        metrics = self._metrics
        for state, count in self._pool.worker_counts.items():
            metrics.set_gauge(SANDBOX_WORKERS, count, state)
        metrics.set_gauge(SANDBOX_CALLS_WAITING, self._pool.waiting_count)
        tell_connections(metrics, self._storage.connections())

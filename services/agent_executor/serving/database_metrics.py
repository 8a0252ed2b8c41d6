"""What a service tells of its database: its commits, and its connections if it has any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from agent_executor.serving.metric_names import (
    DATABASE_COMMIT_DURATION,
    DATABASE_COMMIT_OPERATIONS,
    DATABASE_COMMITS,
    DATABASE_CONNECTIONS,
    DATABASE_OPERATIONS,
)
from agent_executor.serving.metrics import Metrics


class Batch(Protocol):
    """A batch that a group-commit writer has ended."""

    @property
    def last_batch_operations(self) -> int:
        """Its operations."""
        ...

    @property
    def last_batch_seconds(self) -> float:
        """How long it took, its commit included."""
        ...


def batch_counter(metrics: Metrics) -> Callable[[Batch], None]:
    """Returns what counts a batch, for a writer to call after each."""
    metrics.show(
        DATABASE_COMMITS, DATABASE_OPERATIONS, DATABASE_COMMIT_OPERATIONS, DATABASE_COMMIT_DURATION
    )

    def count(batch: Batch) -> None:
        operations = batch.last_batch_operations
        metrics.increment(DATABASE_COMMITS)
        metrics.increment(DATABASE_OPERATIONS, by=operations)
        metrics.observe(DATABASE_COMMIT_OPERATIONS, operations)
        metrics.observe(DATABASE_COMMIT_DURATION, batch.last_batch_seconds)

    return count


def tell_connections(metrics: Metrics, connections: Mapping[str, int]) -> None:
    """Sets the gauge of a database's connections by their use; none with SQLite."""
    for use, count in connections.items():
        metrics.set_gauge(DATABASE_CONNECTIONS, count, use)

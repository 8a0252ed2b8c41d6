"""Tells in gauges what this executor has at hand, and what waits in the database for any of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Select, func, literal_column, select

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.approvals.store_sql import can_be_decided
from agent_executor.executor.driving.engine import Engine
from agent_executor.executor.runs.runs import Runs
from agent_executor.executor.storage import ExecutorStorage
from agent_executor.executor.tables import APPROVALS, RUNS, WEBHOOK_DELIVERIES
from agent_executor.serving.database_metrics import tell_connections
from agent_executor.serving.metric_names import (
    APPROVALS_WAITING,
    APPROVALS_WAITING_OLDEST,
    EVENT_STREAMS_OPEN,
    RUNS_OWNED,
    RUNS_WAITING,
    RUNS_WAITING_OLDEST,
    UNSETTLED_MODEL_CALLS,
    UNSETTLED_MODEL_CALLS_OLDEST,
    WEBHOOKS_WAITING,
)
from agent_executor.serving.metrics import Metrics

_IN_DATABASE: Final = (
    *(RUNS_WAITING, RUNS_WAITING_OLDEST, APPROVALS_WAITING, APPROVALS_WAITING_OLDEST),
    WEBHOOKS_WAITING,
)
_COUNT: Final = func.count().label("count")
# The conditions are written out, for a database looks into an index of a part only if it sees that
# it is that part.
_RUNS_WAITING: Final = select(_COUNT, func.min(RUNS.c.created_at_ms).label("oldest_ms")).where(
    RUNS.c.ended_at_ms == literal_column("0"),
    RUNS.c.owner == literal_column("''"),
    RUNS.c.wake_at_ms == literal_column("0"),
)
_WEBHOOKS_WAITING: Final = (
    select(_COUNT)
    .select_from(WEBHOOK_DELIVERIES)
    .where(WEBHOOK_DELIVERIES.c.due_at_ms > literal_column("0"))
)


class ExecutorGauges:
    """Sets the gauges of an executor.

    Args:
        storage: Where runs, approvals and webhooks wait; those of all executors.
        runs: What is driven and read here.
        engine: Settles model calls.
        metrics: Where it is told.
        now_ms: The present.
    """

    def __init__(
        self,
        storage: ExecutorStorage,
        runs: Runs,
        engine: Engine,
        metrics: Metrics,
        now_ms: Callable[[], int],
    ) -> None:
        self._storage = storage
        self._runs = runs
        self._engine = engine
        self._metrics = metrics
        self._now_ms = now_ms

    async def look(self) -> None:
        """Sets them to the present. What is in a database that fails is not a number then.

        Raises:
            UnavailableError: The storage failed.
        """
        self._tell_own()
        try:
            await self._tell_database()
        except AgentExecutorError:
            for definition in _IN_DATABASE:
                self._metrics.set_gauge(definition, math.nan)
            raise

    def _tell_own(self) -> None:
        metrics, under_way = self._metrics, self._engine.settlements_under_way
        metrics.set_gauge(RUNS_OWNED, self._runs.owned_count)
        metrics.set_gauge(EVENT_STREAMS_OPEN, self._runs.feed.reader_count)
        metrics.set_gauge(UNSETTLED_MODEL_CALLS, len(under_way))
        # They are in the order of their beginning.
        oldest = next(iter(under_way.values()), None)
        metrics.set_gauge(
            UNSETTLED_MODEL_CALLS_OLDEST, 0 if oldest is None else time.monotonic() - oldest
        )
        tell_connections(metrics, self._storage.connections())

    async def _tell_database(self) -> None:
        metrics, now_ms = self._metrics, self._now_ms()
        [runs], [approvals], [webhooks] = await self._storage.statements.run(
            _RUNS_WAITING, _approvals_waiting(now_ms), _WEBHOOKS_WAITING
        )
        metrics.set_gauge(RUNS_WAITING, runs["count"])
        metrics.set_gauge(RUNS_WAITING_OLDEST, _age_seconds(runs["oldest_ms"], now_ms))
        metrics.set_gauge(APPROVALS_WAITING, approvals["count"])
        metrics.set_gauge(APPROVALS_WAITING_OLDEST, _age_seconds(approvals["oldest_ms"], now_ms))
        metrics.set_gauge(WEBHOOKS_WAITING, webhooks["count"])


def _approvals_waiting(now_ms: int) -> Select[int, Any]:
    return select(_COUNT, func.min(APPROVALS.c.created_at_ms).label("oldest_ms")).where(
        can_be_decided(now_ms)
    )


def _age_seconds(since_ms: int | None, now_ms: int) -> float:
    return 0.0 if since_ms is None else max(0, now_ms - since_ms) / 1000

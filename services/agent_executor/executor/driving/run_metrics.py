"""What is counted of runs by whoever drives them: how they end, and how they change hands."""

from __future__ import annotations

from typing import Final

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.serving.metric_names import (
    AGENT_COST,
    AGENT_RUN_DURATION,
    AGENT_RUNS,
    AGENT_TOKENS,
    LEASE_RENEWALS,
    RUN_DURATION,
    RUN_RECOVERY_DURATION,
    RUNS,
    RUNS_LOST,
    RUNS_TAKEN_OVER,
)
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.telemetry import parse_traceparent

OK: Final = "OK"
# Stands for the agent of a run whose agent cannot be read.
UNKNOWN_AGENT: Final = "unknown"

LOST_OWNER: Final = "lost_owner"
PARKED: Final = "parked"


class RunMetrics:
    """Counts runs.

    Args:
        metrics: Where. Default: nowhere that anybody looks at.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._metrics.show(RUNS_LOST, RUN_RECOVERY_DURATION)
        for outcome in ("renewed", "failed"):
            self._metrics.increment(LEASE_RENEWALS, outcome, by=0)
        for reason in (LOST_OWNER, PARKED):
            self._metrics.increment(RUNS_TAKEN_OVER, reason, by=0)

    def ended(self, run: RunRecord, agent_name: str = UNKNOWN_AGENT) -> None:
        """Counts a run whose end is durable, by its own record."""
        metrics, seconds = self._metrics, max(0, run.ended_at_ms - run.created_at_ms) / 1000
        trace = parse_traceparent(run.traceparent) if run.traceparent else None
        metrics.increment(RUNS, run.state)
        metrics.observe(RUN_DURATION, seconds, run.state, span_context=trace)
        metrics.increment(AGENT_RUNS, agent_name, run.state, run.code or OK)
        metrics.observe(AGENT_RUN_DURATION, seconds, agent_name, span_context=trace)
        metrics.increment(AGENT_TOKENS, agent_name, by=run.tokens_used)
        metrics.increment(AGENT_COST, agent_name, by=run.cost_nano_usd)

    def taken_over(self, seconds: float, *, was_parked: bool) -> None:
        """Counts a run that goes on after another attempt, so long after it was claimed."""
        self._metrics.increment(RUNS_TAKEN_OVER, PARKED if was_parked else LOST_OWNER)
        self._metrics.observe(RUN_RECOVERY_DURATION, seconds)

    def lost(self) -> None:
        """Counts a run that another executor has taken over while it was driven here."""
        self._metrics.increment(RUNS_LOST)

    def lease_renewed(self, succeeded: bool) -> None:
        """Counts a renewal of this executor's lease."""
        self._metrics.increment(LEASE_RENEWALS, "renewed" if succeeded else "failed")

"""The line of the log that each run has, once its end is durable."""

from __future__ import annotations

import logging

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.serving.telemetry import parse_traceparent

_LOGGER = logging.getLogger(__name__)


def log_end(run: RunRecord) -> None:
    """Logs how a run has ended, how long it took, and what it used."""
    if not _LOGGER.isEnabledFor(logging.INFO):
        return
    extra = {
        "organization_id": run.organization_id,
        "run_id": run.run_id,
        "agent_id": run.agent_id,
        "model": run.model,
        "state": run.state,
        "code": run.code or "OK",
        "duration_seconds": max(0, run.ended_at_ms - run.created_at_ms) / 1000,
        "tokens": run.tokens_used,
        "cost_nano_usd": run.cost_nano_usd,
    }
    # Whoever brings a run to its end may not work in its trace.
    span_context = parse_traceparent(run.traceparent) if run.traceparent else None
    if span_context is not None:
        extra["trace_id"] = f"{span_context.trace_id:032x}"
    _LOGGER.info("run ended", extra=extra)

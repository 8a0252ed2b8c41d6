"""What is told of runs and model calls: their spans, their metrics, and a line of the log for a run.

The tool-runner makes the ``execute_tool`` span of each tool call, so none is made here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry.trace import Tracer

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.driving.run_spans import ChatSpan, RunSpans
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.models.model import ModelRequest, ModelResponse
from agent_executor.serving.metric_names import (
    MODEL_CALL_DURATION,
    MODEL_CALLS,
    MODEL_TOKENS,
    RESPONSE_CACHE_LOOKUPS,
    RUNS_ACTIVE,
    UNHELD_MODEL_CALLS,
)
from agent_executor.serving.metrics import Metrics

OK: Final = "OK"


class ChatRecord:
    """One model call, as it is told of."""

    def __init__(self, span: ChatSpan, metrics: Metrics, model: str) -> None:
        self._span = span
        self._metrics = metrics
        self._model = model

    def answered(self, response: ModelResponse) -> None:
        """Records what the model's answer used."""
        usage = response.usage
        written = usage.cache_creation_input_tokens_5m + usage.cache_creation_input_tokens_1h
        for kind, count in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_input_tokens),
            ("cache_write", written),
        ):
            if count:
                self._metrics.increment(MODEL_TOKENS, self._model, kind, by=count)
        self._span.answered(response)


class RunTelemetry:
    """Tells of runs and model calls.

    Args:
        tracer: Makes the spans.
        metrics: Where they are counted.
        provider_name: Who serves the models of agents that do not say.
        shows_content: Whether the spans show what is said, too.
    """

    def __init__(
        self,
        tracer: Tracer,
        metrics: Metrics,
        provider_name: str = "",
        *,
        shows_content: bool = False,
    ) -> None:
        self._spans = RunSpans(tracer, provider_name, shows_content=shows_content)
        self._metrics = metrics
        self._active = 0
        metrics.show(RUNS_ACTIVE)

    @contextmanager
    def invoke_agent(self, run: RunRecord, agent: AgentVersion, log: RunLog) -> Iterator[None]:
        """Covers the driving of a run, all of which is in the run's trace."""
        with self._spans.run(run, agent) as span:
            self._count_active(1)
            try:
                yield
            finally:
                self._count_active(-1)
                span.end(log.state)

    def tools_of(self, model_call_id: str) -> AbstractContextManager[None]:
        """Covers the tool calls that a model call has asked for."""
        return self._spans.tools_of(model_call_id)

    @contextmanager
    def chat(
        self,
        run: RunRecord,
        request: ModelRequest,
        model_call_id: str,
        provider_name: str,
        *,
        seconds: float | None = None,
    ) -> Iterator[ChatRecord]:
        """Covers one model call; an error that leaves the block is told of by its reason.

        Args:
            run: The run.
            request: What the model is asked.
            model_call_id: The call.
            provider_name: Whom.
            seconds: How long the call took, if it was not made within the block.
        """
        span = self._spans.chat(run, request, model_call_id, provider_name, seconds)
        code = OK
        started = time.perf_counter()
        try:
            yield ChatRecord(span, self._metrics, request.model)
        except BaseException as error:
            code = str(getattr(error, "reason", type(error).__name__))
            span.failed(code)
            raise
        finally:
            self._metrics.increment(MODEL_CALLS, provider_name, request.model, code)
            self._metrics.observe(
                MODEL_CALL_DURATION,
                time.perf_counter() - started if seconds is None else seconds,
                provider_name,
                request.model,
                span_context=span.span.get_span_context(),
            )
            span.end()

    def called_unheld(self, model: str) -> None:
        """Counts a model call for which no money is held, since the ledger is away."""
        self._metrics.increment(UNHELD_MODEL_CALLS, model)

    def looked_up(self, model: str, *, is_hit: bool) -> None:
        """Counts a look into the response cache."""
        self._metrics.increment(RESPONSE_CACHE_LOOKUPS, model, "hit" if is_hit else "miss")

    def _count_active(self, change: int) -> None:
        self._active += change
        self._metrics.set_gauge(RUNS_ACTIVE, self._active)

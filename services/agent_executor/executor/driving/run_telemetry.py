"""What is told of runs and model calls: their spans and their metrics.

The tool-runner makes the ``execute_tool`` span of each tool call, so none is made here. Content of
prompts, answers and arguments goes into neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.models.model import ModelRequest, ModelResponse
from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.metric_names import (
    MODEL_CALL_DURATION,
    MODEL_CALLS,
    MODEL_TOKENS,
    RESPONSE_CACHE_LOOKUPS,
    RUNS_ACTIVE,
    UNHELD_MODEL_CALLS,
)
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.telemetry import context_from_traceparent, traceparent_of

OK: Final = "OK"

# The run's span, seen by the model calls that its driver makes.
_PARENT: Final[ContextVar[Span]] = ContextVar("invoke_agent_span", default=INVALID_SPAN)


class ChatRecord:
    """One model call, as it is told of."""

    def __init__(self, span: Span, metrics: Metrics, model: str) -> None:
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
        if self._span.is_recording():
            input_tokens = usage.input_tokens + usage.cache_read_input_tokens + written
            self._span.set_attributes(
                {
                    names.GEN_AI_RESPONSE_ID: response.id,
                    names.GEN_AI_RESPONSE_MODEL: response.model,
                    names.GEN_AI_RESPONSE_FINISH_REASONS: (response.stop_reason,),
                    names.GEN_AI_USAGE_INPUT_TOKENS: input_tokens,
                    names.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
                }
            )


class RunTelemetry:
    """Tells of runs and model calls."""

    def __init__(self, tracer: Tracer, metrics: Metrics) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._active = 0
        metrics.show(RUNS_ACTIVE)

    @contextmanager
    def invoke_agent(self, run: RunRecord, agent: AgentVersion, log: RunLog) -> Iterator[str]:
        """Covers the driving of a run and yields the trace context for its tool calls.

        The span's parent is the call that started the run, however long ago and wherever.
        """
        span = self._tracer.start_span(
            f"{names.OPERATION_INVOKE_AGENT} {agent.name}",
            context=context_from_traceparent(run.traceparent),
            kind=SpanKind.INTERNAL,
            attributes={
                names.GEN_AI_OPERATION_NAME: names.OPERATION_INVOKE_AGENT,
                names.GEN_AI_AGENT_ID: run.agent_id,
                names.GEN_AI_AGENT_NAME: agent.name,
                names.GEN_AI_REQUEST_MODEL: run.model,
                names.AGENT_EXECUTOR_RUN_ID: run.run_id,
            },
        )
        token = _PARENT.set(span)
        self._count_active(1)
        try:
            yield traceparent_of(span)
        finally:
            _PARENT.reset(token)
            self._count_active(-1)
            self._end_run(span, log)

    @contextmanager
    def chat(
        self,
        run: RunRecord,
        request: ModelRequest,
        provider_name: str,
        *,
        seconds: float | None = None,
    ) -> Iterator[ChatRecord]:
        """Covers one model call; an error that leaves the block is told of by its reason.

        Args:
            run: The run.
            request: What the model is asked.
            provider_name: Whom.
            seconds: How long the call took, if it was not made within the block.
        """
        span = self._tracer.start_span(
            f"{names.OPERATION_CHAT} {request.model}",
            context=set_span_in_context(_PARENT.get()),
            kind=SpanKind.CLIENT,
            attributes={
                names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
                names.GEN_AI_PROVIDER_NAME: provider_name,
                names.GEN_AI_REQUEST_MODEL: request.model,
                names.GEN_AI_REQUEST_MAX_TOKENS: request.max_tokens,
                names.AGENT_EXECUTOR_RUN_ID: run.run_id,
            },
        )
        code = OK
        started = time.perf_counter()
        try:
            yield ChatRecord(span, self._metrics, request.model)
        except BaseException as error:
            code = str(getattr(error, "reason", type(error).__name__))
            span.set_attribute(names.ERROR_TYPE, code)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            self._metrics.increment(MODEL_CALLS, provider_name, request.model, code)
            self._metrics.observe(
                MODEL_CALL_DURATION,
                time.perf_counter() - started if seconds is None else seconds,
                provider_name,
                request.model,
                span_context=span.get_span_context(),
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

    def _end_run(self, span: Span, log: RunLog) -> None:
        state = log.state
        if span.is_recording():
            span.set_attribute(names.AGENT_EXECUTOR_RUN_STATE, state.state)
            span.set_attribute(names.AGENT_EXECUTOR_COST_NANO_USD, state.cost_nano_usd)
            if state.finished is not None and state.finished.code:
                span.set_attribute(names.ERROR_TYPE, state.finished.code)
                span.set_status(Status(StatusCode.ERROR))
        span.end()

"""The spans of a run: ``invoke_agent`` around it and ``chat`` around each model call.

The tool-runner makes the ``execute_tool`` span of each tool call, so none is made here.
"""

from __future__ import annotations

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

from agent_executor.executor.agent import AgentVersion
from agent_executor.executor.journal import RunRecord
from agent_executor.executor.models.model import ModelRequest, ModelResponse
from agent_executor.executor.run_log import RunLog
from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.telemetry import context_from_traceparent, traceparent_of

# The run's span, seen by the model calls that its driver makes.
_PARENT: Final[ContextVar[Span]] = ContextVar("invoke_agent_span", default=INVALID_SPAN)


class ChatSpan:
    """The span of one model call."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, response: ModelResponse) -> None:
        """Records what the model answered, without its content."""
        if self._span.is_recording():
            usage = response.usage
            cached = (
                usage.cache_read_input_tokens
                + usage.cache_creation_input_tokens_5m
                + usage.cache_creation_input_tokens_1h
            )
            self._span.set_attributes(
                {
                    names.GEN_AI_RESPONSE_ID: response.id,
                    names.GEN_AI_RESPONSE_MODEL: response.model,
                    names.GEN_AI_RESPONSE_FINISH_REASONS: (response.stop_reason,),
                    names.GEN_AI_USAGE_INPUT_TOKENS: usage.input_tokens + cached,
                    names.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
                }
            )


class RunSpans:
    """Makes the spans of runs."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def invoke_agent(self, run: RunRecord, agent: AgentVersion, log: RunLog) -> Iterator[str]:
        """Spans the driving of a run and yields the trace context for its tool calls.

        The parent is the call that started the run, however long ago and wherever that was.
        """
        span = self._tracer.start_span(
            f"invoke_agent {agent.name}",
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
        try:
            yield traceparent_of(span)
        finally:
            _PARENT.reset(token)
            if span.is_recording():
                state = log.state
                span.set_attribute(names.AGENT_EXECUTOR_RUN_STATE, state.state)
                span.set_attribute(names.AGENT_EXECUTOR_COST_NANO_USD, state.cost_nano_usd)
                if state.finished is not None and state.finished.code:
                    span.set_attribute(names.ERROR_TYPE, state.finished.code)
                    span.set_status(Status(StatusCode.ERROR, state.finished.error))
            span.end()

    @contextmanager
    def chat(
        self, run: RunRecord, request: ModelRequest, provider_name: str
    ) -> Iterator[ChatSpan]:
        """Spans one model call; an error that leaves the block is recorded by its type."""
        span = self._tracer.start_span(
            f"chat {request.model}",
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
        try:
            yield ChatSpan(span)
        except BaseException as error:
            span.set_attribute(names.ERROR_TYPE, getattr(error, "reason", type(error).__name__))
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.end()

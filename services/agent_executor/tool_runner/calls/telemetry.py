"""What is told of tool calls: their ``execute_tool`` spans and their metrics.

Content of arguments and results goes into neither.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer

from agent_executor.errors import (
    AgentExecutorError,
    CancelledRunError,
    RateLimitExceededError,
)
from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.metric_names import (
    RATE_LIMIT_REFUSALS,
    RESULT_CACHE_LOOKUPS,
    TOOL_CALL_DURATION,
    TOOL_CALL_REFUSALS,
    TOOL_CALLS,
)
from agent_executor.serving.metrics import Metrics
from agent_executor.tool_runner.calls.tool_call import ToolCall
from agent_executor.tool_runner.policy.sandbox import SCOPE_KEY
from agent_executor.tool_runner.registry import ToolRegistry

OK: Final = "OK"
# The first word of the span of an attempt that runs nothing: its call has been made before.
OPERATION_REPLAY: Final = "replay_tool_call"
# Stands for the names that no tool has, of which there is no end.
UNKNOWN_TOOL: Final = "unknown"


class CallTelemetry:
    """Tells of tool calls.

    Args:
        registry: The tools of this process, whose names are known.
        tracer: Makes the spans. Default: none are made.
        metrics: Where calls are counted. Default: nowhere.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        tracer: Tracer | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._registry = registry
        self._tracer = tracer or NoOpTracer()
        self._metrics = metrics

    def observe(self, call: ToolCall, parent: Context | None = None) -> CallObservation:
        """Returns a context manager that covers one attempt.

        Args:
            call: The call.
            parent: The trace context of the caller. Default: that of the running task.
        """
        span = self._tracer.start_span(
            f"{names.OPERATION_EXECUTE_TOOL} {call.tool_name}",
            context=parent,
            kind=SpanKind.INTERNAL,
        )
        if span.is_recording():
            span.set_attributes(
                {
                    names.GEN_AI_OPERATION_NAME: names.OPERATION_EXECUTE_TOOL,
                    names.GEN_AI_TOOL_NAME: call.tool_name,
                    names.GEN_AI_TOOL_CALL_ID: call.tool_call_id,
                    names.GEN_AI_TOOL_TYPE: names.TOOL_TYPE_FUNCTION,
                    names.GEN_AI_AGENT_ID: call.agent_id,
                    names.AGENT_EXECUTOR_RUN_ID: call.run_id,
                }
            )
        observation = CallObservation(span, self._metrics, call.tool_name)
        if self._registry.find(call.tool_name) is not None:
            observation.found()
        return observation

    def refused(self, rule: str, error: AgentExecutorError) -> None:
        """Counts a call that is not made, by the rule that refused it."""
        if self._metrics is None:
            return
        self._metrics.increment(TOOL_CALL_REFUSALS, rule)
        if isinstance(error, RateLimitExceededError):
            self._metrics.increment(RATE_LIMIT_REFUSALS, error.metadata.get(SCOPE_KEY, ""))

    def looked_up(self, *, is_hit: bool) -> None:
        """Counts a look into the cache of results."""
        if self._metrics is not None:
            self._metrics.increment(RESULT_CACHE_LOOKUPS, "hit" if is_hit else "miss")


class CallObservation:
    """One attempt, as it is told of. An error that leaves the block is told of by its reason."""

    __slots__ = (
        "_code",
        "_duration_seconds",
        "_is_found",
        "_metrics",
        "_replayed",
        "_span",
        "_tool_name",
    )

    def __init__(self, span: Span, metrics: Metrics | None, tool_name: str) -> None:
        self._span = span
        self._metrics = metrics
        self._tool_name = tool_name
        self._is_found = False
        self._code = OK
        self._duration_seconds: float | None = None
        self._replayed = False

    @property
    def trace_id(self) -> str:
        """The trace of the attempt in hexadecimal; empty outside of a trace."""
        span_context = self._span.get_span_context()
        return f"{span_context.trace_id:032x}" if span_context.is_valid else ""

    def found(self) -> None:
        """Says that there is such a tool, so that its name may be a label."""
        self._is_found = True

    def ended(self, code: str) -> None:
        """Says how the attempt ended: a name of ``ErrorReason``, or empty for a result."""
        self._code = code or OK

    def dispatched(self, duration_seconds: float) -> None:
        """Says that the tool was run, and how long it took."""
        self._duration_seconds = duration_seconds

    def replayed(self, tool_name: str) -> None:
        """Says that nothing is run: the call has its result, or is getting it, elsewhere."""
        self._replayed = True
        if self._span.is_recording():
            self._span.update_name(f"{OPERATION_REPLAY} {tool_name}")
            self._span.set_attribute(names.GEN_AI_OPERATION_NAME, OPERATION_REPLAY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, AgentExecutorError):
            self._code = error.reason
        elif isinstance(error, asyncio.CancelledError):
            self._code = CancelledRunError.reason
        elif error is not None:
            self._code = AgentExecutorError.reason
        span, metrics = self._span, self._metrics
        if self._code != OK and span.is_recording():
            span.set_attribute(names.ERROR_TYPE, self._code)
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        if metrics is None or self._replayed:
            return
        is_named = self._is_found or metrics.is_known("tool", self._tool_name)
        tool = self._tool_name if is_named else UNKNOWN_TOOL
        metrics.increment(TOOL_CALLS, tool, self._code)
        if self._duration_seconds is not None:
            metrics.observe(
                TOOL_CALL_DURATION,
                self._duration_seconds,
                tool,
                span_context=span.get_span_context(),
            )

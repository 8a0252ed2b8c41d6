"""What is told of tool calls: their ``execute_tool`` spans, their metrics, and a line of the log."""

from __future__ import annotations

import asyncio
import logging
import time
from types import TracebackType
from typing import Final, Self

from opentelemetry.context import Context
from opentelemetry.trace import (
    NoOpTracer,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
)

from agent_executor.errors import (
    AgentExecutorError,
    CancelledRunError,
    RateLimitExceededError,
)
from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.baggage import baggage_value
from agent_executor.serving.metric_names import (
    RATE_LIMIT_REFUSALS,
    RESULT_CACHE_LOOKUPS,
    TOOL_CALL_DURATION,
    TOOL_CALL_REFUSALS,
    TOOL_CALLS,
)
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.redaction import cut, redacted_json
from agent_executor.serving.span_ids import link_to
from agent_executor.tool_runner.calls.attempt import Attempt
from agent_executor.tool_runner.policy.sandbox import SCOPE_KEY
from agent_executor.tool_runner.registry import RegisteredTool, ToolRegistry

OK: Final = "OK"
# The first word of the span of an attempt that runs nothing: its call has been made before.
OPERATION_REPLAY: Final = "replay_tool_call"
# Stands for the names that no tool has, of which there is no end.
UNKNOWN_TOOL: Final = "unknown"

_LOGGER = logging.getLogger(__name__)


class CallTelemetry:
    """Tells of tool calls.

    Args:
        registry: The tools of this process, whose names are known.
        tracer: Makes the spans. Default: none are made.
        metrics: Where calls are counted. Default: nowhere.
        shows_content: Whether the spans show arguments and results, too.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        tracer: Tracer | None = None,
        metrics: Metrics | None = None,
        *,
        shows_content: bool = False,
    ) -> None:
        self._registry = registry
        self._tracer = tracer or NoOpTracer()
        self._metrics = metrics
        self._shows_content = shows_content

    def observe(self, attempt: Attempt, parent: Context | None = None) -> CallObservation:
        """Returns a context manager that covers one attempt.

        Args:
            attempt: The attempt.
            parent: The trace context of the caller, whose baggage names the model call that asked
                for it. Default: that of the running task.
        """
        call = attempt.call
        asked_by = baggage_value(names.AGENT_EXECUTOR_MODEL_CALL_ID, parent)
        trace = get_current_span(parent).get_span_context()
        span = self._tracer.start_span(
            f"{names.OPERATION_EXECUTE_TOOL} {call.tool_name}",
            context=parent,
            kind=SpanKind.INTERNAL,
            links=[link_to(asked_by, trace)] if asked_by else None,
        )
        tool = self._registry.find(call.tool_name)
        if span.is_recording():
            span.set_attributes(_attributes(attempt, tool, asked_by))
            if self._shows_content:
                arguments = cut(redacted_json(call.arguments_json))
                span.set_attribute(names.GEN_AI_TOOL_CALL_ARGUMENTS, arguments)
        observation = CallObservation(
            attempt, span, self._metrics, shows_content=self._shows_content
        )
        if tool is not None:
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
        "_attempt",
        "_code",
        "_duration_seconds",
        "_is_found",
        "_metrics",
        "_replayed",
        "_shows_content",
        "_span",
        "_started",
    )

    def __init__(
        self,
        attempt: Attempt,
        span: Span,
        metrics: Metrics | None,
        *,
        shows_content: bool,
    ) -> None:
        self._attempt = attempt
        self._span = span
        self._metrics = metrics
        self._is_found = False
        self._shows_content = shows_content
        self._code = OK
        self._duration_seconds: float | None = None
        self._replayed = False
        self._started = time.perf_counter()

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

    def resulted(self, result_json: str) -> None:
        """Says what the tool has given."""
        if self._shows_content and self._span.is_recording():
            shown = cut(redacted_json(result_json))
            self._span.set_attribute(names.GEN_AI_TOOL_CALL_RESULT, shown)

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
        if self._replayed:
            return
        self._log()
        if metrics is None:
            return
        tool_name = self._attempt.call.tool_name
        is_named = self._is_found or metrics.is_known("tool", tool_name)
        tool = tool_name if is_named else UNKNOWN_TOOL
        metrics.increment(TOOL_CALLS, tool, self._code)
        if self._duration_seconds is not None:
            metrics.observe(
                TOOL_CALL_DURATION,
                self._duration_seconds,
                tool,
                span_context=span.get_span_context(),
            )

    def _log(self) -> None:
        """Writes the line of the log that each call has; one that is answered again has no other."""
        if not _LOGGER.isEnabledFor(logging.INFO):
            return
        call = self._attempt.call
        extra = {
            "organization_id": self._attempt.security.organization_id,
            "run_id": call.run_id,
            "agent_id": call.agent_id,
            "tool": call.tool_name,
            "tool_call_id": call.tool_call_id,
            "code": self._code,
            "duration_seconds": round(time.perf_counter() - self._started, 6),
        }
        span_context = self._span.get_span_context()
        if span_context.is_valid:
            extra["trace_id"] = f"{span_context.trace_id:032x}"
            extra["span_id"] = f"{span_context.span_id:016x}"
        _LOGGER.info("tool call ended", extra=extra)


def _attributes(attempt: Attempt, tool: RegisteredTool | None, asked_by: str) -> dict[str, str]:
    call = attempt.call
    attributes = {
        names.GEN_AI_OPERATION_NAME: names.OPERATION_EXECUTE_TOOL,
        names.GEN_AI_TOOL_NAME: call.tool_name,
        names.GEN_AI_TOOL_CALL_ID: call.tool_call_id,
        names.GEN_AI_TOOL_TYPE: names.TOOL_TYPE_FUNCTION,
        names.AGENT_EXECUTOR_ORGANIZATION_ID: attempt.security.organization_id,
    }
    if tool is not None:
        attributes[names.GEN_AI_TOOL_DESCRIPTION] = tool.description
    if call.run_id:
        attributes[names.GEN_AI_AGENT_ID] = call.agent_id
        attributes[names.AGENT_EXECUTOR_RUN_ID] = call.run_id
    if asked_by:
        attributes[names.AGENT_EXECUTOR_MODEL_CALL_ID] = asked_by
    return attributes

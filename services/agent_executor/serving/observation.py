"""How a call is seen from outside: its span, its metrics, and what its caller is told of errors."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Protocol, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.trace import (
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from agent_executor.errors import AgentExecutorError, DeadlineExceededError
from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.baggage import baggage_value
from agent_executor.serving.metric_names import RPC_DURATION, RPC_REQUESTS
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import current_security_context
from agent_executor.serving.telemetry import CallTrace, context_from_trace, parse_traceparent

ResultT = TypeVar("ResultT")

INTERNAL_ERROR_MESSAGE: Final = (
    "Something broke in the service. Its log has the cause, under the trace id of the call."
)
DEADLINE_MESSAGE: Final = "The deadline of the call has passed."

current_deadline: Final[ContextVar[float | None]] = ContextVar("deadline", default=None)
"""When the caller of the running call stops waiting, in the event loop's time; None if it never does."""

# The codes that are the service's fault; the others are the caller's and leave its span unset.
_SERVER_FAULTS: Final = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE"})

_LOGGER = logging.getLogger(__name__)


class BatchedCall(Protocol):
    """What is observed of a call in a batch; see ``CallPipeline.run``."""

    @property
    def method(self) -> str:
        """The full name of its RPC."""
        ...

    @property
    def deadline_seconds(self) -> float:
        """How long its caller still waited when the batch began."""
        ...

    @property
    def trace(self) -> CallTrace:
        """The trace that its caller is in."""
        ...


class ObservedCall:
    """Surrounds one call with its span, its metrics and the mapping of its errors."""

    __slots__ = (
        "_attached",
        "_deadline",
        "_method",
        "_metrics",
        "_span",
        "_started",
        "_trace",
        "_tracer",
    )

    def __init__(
        self,
        method: str,
        metrics: Metrics,
        tracer: Tracer | None,
        trace: CallTrace,
        deadline_seconds: float | None,
    ) -> None:
        self._method = method
        self._metrics = metrics
        self._tracer = tracer
        self._trace = trace
        self._started = time.perf_counter()
        self._deadline = None if deadline_seconds is None else _loop_time() + deadline_seconds
        self._span: Span | None = None
        self._attached: Token[otel_context.Context] | None = None

    def __enter__(self) -> None:
        current_deadline.set(self._deadline)
        if self._tracer is None and not self._trace.traceparent:
            return
        context = context_from_trace(self._trace)
        if self._tracer is not None:
            self._span = self._tracer.start_span(
                self._method.removeprefix("/"),
                context=context,
                kind=SpanKind.SERVER,
                attributes=_rpc_attributes(self._method),
            )
            context = set_span_in_context(self._span, context)
        self._attached = otel_context.attach(context)

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        mapped = None if error is None else mapped_error(self._method, error)
        self._end(mapped)
        if mapped is not error and mapped is not None:
            raise mapped from None

    def _end(self, error: BaseException | None) -> None:
        code = _code(error, self._deadline)
        seconds = time.perf_counter() - self._started
        span_context: SpanContext | None = None
        if self._attached is not None:
            span_context = get_current_span().get_span_context()
            if self._span is not None:
                _end_span(self._span, code, error)
            otel_context.detach(self._attached)
        _count(self._metrics, self._method, code, seconds, span_context)


class ObservedBatch:
    """Counts the calls of a batch, which begin and end together, and maps their errors.

    Args:
        metrics: Where they are counted.
        tracer: Makes the spans of those whose trace is recorded; None: there are none.
    """

    __slots__ = ("_metrics", "_started", "_started_in_loop", "_started_unix_nanos", "_tracer")

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._metrics = metrics
        self._tracer = tracer
        self._started_unix_nanos = time.time_ns() if tracer is not None else 0
        self._started = time.perf_counter()
        self._started_in_loop = _loop_time()

    def end(
        self, calls: Sequence[BatchedCall], outcomes: Sequence[ResultT | BaseException]
    ) -> list[ResultT | BaseException]:
        """Counts the calls, whose outcomes are in their order, and returns what callers are told."""
        now, told = _loop_time(), list(outcomes)
        counts: Counter[tuple[str, str]] = Counter()
        traceparents: dict[str, str] = {}
        for place, (call, outcome) in enumerate(zip(calls, outcomes, strict=True)):
            deadline, code = self._started_in_loop + call.deadline_seconds, "OK"
            if isinstance(outcome, BaseException):
                told[place] = error = mapped_error(call.method, outcome)
                code = _code(error, deadline)
            elif now >= deadline:
                told[place] = late = DeadlineExceededError(DEADLINE_MESSAGE)
                code = late.code
            counts[call.method, code] += 1
            if call.trace.traceparent:
                traceparents[call.method] = call.trace.traceparent
                if self._tracer is not None:
                    self._trace(self._tracer, call, code, told[place])
        self._count(counts, traceparents)
        return told

    def _trace(self, tracer: Tracer, call: BatchedCall, code: str, told: object) -> None:
        """Makes the span of a call, unless its trace is not recorded: a batch begins no trace."""
        context = context_from_trace(call.trace)
        if not get_current_span(context).get_span_context().trace_flags & TraceFlags.SAMPLED:
            return
        attributes = _rpc_attributes(call.method)
        for name in (names.AGENT_EXECUTOR_RUN_ID, names.AGENT_EXECUTOR_ORGANIZATION_ID):
            if value := baggage_value(name, context):
                attributes[name] = value
        span = tracer.start_span(
            call.method.removeprefix("/"),
            context=context,
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=self._started_unix_nanos,
        )
        _end_span(span, code, told if isinstance(told, BaseException) else None)

    def _count(self, counts: Counter[tuple[str, str]], traceparents: dict[str, str]) -> None:
        """Counts so many calls of each method and code, with one trace of a method as an example."""
        seconds = time.perf_counter() - self._started
        for (method, code), count in counts.items():
            traceparent = traceparents.get(method)
            self._metrics.increment(RPC_REQUESTS, method, code, by=count)
            self._metrics.observe(
                RPC_DURATION,
                seconds,
                method,
                span_context=parse_traceparent(traceparent) if traceparent else None,
                count=count,
            )
            if _LOGGER.isEnabledFor(logging.DEBUG):
                _LOGGER.debug("%d x %s ended with %s after %.6f s", count, method, code, seconds)


def mapped_error(method: str, error: BaseException) -> BaseException:
    """Returns what a caller is told of an error: of an unexpected one no more than that."""
    if isinstance(error, Exception) and not isinstance(error, AgentExecutorError):
        _LOGGER.error("unexpected error in %s", method, exc_info=error)
        return AgentExecutorError(INTERNAL_ERROR_MESSAGE)
    return error


def _rpc_attributes(method: str) -> dict[str, str]:
    return {
        names.RPC_SYSTEM_NAME: names.RPC_SYSTEM_GRPC,
        names.RPC_METHOD: method.removeprefix("/"),
    }


def _code(error: BaseException | None, deadline: float | None) -> str:
    if error is None:
        return "OK"
    if isinstance(error, AgentExecutorError):
        return error.code
    # gRPC cancels a call whose deadline has passed, often a moment before our own timer.
    if deadline is not None and _loop_time() >= deadline:
        return "DEADLINE_EXCEEDED"
    return "CANCELLED"


def _count(
    metrics: Metrics, method: str, code: str, seconds: float, span_context: SpanContext | None
) -> None:
    metrics.increment(RPC_REQUESTS, method, code)
    metrics.observe(RPC_DURATION, seconds, method, span_context=span_context)
    if _LOGGER.isEnabledFor(logging.DEBUG):
        _LOGGER.debug("%s ended with %s after %.6f s", method, code, seconds)


def _end_span(span: Span, code: str, error: BaseException | None) -> None:
    if span.is_recording():
        span.set_attribute(names.RPC_RESPONSE_STATUS_CODE, code)
        security = current_security_context.get(None)
        if security is not None:
            span.set_attribute(names.AGENT_EXECUTOR_ORGANIZATION_ID, security.organization_id)
        if error is not None:
            span.set_attribute(names.ERROR_TYPE, getattr(error, "reason", code))
        if code in _SERVER_FAULTS:
            span.set_status(Status(StatusCode.ERROR))
    span.end()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()

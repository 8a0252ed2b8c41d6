"""What every call passes, whether it came as a unary RPC or as a frame of a multiplexed stream.

In this order: telemetry, metrics, error mapping, authentication, deadline, validation. Metrics come
before authentication, so that refusals count too. What leaves a pipeline is a response, an
``AgentExecutorError`` or a cancellation, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, NamedTuple, TypeVar

from google.protobuf.message import Message
from opentelemetry import context as otel_context
from opentelemetry.trace import (
    NoOpTracer,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.errors import AgentExecutorError, DeadlineExceededError
from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.grants import GrantVerifier, ServiceKey, check_binding, current_grant
from agent_executor.serving.metrics import RPC_DURATION, RPC_REQUESTS, Metrics
from agent_executor.serving.security import current_security_context
from agent_executor.serving.telemetry import context_from_traceparent
from agent_executor.serving.validation import RequestValidator

RequestT = TypeVar("RequestT", bound=Message)
ResultT = TypeVar("ResultT")

INTERNAL_ERROR_MESSAGE: Final = (
    "Something broke in the service. Its log has the cause, under the trace id of the call."
)
DEADLINE_MESSAGE: Final = "The deadline of the call has passed."

# The codes that are the service's fault; the others are the caller's and leave its span unset.
_SERVER_FAULTS: Final = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE"})

_LOGGER = logging.getLogger(__name__)

_deadline: Final[ContextVar[float | None]] = ContextVar("deadline", default=None)


class Credentials(NamedTuple):
    """What a caller shows: a token, or a service of this platform a grant. A grant goes first."""

    authorization: str = ""
    grant: grant_pb2.SignedGrant | None = None


def remaining_seconds() -> float | None:
    """Returns how long the caller of the running call still waits; None if it set no deadline.

    gRPC does not pass a deadline on, so whoever calls a peer passes this.
    """
    deadline = _deadline.get()
    return None if deadline is None else deadline - asyncio.get_running_loop().time()


class CallPipeline:
    """Admits, bounds, observes and maps the calls of one service.

    Args:
        service_name: Which grants are for this service.
        token_verifier: Verifies bearer tokens.
        service_key: Verifies grants; None for a service that accepts none.
        metrics: Where calls are counted.
        tracer: Makes the span of a call that asks for one.
        validator: Checks requests. Default: by the rules of their contract.
        clock: Seconds since 1970-01-01 UTC, for the expiry of grants.
    """

    def __init__(
        self,
        *,
        service_name: str,
        token_verifier: TokenVerifier,
        service_key: ServiceKey | None,
        metrics: Metrics,
        tracer: Tracer,
        validator: RequestValidator | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = token_verifier
        self._grants = GrantVerifier(service_key, service_name, clock)
        self._metrics = metrics
        self._tracer = None if isinstance(tracer, NoOpTracer) else tracer
        self._validator = validator or RequestValidator()

    async def run(
        self,
        method: str,
        request: RequestT,
        credentials: Credentials,
        deadline_seconds: float | None,
        traceparent: str,
        handler: Callable[[RequestT], Awaitable[ResultT]],
        *,
        span: bool,
    ) -> ResultT:
        """Admits one call and runs its handler. To be awaited in a task of the call's own.

        While the handler runs, ``current_security_context``, ``current_grant``,
        ``remaining_seconds`` and OpenTelemetry's current span are the call's.

        Args:
            method: The full name of the RPC, as ``/package.Service/Method``.
            request: What is asked.
            credentials: Who asks.
            deadline_seconds: How long the caller still waits; None for no end.
            traceparent: The W3C trace context of the caller, or the empty string.
            handler: Serves the request.
            span: Whether the call gets a span of its own; its trace is joined either way.

        Raises:
            AgentExecutorError: The call is refused or has failed.
        """
        with _ObservedCall(
            method, self._metrics, self._tracer if span else None, traceparent, deadline_seconds
        ):
            if deadline_seconds is None:
                return await self._serve(request, credentials, handler)
            if deadline_seconds <= 0:
                raise DeadlineExceededError(DEADLINE_MESSAGE)
            timeout = asyncio.timeout(deadline_seconds)
            try:
                async with timeout:
                    return await self._serve(request, credentials, handler)
            except TimeoutError:
                if timeout.expired():
                    raise DeadlineExceededError(DEADLINE_MESSAGE) from None
                raise

    async def observe(self, method: str, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Counts and maps the errors of work that authenticates in another way, or cannot.

        Raises:
            AgentExecutorError: The work has failed.
        """
        with _ObservedCall(method, self._metrics, None, "", None):
            return await work()

    async def _serve(
        self,
        request: RequestT,
        credentials: Credentials,
        handler: Callable[[RequestT], Awaitable[ResultT]],
    ) -> ResultT:
        if credentials.grant is None:
            security = await self._tokens.verify(credentials.authorization)
            current_grant.set(None)
        else:
            grant, security = self._grants.verify(credentials.grant)
            check_binding(grant, request)
            current_grant.set(grant)
        current_security_context.set(security)
        self._validator.check(request)
        return await handler(request)


class _ObservedCall:
    """Surrounds one call with its span, its metrics and the mapping of its errors."""

    __slots__ = (
        "_attached",
        "_deadline",
        "_method",
        "_metrics",
        "_span",
        "_started",
        "_traceparent",
        "_tracer",
    )

    def __init__(
        self,
        method: str,
        metrics: Metrics,
        tracer: Tracer | None,
        traceparent: str,
        deadline_seconds: float | None,
    ) -> None:
        self._method = method
        self._metrics = metrics
        self._tracer = tracer
        self._traceparent = traceparent
        self._started = time.perf_counter()
        self._deadline = None if deadline_seconds is None else _loop_time() + deadline_seconds
        self._span: Span | None = None
        self._attached: Token[otel_context.Context] | None = None

    def __enter__(self) -> None:
        _deadline.set(self._deadline)
        if self._tracer is None and not self._traceparent:
            return
        context = context_from_traceparent(self._traceparent)
        if self._tracer is not None:
            self._span = self._tracer.start_span(
                self._method.removeprefix("/"),
                context=context,
                kind=SpanKind.SERVER,
                attributes={
                    names.RPC_SYSTEM_NAME: names.RPC_SYSTEM_GRPC,
                    names.RPC_METHOD: self._method.removeprefix("/"),
                },
            )
            context = set_span_in_context(self._span, context)
        self._attached = otel_context.attach(context)

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        mapped = error
        if isinstance(error, Exception) and not isinstance(error, AgentExecutorError):
            _LOGGER.error("unexpected error in %s", self._method, exc_info=error)
            mapped = AgentExecutorError(INTERNAL_ERROR_MESSAGE)
        self._end(mapped)
        if mapped is not error and mapped is not None:
            raise mapped from None

    def _end(self, error: BaseException | None) -> None:
        code = self._code(error)
        seconds = time.perf_counter() - self._started
        span_context: SpanContext | None = None
        if self._attached is not None:
            span_context = get_current_span().get_span_context()
            if self._span is not None:
                _end_span(self._span, code, error)
            otel_context.detach(self._attached)
        self._metrics.increment(RPC_REQUESTS, self._method, code)
        self._metrics.observe(RPC_DURATION, seconds, self._method, span_context=span_context)
        if _LOGGER.isEnabledFor(logging.DEBUG):
            _LOGGER.debug("%s ended with %s after %.6f s", self._method, code, seconds)

    def _code(self, error: BaseException | None) -> str:
        if error is None:
            return "OK"
        if isinstance(error, AgentExecutorError):
            return error.code
        # gRPC cancels a call whose deadline has passed, often a moment before our own timer.
        if self._deadline is not None and _loop_time() >= self._deadline:
            return "DEADLINE_EXCEEDED"
        return "CANCELLED"


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

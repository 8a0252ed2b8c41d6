"""The span of a request to the web process, which what the services do for it is part of."""

from __future__ import annotations

from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer
from starlette.types import Scope

from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.telemetry import context_from_traceparent, traceparent_of

_TRACEPARENT = b"traceparent"
_SERVER_ERROR = 500


class RequestSpans:
    """Begins the spans of requests.

    Args:
        tracer: Makes them; without one that records, requests pass as they are.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = None if isinstance(tracer, NoOpTracer) else tracer

    def begin(self, scope: Scope, room: str) -> Span | None:
        """Begins the span of a request, and makes that the trace context of the request.

        Rooms pass the request's own headers on to the services, also from tasks that know nothing
        of it, so that the context is exchanged there and nowhere else. A WebSocket has no span: it
        may last for days.
        """
        if self._tracer is None or scope["type"] != "http":
            return None
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        came = next((value for name, value in headers if name == _TRACEPARENT), b"")
        # The path may name things of the caller; the room does not.
        span = self._tracer.start_span(
            f"{scope['method']} /{room}",
            context=context_from_traceparent(came.decode("latin-1")),
            kind=SpanKind.SERVER,
            attributes={names.HTTP_REQUEST_METHOD: scope["method"], names.HTTP_ROUTE: f"/{room}"},
        )
        others = [header for header in headers if header[0] != _TRACEPARENT]
        scope["headers"] = [*others, (_TRACEPARENT, traceparent_of(span).encode())]
        return span


def end_request_span(span: Span, status: str) -> None:
    """Ends the span of a request that was answered with a status."""
    if span.is_recording():
        span.set_attribute(names.HTTP_RESPONSE_STATUS_CODE, int(status))
        if int(status) >= _SERVER_ERROR:
            span.set_attribute(names.ERROR_TYPE, status)
            span.set_status(Status(StatusCode.ERROR))
    span.end()

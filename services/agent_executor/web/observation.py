"""What the web process counts of its requests, and the spans of them."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from opentelemetry.trace import Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_executor.serving.metric_names import WEB_REQUEST_DURATION, WEB_REQUESTS
from agent_executor.serving.metrics import Metrics
from agent_executor.web.request_span import RequestSpans, end_request_span

_ELSEWHERE: Final = "other"
_BROKEN_OFF: Final = "499"
_UPGRADED: Final = "101"


class Observation:
    """Counts requests and how long they took until their last byte, and makes their spans.

    Args:
        application: What is observed.
        metrics: Where it counts.
        tracer: Makes the spans.
        rooms: The first segments of the paths that are served; others are counted together, so
            that nobody can make as many counters as there are paths.
    """

    def __init__(
        self, application: ASGIApp, metrics: Metrics, tracer: Tracer, rooms: Collection[str]
    ) -> None:
        self._application = application
        self._metrics = metrics
        self._spans = RequestSpans(tracer)
        self._rooms = frozenset(rooms)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        status = _BROKEN_OFF

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                status = str(message["status"])
            elif message["type"] == "websocket.accept":
                status = _UPGRADED
            await send(message)

        first = scope["path"].split("/", 2)[1] if scope["path"].startswith("/") else ""
        room = first if first in self._rooms else _ELSEWHERE
        span = self._spans.begin(scope, room)
        started = time.perf_counter()
        try:
            await self._application(scope, receive, watched_send)
        finally:
            if span is not None:
                end_request_span(span, status)
            self._metrics.increment(WEB_REQUESTS, room, status)
            self._metrics.observe(
                WEB_REQUEST_DURATION,
                time.perf_counter() - started,
                room,
                span_context=None if span is None else span.get_span_context(),
            )

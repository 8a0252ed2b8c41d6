"""An OTLP/gRPC receiver in this process, for the demo and for tests: keeps the spans it gets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

AttributeValue = str | bool | int | float | tuple["AttributeValue", ...] | None
MESSAGE_MAX_BYTES = 64 * 1024 * 1024
_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """A finished span, as its service exported it.

    Attributes:
        service: The `service.name` of the process it was made in.
        name: What was done.
        kind: "SERVER", "CLIENT", "INTERNAL", "PRODUCER", "CONSUMER" or "UNSPECIFIED".
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        parent_span_id: 16 hexadecimal digits; empty for a root.
        start_unix_nanos: When it began.
        end_unix_nanos: When it ended.
        is_error: Whether its status is an error.
        attributes: What it says of itself; a map is None.
        links: The trace id and the span id of each span that it links to.
        resource: What its process says of itself.
    """

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_span_id: str
    start_unix_nanos: int
    end_unix_nanos: int
    is_error: bool
    attributes: Mapping[str, AttributeValue]
    links: tuple[tuple[str, str], ...] = ()
    resource: Mapping[str, AttributeValue] = field(default_factory=dict)


class OtlpReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Receives spans on a free port of 127.0.0.1 while it is entered as a context."""

    def __init__(self) -> None:
        self._received: list[ReceivedSpan] = []
        self._changed = threading.Condition()
        limit = ("grpc.max_receive_message_length", MESSAGE_MAX_BYTES)
        self._server = grpc.server(ThreadPoolExecutor(_THREADS), options=(limit,))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated without types
            self, self._server
        )
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def endpoint(self) -> str:
        """The value for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(grace=None).wait()

    def spans(self, trace_id: str | None = None) -> list[ReceivedSpan]:
        """Returns what has come so far, of one trace or of all, by start time."""
        with self._changed:
            chosen = [span for span in self._received if trace_id in {None, span.trace_id}]
        return sorted(chosen, key=lambda span: span.start_unix_nanos)

    def wait_for(
        self, condition: Callable[[list[ReceivedSpan]], bool], *, timeout_seconds: float
    ) -> bool:
        """Waits until the spans meet a condition.

        Args:
            condition: Is given all spans received so far, in the order of arrival.
            timeout_seconds: How long to wait at most.

        Returns:
            Whether they met it in time.
        """
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._received), timeout_seconds)

    def Export(  # noqa: N802 -- the OTLP contract's name
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: grpc.ServicerContext,
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Takes a batch of spans."""
        del context
        spans = list(_spans_of(request))
        with self._changed:
            self._received.extend(spans)
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()


def _spans_of(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _received_span(resource, span)


def _received_span(resource: Mapping[str, AttributeValue], span: trace_pb2.Span) -> ReceivedSpan:
    return ReceivedSpan(
        service=str(resource.get("service.name", "")),
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        start_unix_nanos=span.start_time_unix_nano,
        end_unix_nanos=span.end_time_unix_nano,
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        resource=resource,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> AttributeValue:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "array_value":
            return tuple(_value(each) for each in value.array_value.values)
        case _:
            return None

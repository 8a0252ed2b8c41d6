"""Traces: where spans go, and the W3C trace context by which they join across services.

Without an OTLP endpoint nothing records and nothing is loaded that could; trace contexts of
callers are still passed on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.context import Context, create_key, get_current, get_value, set_value
from opentelemetry.trace import (
    INVALID_SPAN_ID,
    INVALID_TRACE_ID,
    NonRecordingSpan,
    NoOpTracer,
    Span,
    SpanContext,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from agent_executor.serving import semantic_conventions as names
from agent_executor.serving.baggage import format_baggage, parse_baggage, with_baggage
from agent_executor.serving.span_ids import id_generator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    # Only here, since the library uses this module and reads no settings.
    from agent_executor.serving.settings import ProcessSettings

DISTRIBUTION: Final = "agent-executor"
INSTRUMENTATION: Final = "agent_executor"

_EXPORT_BATCH_SPANS: Final = 512
_EXPORT_TIMEOUT_MS: Final = 5_000

# Version, trace id, span id, flags. A version after 00 may append more, which is ignored; ff is
# no version.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_CALL_TRACE: Final = create_key("call-trace")
_FLAGS: Final = {sampled: TraceFlags(sampled) for sampled in (0, 1)}


class CallTrace(NamedTuple):
    """What a call carries of the trace that it belongs to.

    Attributes:
        traceparent: The W3C trace context of the calling span; empty outside of a trace.
        baggage: The W3C baggage of its run; empty unless the trace is recorded.
    """

    traceparent: str = ""
    baggage: str = ""


NO_TRACE: Final = CallTrace()


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The tracing of one process.

    Attributes:
        tracer: Makes spans; it records nothing if no endpoint is set.
        shutdown: Sends what still waits, for 5 s at most, and ends. It blocks.
    """

    tracer: Tracer
    shutdown: Callable[[], None]


def configure_telemetry(
    service_name: str, settings: ProcessSettings, exporter: SpanExporter | None = None
) -> Telemetry:
    """Sets tracing up for one service, without touching OpenTelemetry's global provider.

    Args:
        service_name: The ``service.name`` of the spans.
        settings: Where spans go and how many are recorded.
        exporter: Takes the spans in place of the endpoint of the settings.
    """
    if exporter is None and not settings.otel_exporter_otlp_endpoint:
        return Telemetry(tracer=NoOpTracer(), shutdown=lambda: None)
    # The SDK takes a tenth of a second to load.
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource = {
        names.SERVICE_NAME: service_name,
        names.SERVICE_VERSION: platform_version(),
    }
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.trace_sample_ratio)),
        resource=Resource.create(resource),
        id_generator=id_generator(),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter or _otlp_exporter(settings.otel_exporter_otlp_endpoint),
            max_queue_size=settings.span_queue_size,
            schedule_delay_millis=settings.span_export_delay_ms,
            max_export_batch_size=min(_EXPORT_BATCH_SPANS, settings.span_queue_size),
            export_timeout_millis=_EXPORT_TIMEOUT_MS,
        )
    )
    return Telemetry(tracer=provider.get_tracer(INSTRUMENTATION), shutdown=provider.shutdown)


def parse_traceparent(traceparent: str) -> SpanContext | None:
    """Returns the span context that a W3C ``traceparent`` names, or None if it names none."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    if match[5] and match[1] == "00":
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    if trace_id == INVALID_TRACE_ID or span_id == INVALID_SPAN_ID:
        return None
    sampled = int(match[4], 16) & TraceFlags.SAMPLED
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=_FLAGS[sampled])


def format_traceparent(span_context: SpanContext) -> str:
    """Returns the W3C ``traceparent`` of a span context; empty if that is not valid."""
    if not span_context.is_valid:
        return ""
    sampled = span_context.trace_flags & TraceFlags.SAMPLED
    return f"00-{span_context.trace_id:032x}-{span_context.span_id:016x}-{sampled:02x}"


def context_from_traceparent(traceparent: str) -> Context:
    """Returns a context whose spans join the caller's trace; a malformed one begins a new trace."""
    span_context = parse_traceparent(traceparent) if traceparent else None
    if span_context is None:
        return Context()
    return set_span_in_context(NonRecordingSpan(span_context), Context())


def context_from_trace(trace: CallTrace) -> Context:
    """Returns a context whose spans join the caller's trace and know its run."""
    context = context_from_traceparent(trace.traceparent)
    if not trace.baggage or not context:
        return context
    return with_baggage(parse_baggage(trace.baggage), context)


def traceparent_of(span: Span) -> str:
    """Returns the ``traceparent`` by which calls join the span's trace; empty outside a trace."""
    return format_traceparent(span.get_span_context())


def current_traceparent() -> str:
    """Returns the ``traceparent`` of the span that the running task works under."""
    return traceparent_of(get_current_span())


def with_call_trace(context: Context) -> Context:
    """Returns a context that knows what its calls carry, so that many need not find it out.

    No span may be begun in it but by those that are called.
    """
    return set_value(_CALL_TRACE, trace_of(context), context)


def current_trace() -> CallTrace:
    """Returns what the calls to other services carry of the trace that the running task works in."""
    known = get_value(_CALL_TRACE)
    return known if isinstance(known, CallTrace) else trace_of(get_current())


def trace_of(context: Context) -> CallTrace:
    """Returns what the calls that are made in a context carry of its trace."""
    span_context = get_current_span(context).get_span_context()
    if not span_context.is_valid:
        return NO_TRACE
    is_recorded = span_context.trace_flags & TraceFlags.SAMPLED
    return CallTrace(
        format_traceparent(span_context), format_baggage(context) if is_recorded else ""
    )


def platform_version() -> str:
    """Returns the version of the platform that runs; "source" if it is not installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "source"


def _otlp_exporter(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(
        endpoint=endpoint,
        insecure=not endpoint.startswith("https://"),
        timeout=_EXPORT_TIMEOUT_MS / 1000,
    )

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from agent_executor.cli.otlp_receiver import OtlpReceiver


def test_exported_spans_are_received() -> None:
    with OtlpReceiver() as receiver:
        provider = TracerProvider(resource=Resource({"service.name": "ledger"}))
        exporter = OTLPSpanExporter(endpoint=receiver.endpoint, insecure=True)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        attributes: dict[str, Any] = {
            "text": "a",
            "number": 3,
            "ratio": 0.5,
            "flag": True,
            "list": ["a"],
        }
        with tracer.start_as_current_span("parent", kind=SpanKind.SERVER, attributes=attributes):  # noqa: SIM117 -- the inner one is the child
            with tracer.start_as_current_span("child") as child:
                child.set_status(StatusCode.ERROR)
        assert receiver.wait_for(lambda spans: len(spans) == 2, timeout_seconds=60)
        provider.shutdown()
        parent, child_span = receiver.spans()
        assert receiver.spans(parent.trace_id) == [parent, child_span]
        assert receiver.spans("other") == []

    assert (parent.service, parent.name, parent.kind) == ("ledger", "parent", "SERVER")
    assert parent.parent_span_id == ""
    assert child_span.parent_span_id == parent.span_id
    assert child_span.is_error
    assert not parent.is_error
    assert parent.start_unix_nanos <= child_span.start_unix_nanos
    assert parent.attributes == {
        "text": "a",
        "number": 3,
        "ratio": 0.5,
        "flag": True,
        "list": ("a",),
    }


def test_waiting_ends_in_time() -> None:
    with OtlpReceiver() as receiver:
        assert not receiver.wait_for(bool, timeout_seconds=0.01)

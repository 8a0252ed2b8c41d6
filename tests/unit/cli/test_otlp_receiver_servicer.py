"""The receiver's servicer on grpcio-testing's server, which is honest for synchronous servicers."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import grpc_testing
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from agent_executor.cli.otlp_receiver import OtlpReceiver

SERVICE = trace_service_pb2.DESCRIPTOR.services_by_name["TraceService"]


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def test_a_batch_is_kept_before_it_is_answered(receiver: OtlpReceiver) -> None:
    server = grpc_testing.server_from_dictionary(
        {SERVICE: receiver}, grpc_testing.strict_real_time()
    )
    request = trace_service_pb2.ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    scope.spans.add(name="invoke_agent Ada", kind=trace_pb2.Span.SPAN_KIND_INTERNAL)
    scope.spans.add(name="chat claude", kind=trace_pb2.Span.SPAN_KIND_CLIENT)

    rpc = server.invoke_unary_unary(SERVICE.methods_by_name["Export"], (), request, None)
    response, _, code, _ = rpc.termination()

    assert code is grpc.StatusCode.OK
    assert response == trace_service_pb2.ExportTraceServiceResponse()
    assert {(span.name, span.kind) for span in receiver.spans()} == {
        ("invoke_agent Ada", "INTERNAL"),
        ("chat claude", "CLIENT"),
    }

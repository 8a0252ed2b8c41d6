"""Spans leave the process over OTLP, and the last of them when the service stops."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from agent_executor.serving.server import started
from agent_executor.serving.settings import ServiceSettings
from tests.integration.serving.sample_service import NAME, SERVICE, asking, bootstrap
from tests.unit.serving.tokens import Issuer
from tests.unit.serving.trace_context import SPAN_ID, TRACE_ID, TRACEPARENT


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what is sent to it."""

    def __init__(self) -> None:
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []

    async def Export(  # noqa: N802 -- the RPC's name
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keeps the spans."""
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


async def call(port: int, issuer: Issuer, models: Sequence[str]) -> None:
    metadata = (("authorization", issuer.bearer()), ("traceparent", TRACEPARENT))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for model in models:
            unary: Any = channel.unary_unary(f"/{SERVICE}/Unary")
            try:
                await unary(asking(model).SerializeToString(), metadata=metadata, timeout=60)
            except grpc.aio.AioRpcError:
                assert model != "x"


async def test_spans_reach_the_collector_when_the_service_stops(
    settings: ServiceSettings, issuer: Issuer
) -> None:
    collector = Collector()
    server = grpc.aio.server()
    register: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    traced = settings.model_copy(
        update={
            "otel_exporter_otlp_endpoint": f"http://127.0.0.1:{port}",
            "span_export_delay_ms": 60_000,
        }
    )
    async with started(NAME, traced, bootstrap) as running:
        await call(running.grpc_port, issuer, ["x", "limit"])
        assert collector.requests == []
    await server.stop(None)
    (resource_spans,) = (each for request in collector.requests for each in request.resource_spans)
    attributes = {each.key: each.value.string_value for each in resource_spans.resource.attributes}
    assert attributes["service.name"] == NAME
    spans = [span for scope in resource_spans.scope_spans for span in scope.spans]
    assert [span.name for span in spans] == [f"{SERVICE}/Unary"] * 2
    for span in spans:
        assert span.trace_id.hex() == TRACE_ID
        assert span.parent_span_id.hex() == SPAN_ID
    codes = [
        each.value.string_value
        for span in spans
        for each in span.attributes
        if each.key == "rpc.response.status_code"
    ]
    assert codes == ["OK", "RESOURCE_EXHAUSTED"]


@pytest.mark.parametrize("models", [[], ["x"]])
async def test_a_collector_that_is_away_does_not_keep_the_service_from_stopping(
    settings: ServiceSettings, issuer: Issuer, models: list[str]
) -> None:
    traced = settings.model_copy(update={"otel_exporter_otlp_endpoint": "http://127.0.0.1:9"})
    async with started(NAME, traced, bootstrap) as running:
        await call(running.grpc_port, issuer, models)
        stopping_at = time.monotonic()
    assert time.monotonic() - stopping_at < 8

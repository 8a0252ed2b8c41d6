from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext

from agent_executor.serving.span_ids import id_generator, link_to, span_id_of, span_named


def test_the_span_of_a_name_has_its_id_in_every_process() -> None:
    tracer = TracerProvider(id_generator=id_generator(), shutdown_on_exit=False).get_tracer("test")
    with span_named("run-1_1_m1"):
        named = tracer.start_span("chat", context=Context()).get_span_context()
    others = [tracer.start_span("chat", context=Context()).get_span_context() for _ in range(2)]
    # Another process may have found it out long ago.
    assert named.span_id == span_id_of("run-1_1_m1") == 0x11693E39DD27D32D
    assert len({named.span_id, *(other.span_id for other in others)}) == 3
    assert len({named.trace_id, *(other.trace_id for other in others)}) == 3


def test_a_link_is_to_the_span_of_a_name_in_the_trace_of_another() -> None:
    link = link_to("run-1_1_m1", SpanContext(7, 8, is_remote=True))
    assert (link.context.trace_id, link.context.span_id) == (7, span_id_of("run-1_1_m1"))

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, get_current_span, use_span

from agent_executor.serving.settings import ServiceSettings
from agent_executor.serving.telemetry import (
    configure_telemetry,
    context_from_traceparent,
    current_traceparent,
    format_traceparent,
    parse_traceparent,
    traceparent_of,
)
from tests.unit.serving.trace_context import SPAN_ID, TRACE_ID, TRACEPARENT


def settings(**values: object) -> ServiceSettings:
    return ServiceSettings.model_validate(values)


class TestTraceparent:
    def test_it_names_trace_span_and_decision(self) -> None:
        span_context = parse_traceparent(TRACEPARENT)
        assert span_context is not None
        assert f"{span_context.trace_id:032x}" == TRACE_ID
        assert f"{span_context.span_id:016x}" == SPAN_ID
        assert span_context.trace_flags.sampled
        assert span_context.is_remote
        assert format_traceparent(span_context) == TRACEPARENT

    @pytest.mark.parametrize(
        ("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)]
    )
    def test_only_the_sampled_flag_counts(self, flags: str, *, is_sampled: bool) -> None:
        span_context = parse_traceparent(f"00-{TRACE_ID}-{SPAN_ID}-{flags}")
        assert span_context is not None
        assert span_context.trace_flags.sampled is is_sampled

    def test_a_later_version_may_say_more(self) -> None:
        assert parse_traceparent(f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-holds")

    @pytest.mark.parametrize(
        "traceparent",
        [
            "",
            "00",
            TRACEPARENT.upper(),
            TRACEPARENT + "-more",
            TRACEPARENT + "\n",
            f"cc-{TRACE_ID}-{SPAN_ID}-01more",
            f"ff-{TRACE_ID}-{SPAN_ID}-01",
            f"00-{'0' * 32}-{SPAN_ID}-01",
            f"00-{TRACE_ID}-{'0' * 16}-01",
            f"00-{TRACE_ID[:-1]}-{SPAN_ID}-01",
            f"00-{TRACE_ID[:-2]}+1-{SPAN_ID}-01",
            f"00-{TRACE_ID}-{SPAN_ID}",
            TRACEPARENT.replace("4", "٤"),
        ],
    )
    def test_a_malformed_one_names_nothing(self, traceparent: str) -> None:
        assert parse_traceparent(traceparent) is None
        assert get_current_span(context_from_traceparent(traceparent)) is INVALID_SPAN

    def test_outside_a_trace_there_is_none(self) -> None:
        assert current_traceparent() == ""
        assert traceparent_of(INVALID_SPAN) == ""


class TestWithoutAnEndpoint:
    def test_nothing_records_and_the_callers_trace_is_passed_on(self) -> None:
        tracer = configure_telemetry("executor", settings()).tracer
        span = tracer.start_span("chat", context=context_from_traceparent(TRACEPARENT))
        assert not span.is_recording()
        assert traceparent_of(span) == TRACEPARENT
        with use_span(span):
            assert current_traceparent() == TRACEPARENT

    def test_the_sdk_is_not_loaded(self) -> None:
        program = (
            "import sys\n"
            "from agent_executor.serving.settings import ServiceSettings\n"
            "from agent_executor.serving.telemetry import configure_telemetry\n"
            "configure_telemetry('executor', ServiceSettings()).shutdown()\n"
            "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))\n"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class TestWithAnExporter:
    def test_spans_join_the_callers_trace_and_are_sent_at_the_end(self) -> None:
        exporter = InMemorySpanExporter()
        telemetry = configure_telemetry("executor", settings(), exporter)
        context = context_from_traceparent(TRACEPARENT)
        with telemetry.tracer.start_as_current_span("invoke_agent", context=context) as span:
            assert current_traceparent() == traceparent_of(span)
            assert current_traceparent().startswith(f"00-{TRACE_ID}-")
        telemetry.shutdown()
        (sent,) = exporter.get_finished_spans()
        assert sent.parent is not None
        assert f"{sent.parent.span_id:016x}" == SPAN_ID
        assert sent.resource.attributes["service.name"] == "executor"
        assert sent.resource.attributes["service.version"]

    def test_the_callers_decision_not_to_sample_is_followed(self) -> None:
        exporter = InMemorySpanExporter()
        telemetry = configure_telemetry("executor", settings(), exporter)
        unsampled = context_from_traceparent(f"00-{TRACE_ID}-{SPAN_ID}-00")
        telemetry.tracer.start_span("invoke_agent", context=unsampled).end()
        telemetry.shutdown()
        assert exporter.get_finished_spans() == ()

    def test_traces_that_begin_here_are_sampled_by_the_ratio(self) -> None:
        exporter = InMemorySpanExporter()
        telemetry = configure_telemetry("executor", settings(trace_sample_ratio=0), exporter)
        telemetry.tracer.start_span("invoke_agent").end()
        sampled = context_from_traceparent(TRACEPARENT)
        telemetry.tracer.start_span("execute_tool", context=sampled).end()
        telemetry.shutdown()
        assert [span.name for span in exporter.get_finished_spans()] == ["execute_tool"]


def test_a_collector_that_is_away_holds_nothing_up() -> None:
    endpoint = "http://127.0.0.1:9"
    telemetry = configure_telemetry("executor", settings(otel_exporter_otlp_endpoint=endpoint))
    started = time.monotonic()
    for _ in range(100):
        telemetry.tracer.start_span("chat").end()
    assert time.monotonic() - started < 5
    telemetry.shutdown()
    assert time.monotonic() - started < 20

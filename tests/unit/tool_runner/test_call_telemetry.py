from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from prometheus_client import CollectorRegistry

from agent_executor.errors import ToolCallConflictError
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.telemetry import context_from_traceparent
from tests.unit.tool_runner.tools_of_tests import ADA, FunctionTool, GateTool, Runner, call

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
PARENT = context_from_traceparent(f"00-{TRACE_ID}-{PARENT_ID}-01")


class Recorder:
    """Spans and metrics of a test."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")
        self.metrics = Metrics(CollectorRegistry())

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def calls(self, tool: str, code: str) -> float:
        labels = {"tool": tool, "code": code}
        name = "agent_executor_tool_calls_total"
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def timed_calls(self, tool: str) -> float:
        name = "agent_executor_tool_call_duration_seconds_count"
        return self.metrics.registry.get_sample_value(name, {"tool": tool}) or 0.0


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.provider.shutdown()


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_a_call_is_one_span_of_its_callers_trace(recorder: Recorder) -> None:
    runner = Runner(FunctionTool(), tracer=recorder.tracer, metrics=recorder.metrics)
    await runner.calls.execute(call(), ADA, parent=PARENT)
    (span,) = recorder.spans()
    assert (span.name, span.kind) == ("execute_tool function", SpanKind.INTERNAL)
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT_ID
    assert attributes(span) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "function",
        "gen_ai.tool.call.id": "call-1",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": FunctionTool().description,
        "gen_ai.agent.id": "agent-1",
        "agent_executor.organization.id": "acme",
        "agent_executor.run.id": "run-1",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert [record.trace_id for record in await runner.audit()] == [TRACE_ID]
    assert (recorder.calls("function", "OK"), recorder.timed_calls("function")) == (1, 1)


async def test_without_a_parent_the_span_that_is_current_is_taken(recorder: Recorder) -> None:
    runner = Runner(FunctionTool(), tracer=recorder.tracer)
    with recorder.tracer.start_as_current_span("caller") as caller:
        await runner.calls.execute(call(), ADA)
    span = recorder.spans()[0]
    assert span.parent is not None
    assert span.parent.span_id == caller.get_span_context().span_id


async def test_the_trace_is_in_the_audit_log_also_when_nothing_is_recorded() -> None:
    runner = Runner(FunctionTool())
    await runner.calls.execute(call(), ADA, parent=PARENT)
    assert [record.trace_id for record in await runner.audit()] == [TRACE_ID]


async def test_fifty_calls_at_once_are_fifty_spans_with_their_parents(recorder: Recorder) -> None:
    runner = Runner(FunctionTool(), tracer=recorder.tracer)
    parents = [recorder.tracer.start_span(f"parent-{number}") for number in range(50)]
    await asyncio.gather(
        *(
            runner.calls.execute(
                call(tool_call_id=str(number)), ADA, parent=set_span_in_context(parent)
            )
            for number, parent in enumerate(parents)
        )
    )
    found = {
        attributes(span)["gen_ai.tool.call.id"]: span.parent.span_id
        for span in recorder.spans()
        if span.parent is not None
    }
    assert len(recorder.spans()) == 50
    assert found == {
        str(number): parent.get_span_context().span_id for number, parent in enumerate(parents)
    }


async def test_a_refusal_is_a_span_with_its_reason(recorder: Recorder) -> None:
    runner = Runner(FunctionTool(), tracer=recorder.tracer, metrics=recorder.metrics)
    await runner.calls.execute(call(), SecurityContext("acme", "bob", frozenset()), parent=PARENT)
    await runner.calls.execute(call(arguments_json="{"), ADA, parent=PARENT)
    spans = recorder.spans()
    assert [attributes(span)["error.type"] for span in spans] == [
        "PERMISSION_DENIED",
        "INVALID_ARGUMENT",
    ]
    assert all(span.status.status_code is StatusCode.ERROR for span in spans)
    assert recorder.calls("function", "PERMISSION_DENIED") == 1
    assert recorder.timed_calls("function") == 0
    assert [record.trace_id for record in await runner.audit()] == [TRACE_ID] * 2


async def test_repeats_are_spans_that_execute_nothing(recorder: Recorder) -> None:
    tool = GateTool()
    runner = Runner(tool, tracer=recorder.tracer, metrics=recorder.metrics)
    first = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    joined = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await asyncio.sleep(0)
    tool.gate.set()
    await asyncio.gather(first, joined)
    await runner.calls.execute(call("gate"), ADA)
    with pytest.raises(ToolCallConflictError):
        await runner.calls.execute(call("gate", '{"x":1}'), ADA)
    names = sorted(span.name for span in recorder.spans())
    assert names == ["execute_tool gate", *["replay_tool_call gate"] * 3]
    operations = [attributes(span)["gen_ai.operation.name"] for span in recorder.spans()]
    assert operations.count("execute_tool") == 1
    assert (recorder.calls("gate", "OK"), recorder.timed_calls("gate")) == (1, 1)


async def test_names_of_no_tool_are_one_label(recorder: Recorder) -> None:
    runner = Runner(metrics=recorder.metrics)
    for name in ("one", "two"):
        await runner.calls.execute(call(name, tool_call_id=name), ADA)
    assert recorder.calls("unknown", "TOOL_NOT_FOUND") == 2


async def test_a_call_that_is_stopped_is_told_of(recorder: Recorder) -> None:
    tool = GateTool()
    runner = Runner(tool, tracer=recorder.tracer, metrics=recorder.metrics)
    task = asyncio.create_task(runner.calls.execute(call("gate"), ADA))
    await tool.reached.wait()
    await runner.calls.close()
    await asyncio.gather(task, return_exceptions=True)
    (span,) = recorder.spans()
    assert attributes(span)["error.type"] == "RUN_CANCELLED"
    assert recorder.calls("gate", "RUN_CANCELLED") == 1

"""The trace of a run, as the receiver of OTLP in a test has got it."""

from __future__ import annotations

import urllib.request

from agent_executor.cli.otlp_receiver import OtlpReceiver, ReceivedSpan
from agent_executor.cli.ports import TOOL_RUNNER_OFFSET
from tests.e2e.agents_and_runs import pages
from tests.platforms import Client, RunningPlatform

# Envoy sends its spans every five seconds.
SPANS_TIMEOUT_SECONDS = 60
ROOT = "gateway /agent_executor.api.executor.v1.RunService/"
SERVER = "agent_executor.api.executor.v1.RunService/"
LEDGER = "agent_executor.api.ledger.v1.UsageService/"
MODEL = "claude-sonnet-4-20250514"


def trace_of(
    receiver: OtlpReceiver, run_id: str, *, models: int, tools: int, is_continued: bool = False
) -> Trace:
    """Waits until the trace of a run is complete, and returns it.

    Args:
        receiver: Where the spans come.
        run_id: The run.
        models: How many model calls it must have.
        tools: How many tool calls.
        is_continued: Whether the trace began at the caller.
    """
    # The gateway's, the executor's and the run's own; each model call is held and settled, too.
    span_count = 3 + 3 * models + tools

    def complete(spans: list[ReceivedSpan]) -> bool:
        trace = spans_of(spans, run_id)
        known = {span.span_id for span in trace}
        tops = [span for span in trace if span.parent_span_id not in known]
        return (
            len(trace) >= span_count
            and [span.service for span in tops] == ["gateway"]
            and bool(tops[0].parent_span_id) == is_continued
        )

    receiver.wait_for(complete, timeout_seconds=SPANS_TIMEOUT_SECONDS)
    # If it is not complete, the test says what is missing.
    return Trace(spans_of(receiver.spans(), run_id))


def spans_of(spans: list[ReceivedSpan], run_id: str) -> list[ReceivedSpan]:
    """Returns the spans of the one trace that the run is in."""
    trace_ids = {
        span.trace_id for span in spans if span.attributes.get("agent_executor.run.id") == run_id
    }
    assert len(trace_ids) <= 1
    return [span for span in spans if span.trace_id in trace_ids]


class Trace:
    """The spans of one trace."""

    def __init__(self, spans: list[ReceivedSpan]) -> None:
        self.spans = spans
        self._names = {span.span_id: span.name for span in spans}

    def tree(self) -> list[tuple[str, str, str, str]]:
        """Returns service, name, kind and the parent's name of each span, sorted."""
        return sorted(
            (span.service, span.name, span.kind, self._names.get(span.parent_span_id, ""))
            for span in self.spans
        )

    def named(self, prefix: str) -> list[ReceivedSpan]:
        """Returns the spans whose name begins so."""
        return [span for span in self.spans if span.name.startswith(prefix)]

    def linked(self) -> set[tuple[str, str]]:
        """Returns which tool call links to the span of which model call, by their ids."""
        chats = {
            (span.trace_id, span.span_id): str(span.attributes["agent_executor.model_call.id"])
            for span in self.named("chat ")
        }
        return {
            (str(span.attributes["gen_ai.tool.call.id"]), chats.get(link, "no model call"))
            for span in self.named("execute_tool ")
            for link in span.links
        }


def expected_tree(rpc: str, *, models: int, tools: int) -> list[tuple[str, str, str, str]]:
    agent = "invoke_agent Math Assistant"
    return sorted(
        [
            ("gateway", f"{ROOT}{rpc}", "SERVER", ""),
            ("executor", f"{SERVER}{rpc}", "SERVER", f"{ROOT}{rpc}"),
            ("executor", agent, "INTERNAL", f"{SERVER}{rpc}"),
            *[("executor", f"chat {MODEL}", "CLIENT", agent)] * models,
            *[("ledger", f"{LEDGER}ReserveUsage", "SERVER", agent)] * models,
            *[("ledger", f"{LEDGER}SettleUsage", "SERVER", agent)] * models,
            *[("tool-runner", "execute_tool calculator", "INTERNAL", agent)] * tools,
        ]
    )


def tool_call_ids(trace: Trace) -> list[str]:
    return sorted(
        str(span.attributes["gen_ai.tool.call.id"]) for span in trace.named("execute_tool ")
    )


def audited_ids(client: Client, run_id: str, trace: Trace) -> list[str]:
    """Returns the tool calls that the audit log has of a run, which must name its trace."""
    path = f"/api/v1/audit-events?run_id={run_id}"
    events = list(pages(client, path, "audit_events"))
    assert {event["trace_id"] for event in events} == {trace.spans[0].trace_id}
    return sorted(event["tool_call_id"] for event in events)


def tool_calls_counted(platform: RunningPlatform, tool: str) -> float:
    """Returns how many calls of a tool the tool-runner has counted so far, whatever came of them."""
    port = platform.ports.metrics_base + TOOL_RUNNER_OFFSET
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("agent_executor_tool_calls_total{") and f'tool="{tool}"' in line
    )

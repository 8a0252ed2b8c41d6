"""One trace from the gateway to the tool, found by a receiver of OTLP inside the test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent_executor.cli.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.e2e.agents_and_runs import (
    SUM,
    THREE_SUMS,
    create_agent,
    execute,
    pages,
    start_run,
    wait_for_end,
)
from tests.e2e.custom_tools import LOOPBACK_ADMITTED
from tests.mcp_servers import HOST, running_mcp_server
from tests.platforms import Client, RunningPlatform, running_platform

# Envoy sends its spans every five seconds.
SPANS_TIMEOUT_SECONDS = 60
MANY_SUMS = " ".join(f"What is {number} + 1000?" for number in range(24))
ROOT = "gateway /agent_executor.api.executor.v1.RunService/"
SERVER = "agent_executor.api.executor.v1.RunService/"
MODEL = "claude-sonnet-4-20250514"


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiving:
        yield receiving


@pytest.fixture(scope="module")
def platform(receiver: OtlpReceiver) -> Iterator[RunningPlatform]:
    """A platform that sends its spans to the test."""
    with running_platform(
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        OTEL_BSP_SCHEDULE_DELAY="50",
        **LOOPBACK_ADMITTED,  # type: ignore[arg-type]  # no variable is called workers
    ) as running:
        yield running


@pytest.fixture
def client(platform: RunningPlatform) -> Client:
    return platform.client(platform.token(f"organization-{secrets.token_hex(8)}"))


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
    # The gateway's, the executor's and the run's own.
    span_count = 3 + models + tools

    def complete(spans: list[ReceivedSpan]) -> bool:
        trace = _trace(spans, run_id)
        known = {span.span_id for span in trace}
        tops = [span for span in trace if span.parent_span_id not in known]
        return (
            len(trace) >= span_count
            and [span.service for span in tops] == ["gateway"]
            and bool(tops[0].parent_span_id) == is_continued
        )

    receiver.wait_for(complete, timeout_seconds=SPANS_TIMEOUT_SECONDS)
    # If it is not complete, the test says what is missing.
    return Trace(_trace(receiver.spans(), run_id))


def _trace(spans: list[ReceivedSpan], run_id: str) -> list[ReceivedSpan]:
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


def expected_tree(rpc: str, *, models: int, tools: int) -> list[tuple[str, str, str, str]]:
    agent = "invoke_agent Math Assistant"
    return sorted(
        [
            ("gateway", f"{ROOT}{rpc}", "SERVER", ""),
            ("executor", f"{SERVER}{rpc}", "SERVER", f"{ROOT}{rpc}"),
            ("executor", agent, "INTERNAL", f"{SERVER}{rpc}"),
            *[("executor", f"chat {MODEL}", "CLIENT", agent)] * models,
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


@pytest.mark.parametrize(("text", "calls"), [(SUM, 1), (THREE_SUMS, 3), (MANY_SUMS, 24)])
def test_a_run_is_one_trace_with_the_right_parents(
    receiver: OtlpReceiver, client: Client, text: str, calls: int
) -> None:
    run = execute(client, create_agent(client), text)
    trace = trace_of(receiver, run["task_id"], models=2, tools=calls)
    assert trace.tree() == expected_tree("ExecuteAgent", models=2, tools=calls)
    ids = sorted(result["tool_call_id"] for result in run["output"]["tool_results"])
    assert len(set(ids)) == calls
    assert tool_call_ids(trace) == ids
    assert audited_ids(client, run["task_id"], trace) == ids


def test_runs_at_the_same_time_keep_their_spans_apart(
    receiver: OtlpReceiver, client: Client
) -> None:
    agent_id = create_agent(client)
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: execute(client, agent_id, THREE_SUMS), range(16)))
    traces = [trace_of(receiver, run["task_id"], models=2, tools=3) for run in runs]
    assert len({trace.spans[0].trace_id for trace in traces}) == len(runs)
    for run, trace in zip(runs, traces, strict=True):
        assert trace.tree() == expected_tree("ExecuteAgent", models=2, tools=3)
        ids = sorted(result["tool_call_id"] for result in run["output"]["tool_results"])
        assert tool_call_ids(trace) == audited_ids(client, run["task_id"], trace) == ids


@pytest.mark.parametrize("rpc", ["TestAgent", "StartRun"])
def test_tests_and_background_runs_are_traced_alike(
    receiver: OtlpReceiver, client: Client, rpc: str
) -> None:
    agent_id = create_agent(client)
    if rpc == "StartRun":
        run_id = start_run(client, agent_id)
        wait_for_end(client, run_id)
    else:
        run_id = client.post(f"/api/v1/agents/{agent_id}/test", {"input": SUM}).body["task_id"]
    trace = trace_of(receiver, run_id, models=2, tools=1)
    assert trace.tree() == expected_tree(rpc, models=2, tools=1)


def test_the_trace_goes_on_from_the_callers(receiver: OtlpReceiver, client: Client) -> None:
    agent_id = create_agent(client)
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    answer = client.call(
        "POST",
        f"/api/v1/agents/{agent_id}/execute",
        {"input": SUM},
        headers={"traceparent": f"00-{trace_id}-{span_id}-01"},
    )
    trace = trace_of(receiver, answer.body["task_id"], models=2, tools=1, is_continued=True)
    assert {span.trace_id for span in trace.spans} == {trace_id}
    assert [span.parent_span_id for span in trace.named(ROOT)] == [span_id]
    assert trace.tree() == expected_tree("ExecuteAgent", models=2, tools=1)


def test_spans_say_what_was_done_and_not_what_was_said(
    receiver: OtlpReceiver, client: Client
) -> None:
    agent_id = create_agent(client, instructions="Never tell the secret 4711.")
    run = execute(client, agent_id, "What is 12345 + 54321?")
    trace = trace_of(receiver, run["task_id"], models=2, tools=1)
    (agent,) = trace.named("invoke_agent ")
    assert agent.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert agent.attributes["gen_ai.agent.id"] == agent_id
    assert agent.attributes["agent_executor.run.state"] == "completed"
    assert agent.attributes["agent_executor.cost_nano_usd"] == int(run["cost_nano_usd"])
    chats = trace.named("chat ")
    tokens = [
        chat.attributes[f"gen_ai.usage.{kind}_tokens"]
        for chat in chats
        for kind in ("input", "output")
    ]
    assert sum(count for count in tokens if isinstance(count, int)) == run["tokens_used"]
    for span in trace.spans:
        assert not span.is_error
        assert span.start_unix_nanos <= span.end_unix_nanos
        for value in span.attributes.values():
            for said in ("12345", "66666", "4711", client.token):
                assert said not in str(value)


def test_a_refused_call_has_its_span_and_its_record_too(
    receiver: OtlpReceiver, platform: RunningPlatform, client: Client
) -> None:
    organization = f"organization-{secrets.token_hex(8)}"
    owner = platform.client(platform.token(organization))
    caller = platform.client(platform.token(organization, permissions=("run:execute",)))
    run = execute(caller, create_agent(owner), THREE_SUMS)
    trace = trace_of(receiver, run["task_id"], models=2, tools=3)
    refused = trace.named("execute_tool ")
    assert len(refused) == 3
    for span in refused:
        assert span.is_error
        assert span.attributes["error.type"] == "PERMISSION_DENIED"
    assert audited_ids(owner, run["task_id"], trace) == tool_call_ids(trace)


def test_a_call_of_an_external_tool_is_one_span_and_tells_nothing_of_the_trace(
    receiver: OtlpReceiver, client: Client
) -> None:
    client.post("/api/v1/allowed-domains", {"domain": HOST})
    with running_mcp_server() as server:
        assert client.put("/api/v1/mcp-servers/weather", {"url": server.url}).status == 200
        agent_id = create_agent(client, tools={"weather__forecast": True})
        run = execute(client, agent_id, "Test the weather__forecast tool")
        (result,) = run["output"]["tool_results"]
        assert result["success"], result
        trace = trace_of(receiver, run["task_id"], models=2, tools=1)
        tree = expected_tree("ExecuteAgent", models=2, tools=1)
        called = [
            (*span[:1], span[1].replace("calculator", "weather__forecast"), *span[2:])
            for span in tree
        ]
        assert trace.tree() == sorted(called)
        assert audited_ids(client, run["task_id"], trace) == tool_call_ids(trace)
        for request in server.requests:
            assert trace.spans[0].trace_id not in str(request)


def test_a_call_that_is_asked_for_again_after_a_death_has_one_execution(
    receiver: OtlpReceiver, platform: RunningPlatform, client: Client
) -> None:
    agent_id = create_agent(client)
    execute(client, agent_id)
    with platform.paused("tool-runner"):
        run_id = start_run(client, agent_id, THREE_SUMS)
        events = client.events(run_id)
        while next(events)["type"] != "tool_call_started":
            pass
        events.close()
        platform.kill("executor")
    platform.wait_until_serving()
    wait_for_end(client, run_id)
    # The span of the killed executor is lost with it, so the trace is never whole.
    audited = list(pages(client, f"/api/v1/audit-events?run_id={run_id}", "audit_events"))

    def complete(spans: list[ReceivedSpan]) -> bool:
        tool_spans = [span for span in _trace(spans, run_id) if "_tool" in span.name]
        return len(tool_spans) >= len(audited)

    assert receiver.wait_for(complete, timeout_seconds=SPANS_TIMEOUT_SECONDS)
    trace = Trace(_trace(receiver.spans(), run_id))
    ids = tool_call_ids(trace)
    assert len(ids) == len(set(ids)) == 3
    # Whatever was answered from the record says so.
    replayed = [event["tool_call_id"] for event in audited if event["decision"] == "replayed"]
    replays = [span.attributes["gen_ai.tool.call.id"] for span in trace.named("replay_tool_call ")]
    assert sorted(map(str, replays)) == sorted(replayed)
    assert len(audited) == len(ids) + len(replays)

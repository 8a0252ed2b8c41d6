"""One trace from the gateway to the tool, found by a receiver of OTLP inside the test."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent_executor.cli.otlp_receiver import OtlpReceiver, ReceivedSpan
from tests.e2e.agent_protocols import mcp_client
from tests.e2e.agents_and_runs import (
    SUM,
    THREE_SUMS,
    create_agent,
    execute,
    pages,
    start_run,
    wait_for_end,
)
from tests.mcp_servers import HOST, running_mcp_server
from tests.platforms import Client, RunningPlatform
from tests.telemetry.log_lines import lines_about
from tests.telemetry.traces import (
    ROOT,
    SPANS_TIMEOUT_SECONDS,
    Trace,
    audited_ids,
    expected_tree,
    spans_of,
    tool_call_ids,
    tool_calls_counted,
    trace_of,
)
from tests.web_server import running_web_server

FIFTY_SUMS = " ".join(f"What is {number} + 1000?" for number in range(50))


TOKENS = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")


@pytest.mark.parametrize(("text", "calls"), [(SUM, 1), (THREE_SUMS, 3), (FIFTY_SUMS, 50)])
def test_a_run_is_one_trace_and_each_call_of_it_one_span_one_record_and_one_count(
    receiver: OtlpReceiver, platform: RunningPlatform, client: Client, text: str, calls: int
) -> None:
    agent_id = create_agent(client)
    counted = tool_calls_counted(platform, "calculator")
    run = execute(client, agent_id, text)
    trace = trace_of(receiver, run["task_id"], models=2, tools=calls)
    assert trace.tree() == expected_tree("ExecuteAgent", models=2, tools=calls)
    ids = sorted(result["tool_call_id"] for result in run["output"]["tool_results"])
    assert len(set(ids)) == calls
    assert tool_call_ids(trace) == ids
    assert audited_ids(client, run["task_id"], trace) == ids
    assert tool_calls_counted(platform, "calculator") - counted == calls
    # All were asked for by the first model call, which the ledger has under its id.
    entries = list(pages(client, "/api/v1/usage/entries", "entries"))
    (first,) = {entry["id"] for entry in entries if entry["id"].endswith("_1_m1")}
    assert trace.linked() == {(tool_call_id, first) for tool_call_id in ids}


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


def test_every_span_of_a_run_names_it_and_its_organization(
    receiver: OtlpReceiver, client: Client, organization: str
) -> None:
    agent_id = create_agent(client, description="Adds.")
    body = {"input": SUM, "conversation_id": "ours"}
    run = client.post(f"/api/v1/agents/{agent_id}/execute", body).body
    trace = trace_of(receiver, run["task_id"], models=2, tools=1)
    told = [
        span for span in trace.spans if not span.name.startswith((ROOT, "agent_executor.api.e"))
    ]
    assert {span.service for span in told} == {"executor", "tool-runner", "ledger"}
    for span in told:
        assert span.attributes["agent_executor.run.id"] == run["task_id"], span
        assert span.attributes["agent_executor.organization.id"] == organization, span
    (agent,) = trace.named("invoke_agent ")
    chats = sorted(trace.named("chat "), key=lambda span: span.start_unix_nanos)
    assert {
        name: agent.attributes[f"gen_ai.agent.{name}"]
        for name in ("id", "name", "version", "description")
    } == {"id": agent_id, "name": "Math Assistant", "version": "1", "description": "Adds."}
    for span in (agent, *chats):
        assert span.attributes["gen_ai.conversation.id"] == "ours"
        assert span.attributes["gen_ai.provider.name"] == "mock"
    reasons = [chat.attributes["gen_ai.response.finish_reasons"] for chat in chats]
    assert reasons == [("tool_use",), ("end_turn",)]
    assert agent.attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
    # What the run has used is what its model calls have.
    for name in ("agent_executor.cost_nano_usd", *TOKENS):
        used = [chat.attributes[name] for chat in chats]
        assert all(isinstance(count, int) and count > 0 for count in used)
        assert agent.attributes[name] == sum(count for count in used if isinstance(count, int))
    assert agent.attributes["agent_executor.run.tokens"] == run["tokens_used"]
    assert agent.attributes["agent_executor.cost_nano_usd"] == int(run["cost_nano_usd"])
    (tool,) = trace.named("execute_tool ")
    assert tool.attributes["gen_ai.tool.description"]


def test_a_run_whose_trace_is_not_recorded_has_no_spans_but_its_lines_of_the_log(
    receiver: OtlpReceiver, platform: RunningPlatform, client: Client
) -> None:
    agent_id = create_agent(client)
    trace_id = secrets.token_hex(16)
    run = client.call(
        "POST",
        f"/api/v1/agents/{agent_id}/execute",
        {"input": THREE_SUMS},
        headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-00"},
    ).body
    lines = lines_about(platform, run["task_id"])
    assert {line["trace_id"] for line in lines} == {trace_id}
    assert len(lines) == 4
    # What comes after it is recorded, so that nothing of the one before can be on its way.
    after = execute(client, agent_id, SUM)
    trace_of(receiver, after["task_id"], models=2, tools=1)
    assert not [span for span in receiver.spans() if span.trace_id == trace_id]


def test_a_run_that_fails_is_marked(receiver: OtlpReceiver, client: Client) -> None:
    agent_id = create_agent(client, max_model_turns=1)
    run = execute(client, agent_id, SUM)
    assert run["state"] == "failed"
    trace = trace_of(receiver, run["task_id"], models=1, tools=1)
    (agent,) = trace.named("invoke_agent ")
    assert agent.is_error
    assert agent.attributes["error.type"] == run["code"]


async def test_a_call_over_mcp_joins_the_trace_of_its_caller(
    receiver: OtlpReceiver, platform: RunningPlatform, client: Client
) -> None:
    create_agent(client)
    async with mcp_client(platform, client) as mcp:
        tools = (await mcp.list_tools()).tools
        (tool,) = [tool.name for tool in tools if tool.name not in {"get_run", "cancel_run"}]
        result = await mcp.call_tool(tool, {"input": SUM})
    run_id = result.structured_content["task_id"]

    def complete(spans: list[ReceivedSpan]) -> bool:
        services = {span.service for span in spans_of(spans, run_id)}
        return services >= {"gateway", "web", "executor", "tool-runner", "ledger"}

    assert receiver.wait_for(complete, timeout_seconds=SPANS_TIMEOUT_SECONDS)
    trace = Trace(spans_of(receiver.spans(), run_id))
    (web,) = [span for span in trace.spans if span.service == "web"]
    (tree,) = [span for span in trace.tree() if span[0] == "web"]
    assert (web.name, web.kind) == ("POST /mcp", "SERVER")
    assert tree[3].startswith("gateway ")
    assert web.attributes["http.response.status_code"] == 200


def test_strangers_are_told_nothing_of_the_trace(receiver: OtlpReceiver, client: Client) -> None:
    client.post("/api/v1/allowed-domains", {"domain": HOST})
    agent_id = create_agent(client, tools={"http_request": True})
    with running_web_server() as server:
        run = execute(client, agent_id, f"Fetch {server.origin}/data")
        (result,) = run["output"]["tool_results"]
        assert result["success"], result
        trace = trace_of(receiver, run["task_id"], models=2, tools=1)
        (request,) = server.requests_to("/data")
    assert not {"traceparent", "tracestate", "baggage"} & set(request.headers)
    for told in (trace.spans[0].trace_id, run["task_id"], agent_id):
        assert told not in str(request)


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
    # Spans of the killed executor may be lost with it, so the trace need not be whole.
    audited = list(pages(client, f"/api/v1/audit-events?run_id={run_id}", "audit_events"))

    def complete(spans: list[ReceivedSpan]) -> bool:
        tool_spans = [span for span in spans_of(spans, run_id) if "_tool" in span.name]
        return len(tool_spans) >= len(audited)

    assert receiver.wait_for(complete, timeout_seconds=SPANS_TIMEOUT_SECONDS)
    trace = Trace(spans_of(receiver.spans(), run_id))
    ids = tool_call_ids(trace)
    assert len(ids) == len(set(ids)) == 3
    # Whatever was answered from the record says so.
    replayed = [event["tool_call_id"] for event in audited if event["decision"] == "replayed"]
    replays = [span.attributes["gen_ai.tool.call.id"] for span in trace.named("replay_tool_call ")]
    assert sorted(map(str, replays)) == sorted(replayed)
    assert len(audited) == len(ids) + len(replays)
    # The heir goes on in the same trace, and its calls name the model call of the killed one.
    assert {span.trace_id for span in trace.spans} == {trace.spans[0].trace_id}
    attempts = {span.attributes["agent_executor.run.attempt"] for span in trace.named("invoke_")}
    assert 2 in attempts
    model_calls = {
        span.attributes["agent_executor.model_call.id"]
        for span in trace.spans
        if "_tool" in span.name
    }
    assert model_calls == {f"{run_id}_1_m1"}
    assert {len(span.links) for span in trace.spans if "_tool" in span.name} == {1}

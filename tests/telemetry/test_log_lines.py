"""Each run and each tool call has one line of the log, which says what it was, took and cost."""

from __future__ import annotations

from agent_executor.cli.otlp_receiver import OtlpReceiver
from tests.e2e.agents_and_runs import THREE_SUMS, create_agent, execute, start_run, wait_for_end
from tests.platforms import Client, RunningPlatform
from tests.telemetry.log_lines import lines_about
from tests.telemetry.traces import MODEL, trace_of


def test_a_run_is_one_line_and_so_is_each_of_its_tool_calls(
    receiver: OtlpReceiver, platform: RunningPlatform, client: Client, organization: str
) -> None:
    agent_id = create_agent(client)
    run = execute(client, agent_id, THREE_SUMS)
    trace = trace_of(receiver, run["task_id"], models=2, tools=3)
    *calls, end = lines_about(platform, run["task_id"])
    assert end["event"] == "run ended"
    for line in (*calls, end):
        assert line["level"] == "info"
        assert line["organization_id"] == organization
        assert line["run_id"] == run["task_id"]
        assert line["agent_id"] == agent_id
        assert line["code"] == "OK"
        assert 0 <= line["duration_seconds"] < 60
        assert line["trace_id"] == trace.spans[0].trace_id
    assert (end["service"], end["model"], end["state"]) == ("executor", MODEL, "completed")
    assert end["tokens"] == run["tokens_used"]
    assert end["cost_nano_usd"] == int(run["cost_nano_usd"])
    told = sorted((call["tool_call_id"], call["span_id"]) for call in calls)
    assert told == sorted(
        (str(span.attributes["gen_ai.tool.call.id"]), span.span_id)
        for span in trace.named("execute_tool ")
    )
    assert {(call["service"], call["tool"]) for call in calls} == {("tool-runner", "calculator")}
    # Neither says what was said.
    assert not any("27" in line["event"] for line in (*calls, end))


def test_what_is_refused_or_fails_says_why(platform: RunningPlatform, organization: str) -> None:
    owner = platform.client(platform.token(organization))
    caller = platform.client(platform.token(organization, permissions=("run:execute",)))
    agent_id = create_agent(owner, max_model_turns=1)
    run = execute(caller, agent_id, THREE_SUMS)
    *calls, end = lines_about(platform, run["task_id"])
    assert [call["code"] for call in calls] == ["PERMISSION_DENIED"] * 3
    assert (end["state"], end["code"]) == ("failed", run["code"])


def test_a_run_in_the_background_has_its_line_in_its_trace(
    platform: RunningPlatform, client: Client
) -> None:
    run_id = start_run(client, create_agent(client))
    wait_for_end(client, run_id)
    *calls, end = lines_about(platform, run_id)
    assert len(calls) == 1
    assert end["trace_id"] == calls[0]["trace_id"]

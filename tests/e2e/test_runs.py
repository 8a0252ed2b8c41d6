"""Runs over REST: started in the background, polled, listed, followed as they happen."""

from __future__ import annotations

import contextlib
import http.client
import itertools

import pytest

from tests.e2e.agents_and_runs import (
    SUM,
    THREE_SUMS,
    create_agent,
    execute,
    get_run,
    pages,
    start_run,
    wait_for_end,
)
from tests.e2e.error_shape import assert_is_timestamp
from tests.platforms import Client, RunningPlatform


def event_types(client: Client, run_id: str) -> list[str]:
    return [event["type"] for event in client.events(run_id)]


class TestBackground:
    def test_a_start_is_answered_at_once_and_the_run_goes_on(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = create_agent(client)
        execute(client, agent_id)
        with platform.paused("tool-runner"):
            answer = client.post(f"/api/v1/agents/{agent_id}/runs", {"input": SUM})
            assert answer.status == 200
            started = answer.body
            assert started["state"] in {"pending", "running"}
            assert started["last_sequence"] >= 1
            assert "ended_at" not in started
            assert get_run(client, started["id"])["state"] == "running"
        run = wait_for_end(client, started["id"])
        assert (run["agent_id"], run["input"], run["user_id"]) == (agent_id, SUM, "admin")
        assert run["state"] == run["output"]["state"] == "completed"
        assert run["output"]["response"] == "15 + 27 = 42"
        assert len(run["output"]["conversation_history"]) == 4
        assert run["is_test"] is False
        assert "error" not in run
        assert_is_timestamp(run["created_at"])
        assert_is_timestamp(run["ended_at"])
        assert run["created_at"] <= run["ended_at"]

    def test_an_executed_run_is_the_same_run_by_its_task_id(self, client: Client) -> None:
        answer = execute(client, create_agent(client))
        run = get_run(client, answer["task_id"])
        assert run["output"] == answer["output"]
        assert run["created_at"] == answer["created_at"]
        assert run["cost_nano_usd"] == answer["cost_nano_usd"]

    def test_a_caller_that_leaves_does_not_stop_the_run(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = create_agent(client)
        execute(client, agent_id)
        impatient = Client(client.port, client.token, timeout_seconds=0.5)
        with platform.paused("tool-runner"):
            with contextlib.suppress(TimeoutError):
                impatient.post(f"/api/v1/agents/{agent_id}/execute", {"input": SUM})
            (run,) = pages(client, "/api/v1/runs?state=running", "runs")
        assert wait_for_end(client, run["id"])["state"] == "completed"


class TestList:
    def test_newest_first_in_pages_and_without_conversations(self, client: Client) -> None:
        agent_id = create_agent(client)
        run_ids = [start_run(client, agent_id) for _ in range(5)]
        ended = [wait_for_end(client, run_id) for run_id in run_ids]
        listed = list(pages(client, "/api/v1/runs", "runs", page_size=2))
        assert [run["id"] for run in listed] == run_ids[::-1]
        for short, full in zip(reversed(listed), ended, strict=True):
            assert short["output"]["conversation_history"] == []
            assert short["output"]["response"] == full["output"]["response"]
            assert short["tokens_used"] == full["tokens_used"]

    def test_filters_must_all_match(self, client: Client) -> None:
        first, second = create_agent(client), create_agent(client, max_model_turns=1)
        completed = execute(client, first)["task_id"]
        failed = execute(client, second)["task_id"]

        def listed(query: str) -> list[str]:
            return [run["id"] for run in pages(client, f"/api/v1/runs?{query}", "runs")]

        assert listed(f"agent_id={first}") == [completed]
        assert listed("state=failed") == [failed]
        assert listed(f"state=failed&agent_id={second}") == [failed]
        assert listed(f"state=failed&agent_id={first}") == []
        assert listed("agent_id=unknown") == []


class TestEvents:
    def test_the_log_tells_the_whole_run(self, client: Client) -> None:
        agent_id = create_agent(client)
        run_id = start_run(client, agent_id, THREE_SUMS)
        events = list(client.events(run_id))
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        assert {event["run_id"] for event in events} == {run_id}
        assert events[0]["type"] == "run_started"
        assert events[0]["run_started"]["input"] == THREE_SUMS
        assert events[-1]["type"] == "run_finished"
        assert events[-1]["run_finished"]["state"] == "completed"
        for event in events:
            assert isinstance(event[event["type"]], dict)
            assert_is_timestamp(event["created_at"])
        by_type = {
            name: [event[name] for event in events if event["type"] == name]
            for name in {event["type"] for event in events}
        }
        asked = [
            block["id"]
            for block in by_type["model_call_completed"][0]["content"]
            if block["type"] == "tool_use"
        ]
        assert len(asked) == 3
        started = [call["tool_call_id"] for call in by_type["tool_call_started"]]
        ended = [call["tool_result"]["tool_call_id"] for call in by_type["tool_call_completed"]]
        assert len(set(started)) == 3
        assert sorted(started) == sorted(ended)
        assert len(by_type["model_call_settled"]) == len(by_type["model_call_completed"]) == 2

    def test_results_are_in_the_order_of_the_calls(self, client: Client) -> None:
        run = execute(client, create_agent(client), THREE_SUMS)
        results = [result["result"]["result"] for result in run["output"]["tool_results"]]
        assert results == [42, 12, 6]

    def test_events_come_while_the_run_is_under_way(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = create_agent(client)
        execute(client, agent_id)
        with platform.paused("tool-runner"):
            run_id = start_run(client, agent_id)
            events = client.events(run_id)
            seen = list(
                itertools.takewhile(lambda event: event["type"] != "tool_call_started", events)
            )
            assert len(seen) >= 3
            assert get_run(client, run_id)["state"] == "running"
        rest = list(events)
        assert rest[-1]["type"] == "run_finished"

    def test_resumed_from_any_sequence_nothing_is_missing_and_nothing_comes_twice(
        self, client: Client
    ) -> None:
        run_id = start_run(client, create_agent(client), THREE_SUMS)
        # The first readers come while the run is under way.
        early = [list(client.events(run_id, after)) for after in range(3)]
        whole = list(client.events(run_id))
        assert early == [whole[after:] for after in range(3)]
        for after in range(len(whole) + 1):
            assert list(client.events(run_id, after)) == whole[after:]

    def test_a_reader_that_was_broken_off_goes_on_where_it_was(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = create_agent(client)
        execute(client, agent_id)
        with platform.paused("tool-runner"):
            run_id = start_run(client, agent_id)
            first = client.events(run_id)
            seen = [next(first), next(first)]
            first.close()
        seen += client.events(run_id, after_sequence=seen[-1]["sequence"])
        assert seen == list(client.events(run_id))

    def test_who_has_seen_the_end_is_not_kept_waiting(self, client: Client) -> None:
        run_id = execute(client, create_agent(client))["task_id"]
        last = get_run(client, run_id)["last_sequence"]
        for after in (last, last + 1, 2**31 - 1):
            assert list(client.events(run_id, after)) == []

    def test_many_readers_see_the_same(self, platform: RunningPlatform, client: Client) -> None:
        agent_id = create_agent(client)
        execute(client, agent_id)
        with platform.paused("tool-runner"):
            run_id = start_run(client, agent_id)
            readers = [client.events(run_id) for _ in range(8)]
            first = [next(reader) for reader in readers]
        seen = [[event, *reader] for event, reader in zip(first, readers, strict=True)]
        assert all(events == seen[0] for events in seen)
        assert seen[0][-1]["type"] == "run_finished"


class TestHowRunsEnd:
    def test_a_tool_that_fails_is_not_a_failed_run(self, client: Client) -> None:
        run = execute(client, create_agent(client), "What is 1 / 0?")
        assert run["state"] == "completed"
        (result,) = run["output"]["tool_results"]
        assert result["success"] is False
        assert result["error"]

    def test_the_model_is_asked_only_so_often(self, client: Client) -> None:
        run = execute(client, create_agent(client, max_model_turns=1))
        assert run["state"] == run["output"]["state"] == "failed"
        assert run["code"] == "LIMIT_EXCEEDED"
        assert run["error"]
        # What was used counts, and the tool's result is kept.
        assert run["tokens_used"] > 0
        assert len(run["output"]["tool_results"]) == 1

    def test_a_model_without_a_price_fails_the_run_before_it_is_called(
        self, client: Client
    ) -> None:
        run = execute(client, create_agent(client, model="gpt-unheard-of"))
        assert (run["state"], run["code"]) == ("failed", "UNKNOWN_MODEL")
        assert (run["tokens_used"], run["cost_usd"]) == (0, 0)
        assert "model_call_completed" not in event_types(client, run["task_id"])

    @pytest.mark.parametrize("permission", ["tool:calculator", "tool:*"])
    def test_a_tool_runs_with_its_permission(
        self, platform: RunningPlatform, organization: str, client: Client, permission: str
    ) -> None:
        agent_id = create_agent(client)
        caller = platform.client(
            platform.token(organization, permissions=("run:execute", permission))
        )
        (result,) = execute(caller, agent_id)["output"]["tool_results"]
        assert result["success"] is True

    def test_a_tool_without_its_permission_is_refused_and_the_run_goes_on(
        self, platform: RunningPlatform, organization: str, client: Client
    ) -> None:
        agent_id = create_agent(client)
        caller = platform.client(
            platform.token(organization, permissions=("run:execute", "tool:http_request"))
        )
        run = execute(caller, agent_id)
        assert run["state"] == "completed"
        (result,) = run["output"]["tool_results"]
        assert (result["success"], result["code"]) == (False, "PERMISSION_DENIED")
        (event,) = client.get(f"/api/v1/audit-events?run_id={run['task_id']}").body["audit_events"]
        assert (event["decision"], event["rule"]) == ("refused", "permission")

    def test_a_run_that_the_gateway_gives_up_on_goes_on(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = create_agent(client)
        execute(client, agent_id)
        with platform.paused("tool-runner"):
            answer = client.call(
                "POST",
                f"/api/v1/agents/{agent_id}/execute",
                {"input": SUM},
                headers={"grpc-timeout": "500m"},
            )
            assert (answer.status, answer.body["code"]) == (504, "DEADLINE_EXCEEDED")
            (run,) = pages(client, "/api/v1/runs?state=running", "runs")
        assert wait_for_end(client, run["id"])["state"] == "completed"


def test_health_and_the_api_description_need_no_token(platform: RunningPlatform) -> None:
    stranger = platform.client("")
    assert stranger.get("/healthz").status == 200
    assert "/api/v1/agents/{agent_id}/execute" in stranger.get("/openapi.json").body["paths"]


def test_every_service_tells_its_metrics(platform: RunningPlatform, client: Client) -> None:
    execute(client, create_agent(client))

    def metrics(port: int) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    base = platform.ports.metrics_base
    assert all("agent_executor_" in metrics(base + offset) for offset in range(3))

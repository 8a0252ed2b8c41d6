"""Over REST: repeats under a key, several inputs at once, deadlines, lists, and a full queue."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.agents_and_runs import SUM, create_agent, get_run, pages, start_run, wait_for_end
from tests.platforms import Answer, Client, RunningPlatform, running_platform


def call(client: Client, path: str, body: Any, key: str = "") -> Answer:
    headers = {"Idempotency-Key": key} if key else {}
    return client.call("POST", f"/api/v1/agents/{path}", body, headers=headers)


class TestIdempotency:
    @pytest.mark.parametrize("way", ["execute", "test"])
    def test_a_repeat_is_answered_the_same(self, client: Client, way: str) -> None:
        agent_id, key = create_agent(client), str(uuid.uuid4())
        first = call(client, f"{agent_id}/{way}", {"input": SUM}, key)
        assert first.status == 200
        again = call(client, f"{agent_id}/{way}", {"input": SUM}, key)
        assert again.body == first.body
        conflict = call(client, f"{agent_id}/{way}", {"input": "hello"}, key)
        assert (conflict.status, conflict.body["code"]) == (409, "IDEMPOTENCY_CONFLICT")
        assert len(list(pages(client, "/api/v1/runs", "runs"))) == 1

    def test_a_repeated_start_is_the_same_run_but_not_that_of_execute(self, client: Client) -> None:
        agent_id, key = create_agent(client), str(uuid.uuid4())
        first = call(client, f"{agent_id}/runs", {"input": SUM}, key)
        again = call(client, f"{agent_id}/runs", {"input": SUM}, key)
        assert again.body["id"] == first.body["id"]
        assert call(client, f"{agent_id}/execute", {"input": SUM}, key).status == 409
        wait_for_end(client, first.body["id"])

    def test_a_repeated_creation_is_the_same_agent(
        self, platform: RunningPlatform, client: Client, organization: str
    ) -> None:
        key = str(uuid.uuid4())
        body = {"name": "Once", "tools": {"calculator": True}, "api_key": "sk-mine"}

        def create(by: Client, body: Any) -> Answer:
            return by.call("POST", "/api/v1/agents", body, headers={"Idempotency-Key": key})

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: create(client, body), range(16)))
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body["id"] for answer in answers}) == 1
        assert len(list(pages(client, "/api/v1/agents", "agents"))) == 1
        conflict = create(client, {**body, "api_key": "sk-other"})
        assert (conflict.status, conflict.body["code"]) == (409, "IDEMPOTENCY_CONFLICT")
        # A key is its user's own.
        other = platform.client(platform.token(organization, user="somebody"))
        assert create(other, body).body["id"] != answers[0].body["id"]

    def test_what_is_no_key_is_refused(self, client: Client) -> None:
        answer = call(client, f"{create_agent(client)}/runs", {"input": SUM}, "two words")
        assert (answer.status, answer.body["code"]) == (400, "INVALID_ARGUMENT")


class TestBatches:
    def test_each_input_has_its_own_run_and_the_sums_are_right(self, client: Client) -> None:
        agent_id, key = create_agent(client), str(uuid.uuid4())
        inputs = [f"What is {number} + 1?" for number in range(20)]
        answer = call(client, f"{agent_id}/execute/batch", {"inputs": inputs}, key)
        assert answer.status == 200, answer.content
        results = answer.body["results"]
        assert [result["index"] for result in results] == list(range(20))
        assert [result["execution"]["input"] for result in results] == inputs
        responses = [result["execution"]["output"]["response"] for result in results]
        assert responses == [f"{number} + 1 = {number + 1}" for number in range(20)]
        assert answer.body["completed_count"] == 20
        for name in ("tokens_used", "cost_nano_usd"):
            total = sum(int(result["execution"][name]) for result in results)
            assert int(answer.body[name]) == total > 0
        assert len({result["execution"]["task_id"] for result in results}) == 20
        again = call(client, f"{agent_id}/execute/batch", {"inputs": inputs}, key)
        assert again.body == answer.body
        conflict = call(client, f"{agent_id}/execute/batch", {"inputs": inputs[:2]}, key)
        assert conflict.status == 409

    def test_a_batch_for_no_agent_is_refused_as_a_whole(self, client: Client) -> None:
        answer = call(client, "nobody/execute/batch", {"inputs": ["a", "b"]})
        assert (answer.status, answer.body["code"]) == (404, "AGENT_NOT_FOUND")
        assert call(client, "nobody/execute/batch", {"inputs": []}).status == 400


class TestStartedBatches:
    def test_each_input_starts_its_own_run_and_a_repeat_finds_them(self, client: Client) -> None:
        agent_id, key = create_agent(client), str(uuid.uuid4())
        body = {"inputs": [f"What is {number} + 1?" for number in range(20)]}
        answer = call(client, f"{agent_id}/runs/batch", body, key)
        assert answer.status == 200, answer.content
        results = answer.body["results"]
        assert [result["index"] for result in results] == list(range(20))
        assert answer.body["started_count"] == 20
        for number, result in enumerate(results):
            run = wait_for_end(client, result["run_id"])
            assert run["state"] == "completed"
            assert run["output"]["response"] == f"{number} + 1 = {number + 1}"
        assert call(client, f"{agent_id}/runs/batch", body, key).body == answer.body
        assert call(client, f"{agent_id}/execute/batch", body, key).status == 409

    def test_a_batch_for_no_agent_or_of_too_many_is_refused_as_a_whole(
        self, client: Client
    ) -> None:
        answer = call(client, "nobody/runs/batch", {"inputs": ["a"]})
        assert (answer.status, answer.body["code"]) == (404, "AGENT_NOT_FOUND")
        agent_id = create_agent(client)
        for inputs in ([], [""], ["a"] * 1_001):
            assert call(client, f"{agent_id}/runs/batch", {"inputs": inputs}).status == 400


class TestDeadlines:
    def test_a_run_that_waits_for_its_tool_ends_at_its_own_deadline(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = create_agent(client, run_timeout_seconds=60)
        # The tools are known from then on.
        assert call(client, f"{agent_id}/execute", {"input": SUM}).status == 200
        with platform.paused("tool-runner"):
            body = {"input": SUM, "timeout_seconds": 1}
            answer = call(client, f"{agent_id}/execute", body)
        assert answer.status == 200, answer.content
        assert (answer.body["state"], answer.body["code"]) == ("failed", "DEADLINE_EXCEEDED")
        assert client.get(f"/api/v1/agents/{agent_id}").body["run_timeout_seconds"] == 60


class TestLists:
    def test_runs_are_found_by_user_conversation_and_time(
        self, platform: RunningPlatform, organization: str, client: Client
    ) -> None:
        agent_id = create_agent(client)
        bob = platform.client(platform.token(organization, user="bob"))
        answer = call(bob, f"{agent_id}/execute", {"input": SUM, "conversation_id": "talk"})
        (its_id, created_at) = answer.body["task_id"], answer.body["created_at"]
        later = wait_for_end(client, start_run(client, agent_id))["id"]

        def listed(query: str) -> set[str]:
            return {run["id"] for run in pages(client, f"/api/v1/runs?{query}", "runs")}

        assert listed("user_id=bob") == {its_id}
        assert listed("conversation_id=talk") == {its_id}
        assert listed(f"start_time={created_at}") == {its_id, later}
        assert listed(f"end_time={created_at}") == set()
        assert listed("parent_run_id=none") == set()
        assert get_run(client, its_id)["conversation_id"] == "talk"


@pytest.fixture
def small() -> Iterator[RunningPlatform]:
    """A platform that drives one run at a time and lets three wait, two of an organization."""
    with running_platform(
        EXECUTOR_MAX_ACTIVE_RUNS="1",
        EXECUTOR_MAX_WAITING_RUNS="3",
        EXECUTOR_MAX_WAITING_RUNS_PER_ORGANIZATION="2",
    ) as platform:
        yield platform


class TestAFullQueue:
    def test_beyond_its_bounds_runs_are_refused_with_a_time_and_none_is_lost(
        self, small: RunningPlatform
    ) -> None:
        ada, bob = (small.client(small.token(name)) for name in ("ada's", "bob's"))
        adas, bobs = create_agent(ada), create_agent(bob)
        for client, agent_id in ((ada, adas), (bob, bobs)):
            # The tools are known from then on.
            assert call(client, f"{agent_id}/execute", {"input": SUM}).status == 200
        with small.paused("tool-runner"):
            ids = [start_run(ada, adas) for _ in range(3)]
            refused = call(ada, f"{adas}/runs", {"input": SUM})
            assert (refused.status, refused.body["code"]) == (429, "LIMIT_EXCEEDED")
            assert int(refused.headers["retry-after"]) >= 1
            theirs = start_run(bob, bobs)
            assert call(bob, f"{bobs}/execute", {"input": SUM}).status == 429
            assert get_run(ada, ids[-1])["state"] == "pending"
        ends = [wait_for_end(ada, run_id) for run_id in ids] + [wait_for_end(bob, theirs)]
        assert {run["state"] for run in ends} == {"completed"}

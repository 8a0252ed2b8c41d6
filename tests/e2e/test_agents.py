"""Agents over REST: created, read, changed by new versions, listed in pages, deleted."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from tests.e2e.agents_and_runs import create_agent, execute, get_run, pages, start_run, wait_for_end
from tests.e2e.error_shape import assert_is_error, assert_is_timestamp
from tests.platforms import Client, RunningPlatform

API_KEY = "sk-ant-the-secret-of-this-agent"
FULL = {
    "name": "Ada",
    "description": "Counts",
    "agent_type": "llm",
    "model": "claude-opus-4-20250514",
    "role": "mathematician",
    "instructions": "Count.",
    "tools": {"calculator": True, "http_request": False},
    "custom_tools": {"mine": {"class": "Mine", "enabled": False, "version": ""}},
    "is_active": False,
    "max_model_turns": 7,
    "max_output_tokens": 321,
    "on_budget_exceeded": "pause",
    "max_cost_usd": 0.5,
    "min_output_tokens": 123,
}
DEFAULTS = {
    "description": "",
    "agent_type": "llm",
    "model": "claude-sonnet-4-20250514",
    "role": "",
    "instructions": "",
    "tools": {},
    "custom_tools": {},
    "is_active": True,
    "has_api_key": False,
    "max_model_turns": 20,
    "max_output_tokens": 4096,
    "on_budget_exceeded": "end",
    "max_cost_usd": 0,
    "max_cost_nano_usd": "0",
    "provider": "",
    "base_url": "",
    "thinking_budget_tokens": 0,
    "response_cache_ttl_seconds": 0,
    "run_timeout_seconds": 0,
    "warnings": [],
    "min_output_tokens": 0,
}


def agent_of(client: Client, agent_id: str, version: int = 0) -> dict[str, Any]:
    answer = client.get(f"/api/v1/agents/{agent_id}?version={version}")
    assert answer.status == 200, answer.content
    body: dict[str, Any] = answer.body
    return body


def patched(client: Client, agent_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    answer = client.patch(f"/api/v1/agents/{agent_id}", changes)
    assert answer.status == 200, answer.content
    body: dict[str, Any] = answer.body
    return body


class TestCreate:
    def test_only_a_name_is_needed(self, client: Client) -> None:
        answer = client.post("/api/v1/agents", {"name": "Ada"})
        assert answer.status == 200
        body = answer.body
        assert uuid.UUID(body.pop("id")).version == 7
        assert body.pop("created_at") == body["updated_at"]
        assert_is_timestamp(body.pop("updated_at"))
        assert body == {"name": "Ada", "version": 1, **DEFAULTS}

    def test_every_field_is_kept(self, client: Client) -> None:
        created = client.post("/api/v1/agents", {**FULL, "api_key": API_KEY}).body
        assert {name: created[name] for name in FULL} == FULL
        assert created["has_api_key"] is True
        assert agent_of(client, created["id"]) == created

    @pytest.mark.parametrize(
        "limit",
        [
            {"on_budget_exceeded": "shrug"},
            {"max_cost_usd": -0.01},
            {"max_cost_usd": 9_000_001},
            {"min_output_tokens": -1},
            {"min_output_tokens": 101, "max_output_tokens": 100},
        ],
    )
    def test_limits_that_cannot_be_are_refused(self, client: Client, limit: dict[str, Any]) -> None:
        answer = client.post("/api/v1/agents", {"name": "Ada", **limit})
        assert_is_error(answer, 400, "INVALID_ARGUMENT")


class TestUpdate:
    def test_every_change_is_a_new_version_and_old_ones_stay(self, client: Client) -> None:
        agent_id = create_agent(client, name="Ada")
        first = agent_of(client, agent_id)
        second = patched(client, agent_id, {"name": "Bea"})
        third = patched(client, agent_id, {"instructions": "Count."})
        assert (first["version"], second["version"], third["version"]) == (1, 2, 3)
        assert (third["name"], third["instructions"]) == ("Bea", "Count.")
        assert first["created_at"] == second["created_at"] == third["created_at"]
        assert first["updated_at"] <= second["updated_at"] <= third["updated_at"]
        assert agent_of(client, agent_id) == third
        assert [agent_of(client, agent_id, version) for version in (1, 2, 3)] == [
            first,
            second,
            third,
        ]

    @pytest.mark.parametrize("field", sorted(FULL.keys() - {"agent_type"}))
    def test_what_is_present_changes_and_nothing_else(self, client: Client, field: str) -> None:
        agent_id = create_agent(client)
        before = agent_of(client, agent_id)
        after = patched(client, agent_id, {field: FULL[field]})
        assert after[field] == FULL[field]
        exact = field.replace("_usd", "_nano_usd")
        same = before.keys() - {field, exact, "version", "updated_at"}
        assert {name: after[name] for name in same} == {name: before[name] for name in same}

    def test_a_map_is_replaced_as_a_whole(self, client: Client) -> None:
        agent_id = create_agent(client, tools={"calculator": True, "http_request": True})
        assert patched(client, agent_id, {"tools": {"email": False}})["tools"] == {"email": False}

    def test_a_mask_can_empty_what_it_names(self, client: Client) -> None:
        agent_id = client.post("/api/v1/agents", {**FULL, "api_key": API_KEY}).body["id"]
        mask = "tools,custom_tools,description,role,instructions,api_key"
        after = patched(client, agent_id, {"update_mask": mask})
        assert (after["tools"], after["custom_tools"]) == ({}, {})
        assert (after["description"], after["role"], after["instructions"]) == ("", "", "")
        assert after["has_api_key"] is False
        assert after["name"] == FULL["name"]

    def test_what_a_mask_names_and_the_body_omits_gets_its_default(self, client: Client) -> None:
        agent_id = client.post("/api/v1/agents", FULL).body["id"]
        names = [
            "model",
            "is_active",
            "max_model_turns",
            "max_output_tokens",
            "on_budget_exceeded",
            "max_cost_usd",
            "min_output_tokens",
        ]
        after = patched(client, agent_id, {"update_mask": ",".join(names)})
        assert {name: after[name] for name in names} == {name: DEFAULTS[name] for name in names}

    def test_what_a_mask_does_not_name_stays(self, client: Client) -> None:
        agent_id = create_agent(client, name="Ada")
        after = patched(client, agent_id, {"update_mask": "role", "name": "Bea", "role": "poet"})
        assert (after["name"], after["role"]) == ("Ada", "poet")

    def test_a_mask_cannot_empty_the_name(self, client: Client) -> None:
        agent_id = create_agent(client)
        answer = client.patch(f"/api/v1/agents/{agent_id}", {"update_mask": "name"})
        assert_is_error(answer, 400, "INVALID_ARGUMENT")
        assert agent_of(client, agent_id)["version"] == 1

    def test_a_key_can_be_given_and_taken(self, client: Client) -> None:
        agent_id = create_agent(client)
        assert patched(client, agent_id, {"api_key": API_KEY})["has_api_key"] is True
        assert patched(client, agent_id, {"name": "Bea"})["has_api_key"] is True
        assert patched(client, agent_id, {"api_key": ""})["has_api_key"] is False

    def test_runs_name_the_version_that_they_ran(self, client: Client) -> None:
        agent_id = create_agent(client)
        before = execute(client, agent_id)["task_id"]
        patched(client, agent_id, {"model": "claude-opus-4-20250514"})
        after = execute(client, agent_id)["task_id"]
        runs = [get_run(client, run_id) for run_id in (before, after)]
        assert [run["agent_version"] for run in runs] == [1, 2]
        assert [run["model"] for run in runs] == [
            "claude-sonnet-4-20250514",
            "claude-opus-4-20250514",
        ]


class TestList:
    def test_newest_first_in_pages_without_gap_or_repeat(self, client: Client) -> None:
        created = [create_agent(client, name=f"Agent {number}") for number in range(5)]
        listed = [agent["id"] for agent in pages(client, "/api/v1/agents", "agents", page_size=2)]
        assert listed == created[::-1]

    def test_an_agent_is_listed_once_at_its_newest_version(self, client: Client) -> None:
        agent_id = create_agent(client)
        changed = patched(client, agent_id, {"name": "Bea"})
        assert list(pages(client, "/api/v1/agents", "agents")) == [changed]

    def test_an_agent_that_comes_meanwhile_moves_no_other(self, client: Client) -> None:
        created = [create_agent(client) for _ in range(3)]
        first = client.get("/api/v1/agents?page_size=2").body
        create_agent(client)
        token = first["next_page_token"]
        second = client.get(f"/api/v1/agents?page_size=2&page_token={token}").body
        listed = [agent["id"] for page in (first, second) for agent in page["agents"]]
        assert listed == created[::-1]
        assert second["next_page_token"] == ""


class TestDelete:
    def test_what_is_deleted_is_gone_and_its_runs_stay(self, client: Client) -> None:
        agent_id = create_agent(client)
        run_id = execute(client, agent_id)["task_id"]
        answer = client.delete(f"/api/v1/agents/{agent_id}")
        assert (answer.status, answer.body) == (200, {})
        path = f"/api/v1/agents/{agent_id}"
        for gone in (
            client.get(path),
            client.get(f"{path}/tools"),
            client.patch(path, {"name": "Bea"}),
            client.delete(path),
            client.post(f"{path}/execute", {"input": "hello"}),
        ):
            assert_is_error(gone, 404, "AGENT_NOT_FOUND")
        assert list(pages(client, "/api/v1/agents", "agents")) == []
        run = get_run(client, run_id)
        assert run["state"] == "completed"
        # What exactly was run can still be looked up.
        assert agent_of(client, agent_id, run["agent_version"])["id"] == agent_id

    def test_a_run_under_way_ends_on_its_own(
        self, platform: RunningPlatform, client: Client
    ) -> None:
        agent_id = create_agent(client)
        execute(client, agent_id)
        with platform.paused("tool-runner"):
            run_id = start_run(client, agent_id)
            assert client.delete(f"/api/v1/agents/{agent_id}").status == 200
        assert wait_for_end(client, run_id)["state"] == "completed"


def test_a_key_is_never_shown_and_never_stored_in_the_clear(
    platform: RunningPlatform, organization: str, client: Client
) -> None:
    key = f"{API_KEY}-{organization}-{time.monotonic_ns()}"
    created = client.post("/api/v1/agents", {**FULL, "is_active": True, "api_key": key})
    agent_id = created.body["id"]
    path = f"/api/v1/agents/{agent_id}"
    run_id = execute(client, agent_id)["task_id"]
    answers = [
        created,
        client.get(path),
        client.get("/api/v1/agents"),
        client.patch(path, {"api_key": f"{key}-2"}),
        client.get(f"{path}?version=1"),
        client.get(f"{path}/tools"),
        client.post(f"{path}/execute", {"input": "hello"}),
        client.post(f"{path}/test", {"input": "hello"}),
        client.get(f"/api/v1/runs/{run_id}"),
        client.get(f"/api/v1/runs/{run_id}/events"),
        client.get("/api/v1/usage/entries"),
        client.get("/api/v1/audit-events"),
        # Refused, with the key in the request.
        client.post("/api/v1/agents", {"name": "", "api_key": key}),
        client.post("/api/v1/agents", {"name": 5, "api_key": key}),
        client.patch("/api/v1/agents/unknown", {"api_key": key}),
    ]
    for answer in answers:
        assert key.encode() not in answer.content
        assert b'"api_key"' not in answer.content
    assert key not in platform.log
    files = [file for file in platform.data_dir.rglob("*") if file.is_file()]
    assert any(file.name.startswith("journal.sqlite3") for file in files)
    for file in files:
        assert key.encode() not in file.read_bytes(), file

"""Conversations on a real platform: across runs, executors and deaths, for each organization alone."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.agents_and_runs import SUM, create_agent, get_run, pages, start_run, wait_for_end
from tests.e2e.error_shape import assert_is_error
from tests.platforms import Answer, Client, RunningPlatform, children_of, running_platform, until

AFTER = "Multiply that by 2."
DOUBLE = "Hello!"


@pytest.fixture(scope="module")
def mortal() -> Iterator[RunningPlatform]:
    """A platform of two executors, which may be killed."""
    with running_platform(workers=2, EXECUTOR_LEASE_SECONDS="2") as running:
        yield running


def say(client: Client, agent_id: str, text: str, conversation_id: str = "talk") -> Answer:
    """Has a run of a conversation, and waits for it."""
    body = {"input": text, "conversation_id": conversation_id}
    return client.post(f"/api/v1/agents/{agent_id}/execute", body)


def said(client: Client, agent_id: str, text: str, conversation_id: str = "talk") -> dict[str, Any]:
    answer = say(client, agent_id, text, conversation_id)
    assert answer.status == 200, answer.content
    body: dict[str, Any] = answer.body
    assert body["state"] == "completed", body
    return body


def conversation(client: Client, conversation_id: str = "talk") -> dict[str, Any]:
    answer = client.get(f"/api/v1/conversations/{quote(conversation_id, safe='')}")
    assert answer.status == 200, answer.content
    body: dict[str, Any] = answer.body
    return body


def texts(messages: list[dict[str, Any]], role: str) -> list[str]:
    return [
        block["text"]
        for message in messages
        if message["role"] == role
        for block in message["content"]
        if block["type"] == "text" and block["text"]
    ]


def executor_pids(platform: RunningPlatform) -> list[int]:
    found = []
    for pid in children_of(platform.process.pid):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"agent_executor.executor" in command and b"die_with_parent" not in command:
                found.append(pid)
    return found


def kill_executors(platform: RunningPlatform) -> None:
    """Kills both executors as `kill -9` does, and waits until others are there."""
    before = executor_pids(platform)
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(executor_pids(platform)) - set(before)) == 2, what="two new executors")
    platform.wait_until_serving()


def test_a_conversation_goes_on_over_runs_executors_and_their_deaths(
    mortal: RunningPlatform,
) -> None:
    client = mortal.client(mortal.token("over-deaths"))
    agent_id = create_agent(client)
    first = said(client, agent_id, SUM)
    kill_executors(mortal)
    second = said(client, agent_id, AFTER)
    assert "84" in second["output"]["response"], "the model did not see what was said before"
    kill_executors(mortal)
    third = said(client, agent_id, DOUBLE)
    known = conversation(client)
    assert texts(known["messages"], "user") == [SUM, AFTER, DOUBLE]
    assert known["messages"] == [
        message
        for run in (first, second, third)
        for message in run["output"]["conversation_history"]
    ]
    assert (known["id"], known["run_count"]) == ("talk", 3)
    assert known["last_run_id"] == third["task_id"]
    assert get_run(client, third["task_id"])["conversation_id"] == "talk"


def test_a_killed_run_keeps_its_conversation_to_itself_until_an_heir_has_ended_it(
    mortal: RunningPlatform,
) -> None:
    client = mortal.client(mortal.token("killed-run"))
    agent_id = create_agent(client)
    said(client, agent_id, SUM)
    with mortal.paused("ledger"):
        body = {"input": "What is 7 * 6?", "conversation_id": "talk"}
        started = client.post(f"/api/v1/agents/{agent_id}/runs", body)
        assert started.status == 200, started.content
        run_id = started.body["id"]
        until(lambda: get_run(client, run_id)["last_sequence"] >= 2, what="the model call")
        before = executor_pids(mortal)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(executor_pids(mortal)) - set(before)) == 2)
        until(lambda: client.get(f"/api/v1/runs/{run_id}").status == 200)
        for _ in range(2):
            refused = say(client, agent_id, "Hello!")
            assert refused.status == 409, refused.content
            assert_is_error(refused, 409, "CONFLICT")
            assert run_id in refused.body["error"]
        deleted = client.delete("/api/v1/conversations/talk")
        assert_is_error(deleted, 400, "FAILED_PRECONDITION")
    assert "42" in wait_for_end(client, run_id)["output"]["response"]
    said(client, agent_id, "Hello!")
    assert texts(conversation(client)["messages"], "user") == [SUM, "What is 7 * 6?", "Hello!"]


def test_each_organization_has_its_own(platform: RunningPlatform) -> None:
    ours, theirs = (platform.client(platform.token(f"isolated-{n}")) for n in (1, 2))
    said(ours, create_agent(ours), SUM, "secret")
    assert_is_error(theirs.get("/api/v1/conversations/secret"), 404, "CONVERSATION_NOT_FOUND")
    assert_is_error(theirs.delete("/api/v1/conversations/secret"), 404, "CONVERSATION_NOT_FOUND")
    assert list(pages(theirs, "/api/v1/conversations", "conversations")) == []
    said(theirs, create_agent(theirs), "Hello!", "secret")
    assert texts(conversation(theirs, "secret")["messages"], "user") == ["Hello!"]
    assert theirs.delete("/api/v1/conversations/secret").status == 200
    assert texts(conversation(ours, "secret")["messages"], "user") == [SUM]
    assert_is_error(theirs.get("/api/v1/conversations/secret"), 404, "CONVERSATION_NOT_FOUND")


def test_conversations_are_listed_the_last_changed_first(client: Client) -> None:
    agent_id, other_id = create_agent(client), create_agent(client)
    for name in ("one", "two", "three"):
        said(client, other_id if name == "two" else agent_id, "Hello!", name)
    said(client, agent_id, "Hello!", "one")
    listed = list(pages(client, "/api/v1/conversations", "conversations", page_size=1))
    assert [each["id"] for each in listed] == ["one", "three", "two"]
    assert [each["run_count"] for each in listed] == [2, 1, 1]
    assert all(not each.get("messages") for each in listed)
    path = f"/api/v1/conversations?agent_id={other_id}"
    assert [each["id"] for each in client.get(path).body["conversations"]] == ["two"]
    assert client.get("/api/v1/conversations?user_id=nobody").body.get("conversations", []) == []
    bad = client.get("/api/v1/conversations?page_token=x")
    assert_is_error(bad, 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("name", ["é" * 64, "x" * 128, "会話 1", "a%b", "q?u=1&r#f"])
def test_any_text_is_an_id(client: Client, name: str) -> None:
    agent_id = create_agent(client)
    said(client, agent_id, SUM, name)
    said(client, agent_id, AFTER, name)
    assert conversation(client, name)["run_count"] == 2
    assert client.delete(f"/api/v1/conversations/{quote(name, safe='')}").status == 200


@pytest.mark.parametrize("name", ["é" * 64 + "x", "x" * 129, "a\0b", "a\nb"])
def test_what_is_no_id_is_refused(client: Client, name: str) -> None:
    refused = say(client, create_agent(client), SUM, name)
    assert_is_error(refused, 400, "INVALID_ARGUMENT")
    assert "conversation_id" in refused.body["error"]
    assert client.get("/api/v1/runs").body.get("runs", []) == []


def test_a_run_without_a_conversation_stands_alone(client: Client) -> None:
    agent_id = create_agent(client)
    said(client, agent_id, SUM)
    run = wait_for_end(client, start_run(client, agent_id, DOUBLE))
    assert run["conversation_id"] == ""
    assert conversation(client)["run_count"] == 1


def test_an_agents_context_policy_is_kept_and_changed(client: Client) -> None:
    policy = {"max_history_turns": 2, "summarize": False, "max_input_tokens": 5000}
    agent_id = create_agent(client, context_policy=policy)
    kept = client.get(f"/api/v1/agents/{agent_id}").body["context_policy"]
    assert {name: kept[name] for name in policy} == policy
    for number in range(5):
        said(client, agent_id, f"What is {number} + 1?")
    run = client.get("/api/v1/runs?page_size=1").body["runs"][0]
    trims = [event for event in client.events(run["id"]) if event["type"] == "history_trimmed"]
    # What the run before left out already, and what this one does.
    assert [trim["history_trimmed"]["message_count"] for trim in trims] == [3, 7]
    changed = client.patch(f"/api/v1/agents/{agent_id}", {"context_policy": {"summarize": True}})
    assert changed.status == 200, changed.content
    assert changed.body["context_policy"]["summarize"] is True
    assert changed.body["context_policy"]["max_history_turns"] == 0
    bad = client.patch(f"/api/v1/agents/{agent_id}", {"context_policy": {"max_history_turns": -1}})
    assert_is_error(bad, 400, "INVALID_ARGUMENT")


def test_what_cannot_fit_says_how_long_it_is(client: Client) -> None:
    agent_id = create_agent(client, context_policy={"max_input_tokens": 300})
    answer = client.post(f"/api/v1/agents/{agent_id}/execute", {"input": "x" * 4_000})
    assert answer.status == 200, answer.content
    assert (answer.body["state"], answer.body["code"]) == ("failed", "CONTEXT_LENGTH_EXCEEDED")
    assert "300 fit" in answer.body["error"]
    assert answer.body["cost_nano_usd"] in (0, "0")

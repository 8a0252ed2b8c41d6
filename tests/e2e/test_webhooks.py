"""Ends of runs are told through a whole platform, whatever becomes of its executor."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.e2e.agents_and_runs import SUM, create_agent, get_run, wait_for_end
from tests.e2e.error_shape import assert_is_error
from tests.platforms import Client, RunningPlatform, running_platform, until
from tests.web_server import WebRequest, WebServer, running_web_server

# Not base64: a receiver gives the library its bytes.
SECRET = "the-secret-of-this-webhook-é"
WORKERS = 2


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform of two executors, which may be killed, and which may call this machine."""
    with running_platform(
        workers=WORKERS,
        EXECUTOR_WEBHOOK_ALLOWED_CIDRS='["127.0.0.1/32"]',
        # So that the attempt of an executor that died is soon made again.
        EXECUTOR_WEBHOOK_TIMEOUT_SECONDS="2",
        EXECUTOR_WEBHOOK_RETRY_SECONDS="0.2",
        EXECUTOR_WEBHOOK_SWEEP_SECONDS="1",
    ) as running:
        yield running


@pytest.fixture
def server() -> Iterator[WebServer]:
    with running_web_server() as running:
        yield running


def url_of(server: WebServer, path: str = "/hook") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def start(client: Client, agent_id: str, url: str, text: str = SUM) -> dict[str, Any]:
    """Starts a run with a webhook and returns it."""
    body = {"input": text, "webhook_url": url, "webhook_secret": SECRET}
    answer = client.post(f"/api/v1/agents/{agent_id}/runs", body)
    assert answer.status == 200, answer.content
    run: dict[str, Any] = answer.body
    return run


def verified(request: WebRequest) -> dict[str, Any]:
    message: dict[str, Any] = Webhook(SECRET.encode()).verify(request.body, request.headers)
    return message


def wait_until_told(client: Client, run_id: str) -> dict[str, Any]:
    until(
        lambda: get_run(client, run_id)["webhook"]["state"] != "pending",
        what=f"the telling of run {run_id}",
    )
    return get_run(client, run_id)


def test_the_message_is_the_run_as_rest_shows_it(client: Client, server: WebServer) -> None:
    started = start(client, create_agent(client), url_of(server))
    assert started["webhook"]["state"] == "pending"
    assert started["webhook"]["url"] == url_of(server)
    run = wait_until_told(client, started["id"])
    webhook = run.pop("webhook")
    assert webhook == {
        "url": url_of(server),
        "state": "delivered",
        "attempts": 1,
        "status_code": 200,
        "error": "",
    }
    [request] = server.requests
    assert request.method == "POST"
    message = verified(request)
    assert message["type"] == "run.completed"
    assert message["timestamp"] == run["ended_at"]
    assert message["data"] == run
    [listed] = client.get("/api/v1/runs").body["runs"]
    assert "webhook" not in listed


def test_what_cannot_be_told_is_refused(client: Client) -> None:
    path = f"/api/v1/agents/{create_agent(client)}/runs"
    for fields, field in (
        ({"webhook_url": "https://example.com/"}, "secret"),
        ({"webhook_secret": SECRET}, "secret"),
        ({"webhook_url": "https://example.com/", "webhook_secret": "short"}, "secret"),
        ({"webhook_url": "http://169.254.169.254/", "webhook_secret": SECRET}, "URL"),
        ({"webhook_url": "https://10.0.0.1/", "webhook_secret": SECRET}, "URL"),
        ({"webhook_url": "https://u:p@example.com/", "webhook_secret": SECRET}, "URL"),
        ({"webhook_url": "ftp://example.com/", "webhook_secret": SECRET}, "URL"),
    ):
        answer = client.post(path, {"input": SUM, **fields})
        assert_is_error(answer, 400, "INVALID_ARGUMENT")
        assert field in answer.body["error"], answer.content
        assert SECRET.encode() not in answer.content
    assert client.get("/api/v1/runs").body["runs"] == []


def test_a_repeat_under_a_key_is_told_once(client: Client, server: WebServer) -> None:
    path = f"/api/v1/agents/{create_agent(client)}/runs"
    body = {"input": SUM, "webhook_url": url_of(server), "webhook_secret": SECRET}
    headers = {"idempotency-key": "k"}
    first, again = (client.call("POST", path, body, headers=headers) for _ in range(2))
    assert first.body["id"] == again.body["id"]
    assert again.body["webhook"]["url"] == url_of(server)
    wait_until_told(client, first.body["id"])
    assert len(server.requests) == 1


def test_another_organization_sees_nothing_of_it(
    platform: RunningPlatform, client: Client, server: WebServer
) -> None:
    run_id = start(client, create_agent(client), url_of(server))["id"]
    wait_until_told(client, run_id)
    stranger = platform.client(platform.token("stranger"))
    assert_is_error(stranger.get(f"/api/v1/runs/{run_id}"), 404, "RUN_NOT_FOUND")


def test_the_secret_is_nowhere(
    platform: RunningPlatform, client: Client, server: WebServer
) -> None:
    run_id = start(client, create_agent(client), url_of(server))["id"]
    refusing = start(client, create_agent(client), "http://127.0.0.1:1/?token=of-the-url")["id"]
    wait_until_told(client, run_id)
    until(lambda: get_run(client, refusing)["webhook"]["attempts"] >= 2)
    for shown in (get_run(client, run_id), get_run(client, refusing)):
        assert SECRET not in json.dumps(shown, ensure_ascii=False)
    assert SECRET not in platform.log
    assert "of-the-url" not in platform.log
    for path in platform.data_dir.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_an_attempt_that_was_killed_is_made_again(
    platform: RunningPlatform, client: Client, server: WebServer
) -> None:
    run_id = start(client, create_agent(client), url_of(server, "/held/hook"))["id"]
    server.wait_for("/held/hook")
    # Which of the two makes it is not known.
    for number in range(WORKERS):
        platform.kill(f"executor-{number + 1}")
    server.release()
    platform.wait_until_serving()
    run = wait_until_told(client, run_id)
    assert run["webhook"]["state"] == "delivered"
    assert run["webhook"]["attempts"] >= 2
    messages = {request.headers["webhook-id"] for request in server.requests}
    assert len(messages) == 1
    assert len(server.requests) >= 2


def test_an_end_whose_telling_had_not_begun_is_told(server: WebServer) -> None:
    with running_platform(
        EXECUTOR_WEBHOOK_ALLOWED_CIDRS='["127.0.0.1/32"]',
        # One attempt holds up all others, for a minute, and its lease outlives the test.
        EXECUTOR_WEBHOOK_MAX_CONCURRENT="1",
        EXECUTOR_WEBHOOK_TIMEOUT_SECONDS="60",
    ) as platform:
        client = platform.client()
        agent_id = create_agent(client)
        start(client, agent_id, url_of(server, "/held/hook"))
        server.wait_for("/held/hook")
        run_id = start(client, agent_id, url_of(server))["id"]
        ended = wait_for_end(client, run_id)
        assert (ended["webhook"]["state"], ended["webhook"]["attempts"]) == ("pending", 0)
        platform.kill("executor")
        platform.wait_until_serving()
        told = wait_until_told(client, run_id)["webhook"]
        assert (told["state"], told["attempts"]) == ("delivered", 1)
        [request] = server.requests_to("/hook")
        assert verified(request)["data"]["id"] == run_id


def test_no_end_is_lost_whenever_executors_are_killed(
    platform: RunningPlatform, client: Client, server: WebServer, *, full: bool
) -> None:
    agent_id = create_agent(client)
    chance = random.Random(7)
    run_ids = []
    for _ in range(20 if full else 3):
        run_ids += [start(client, agent_id, url_of(server))["id"] for _ in range(4)]
        # At any instant of the runs and of their telling.
        seen = min(len(server.requests) + chance.randrange(4), len(run_ids))
        until(lambda seen=seen: len(server.requests) >= seen)  # type: ignore[misc]  # the default binds it now
        # It may have died a moment ago.
        victim = f"executor-{chance.randint(1, WORKERS)}"
        until(lambda victim=victim: victim in platform.pids())  # type: ignore[misc]  # as above
        platform.kill(victim)
        platform.wait_until_serving()
    for run_id in run_ids:
        run = wait_until_told(client, run_id)
        assert run["webhook"]["state"] == "delivered", run
        assert run["state"] == "completed"
    told = [verified(request)["data"]["id"] for request in server.requests]
    assert set(told) == set(run_ids)
    ids = {(verified(each)["data"]["id"], each.headers["webhook-id"]) for each in server.requests}
    assert len(ids) == len(run_ids)


def test_a_cancelled_run_is_told(client: Client, server: WebServer) -> None:
    # A tool that needs a person's word, so that it certainly waits.
    agent_id = create_agent(
        client, approval_policy={"rules": [{"tool": "calculator", "reason": "Money."}]}
    )
    run_id = start(client, agent_id, url_of(server))["id"]
    until(lambda: get_run(client, run_id)["state"] == "waiting")
    assert server.requests == []
    assert client.post(f"/api/v1/runs/{run_id}/cancel", {"reason": "why"}).status == 200
    wait_until_told(client, run_id)
    [request] = server.requests
    assert verified(request)["type"] == "run.cancelled"
    assert wait_for_end(client, run_id)["state"] == "cancelled"

"""`GET /api/v1/monitor`: an organization's runs as they happen, through the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.agents_and_runs import create_agent
from tests.platforms import Client, RunningPlatform, running_platform

PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def watching(
    platform: RunningPlatform, token: str, query: str = "", **headers: str
) -> AsyncIterator[ClientConnection]:
    """Yields a WebSocket, once it is watched."""
    shown = {"authorization": f"Bearer {token}"} if token else {}
    async with asyncio.timeout(PATIENCE_SECONDS * 2):
        async with connect(address(platform, query), additional_headers={**shown, **headers}) as it:
            assert (await told(it))["event"] is None
            yield it


def address(platform: RunningPlatform, query: str = "", path: str = "/api/v1/monitor") -> str:
    """Returns the address of the monitor, or of something else."""
    return f"ws://127.0.0.1:{platform.http_port}{path}{query}"


async def told(socket: ClientConnection) -> dict[str, Any]:
    """Returns the next message."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        message: dict[str, Any] = json.loads(await socket.recv())
        return message


async def events_until_end(socket: ClientConnection) -> list[dict[str, Any]]:
    """Returns what is told until a run has ended; signs of life are left out."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["event"]["type"] != "run_finished":
        message = await told(socket)
        if message["event"] is not None:
            events.append(message)
    return events


async def refused(
    platform: RunningPlatform, token: str, query: str = "", **headers: str
) -> tuple[int, Any]:
    """Returns the status and the body of the answer to a WebSocket that is not let in."""
    shown = {"authorization": f"Bearer {token}"} if token else {}
    with pytest.raises(InvalidStatus) as raised:
        async with connect(address(platform, query), additional_headers={**shown, **headers}):
            pass
    response = raised.value.response
    body = json.loads(bytes(response.body or b""))
    assert (body["success"], body["tool_name"]) == (False, "")
    return response.status_code, body


async def execute(client: Client, agent_id: str, text: str = "What is 15 + 27?") -> str:
    """Executes an agent and returns the run's id."""
    path = f"/api/v1/agents/{agent_id}/execute"
    answer = await asyncio.to_thread(client.post, path, {"input": text})
    assert answer.status == 200, answer.content
    run_id: str = answer.body["task_id"]
    return run_id


async def test_each_event_of_a_run_is_told_as_rest_shows_it(
    platform: RunningPlatform, client: Client
) -> None:
    agent_id = create_agent(client, tools={"calculator": True})
    async with watching(platform, client.token) as socket:
        run_id = await execute(client, agent_id)
        messages = await events_until_end(socket)
        # Whoever comes back is told of it once more, from the log.
        async with watching(platform, client.token, f"?since={messages[0]['told_at']}") as again:
            repeated = await events_until_end(again)
    events = list(client.events(run_id))
    assert [message["event"] for message in messages] == events
    assert [message["event"] for message in repeated] == events
    run = client.get(f"/api/v1/runs/{run_id}").body
    last = messages[-1]
    assert (last["tokens_used"], last["cost_nano_usd"]) == (
        str(run["tokens_used"]),
        run["cost_nano_usd"],
    )
    assert (last["agent_id"], last["agent_version"], last["user_id"], last["model"]) == (
        agent_id,
        1,
        "admin",
        run["model"],
    )


async def test_filters_and_no_content(platform: RunningPlatform, client: Client) -> None:
    agent_id = create_agent(client, tools={"calculator": True})
    query = f"?agent_id={agent_id}&event_types=run_started&event_types=run_finished"
    async with watching(platform, client.token, f"{query}&without_content=true") as socket:
        await execute(client, create_agent(client))
        run_id = await execute(client, agent_id)
        started, finished = await events_until_end(socket)
    assert {started["event"]["run_id"], finished["event"]["run_id"]} == {run_id}
    assert started["event"]["run_started"]["input"] == ""
    assert finished["event"]["run_finished"] == {"state": "completed", "response": ""}


async def test_another_organization_is_told_nothing_whatever_it_names(
    platform: RunningPlatform, client: Client, organization: str
) -> None:
    agent_id = create_agent(client)
    stranger = platform.client(platform.token(f"{organization}-other"))
    run_id = await execute(client, agent_id)
    since = client.get(f"/api/v1/runs/{run_id}").body["created_at"]
    queries = ("", f"?since={since}", f"?since={since}&run_id={run_id}&agent_id={agent_id}")
    for query in queries[1:]:
        async with watching(platform, stranger.token, query) as socket:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await told(socket)
    async with watching(platform, stranger.token) as socket:
        await execute(client, agent_id)
        own = await execute(stranger, create_agent(stranger), "Hi")
        messages = await events_until_end(socket)
    assert {message["event"]["run_id"] for message in messages} == {own}


async def test_who_is_not_let_in_gets_an_answer_of_http(
    platform: RunningPlatform, client: Client, organization: str
) -> None:
    token = client.token
    cases: Mapping[str, tuple[int, str]] = {
        "?since=yesterday": (400, "INVALID_ARGUMENT"),
        "?since=2020-01-01T00:00:00Z": (400, "INVALID_ARGUMENT"),
        "?event_types=coffee": (400, "INVALID_ARGUMENT"),
        "?without_content=maybe": (400, "INVALID_ARGUMENT"),
        "?agent_id=a&agent_id=b": (400, "INVALID_ARGUMENT"),
        "?limit=1": (400, "INVALID_ARGUMENT"),
        f"?run_id={'x' * 129}": (400, "INVALID_ARGUMENT"),
    }
    for query, (status, code) in cases.items():
        answer = await refused(platform, token, query)
        assert (answer[0], answer[1]["code"]) == (status, code), query
    assert (await refused(platform, ""))[0] == 401
    assert (await refused(platform, "no token"))[0] == 401
    powerless = platform.token(organization, permissions=["run:execute"])
    assert (await refused(platform, powerless))[0] == 403
    assert client.get("/api/v1/monitor").status == 426
    assert client.post("/api/v1/monitor").status == 405


@pytest.mark.parametrize("path", ["/api/v1/runs", "/docs", "/mcp", "/api/v1/monitor/", "/nothing"])
async def test_nothing_else_is_upgraded(
    platform: RunningPlatform, client: Client, path: str
) -> None:
    headers = {"authorization": f"Bearer {client.token}"}
    with pytest.raises(InvalidStatus) as raised:
        await connect(address(platform, path=path), additional_headers=headers)
    assert raised.value.response.status_code == 400


async def test_a_browsers_session_watches_from_its_own_origin_only(
    platform: RunningPlatform, client: Client
) -> None:
    answer = client.post("/api/v1/session")
    assert answer.status == 200, answer.content
    cookie = answer.headers["set-cookie"].partition(";")[0]
    own = f"http://127.0.0.1:{platform.http_port}"
    agent_id = create_agent(client)
    async with watching(platform, "", cookie=cookie, origin=own) as socket:
        await execute(client, agent_id, "Hi")
        assert await events_until_end(socket)
    for headers in ({"origin": "https://evil.example"}, {}, {"origin": "null"}):
        assert (await refused(platform, "", cookie=cookie, **headers))[0] == 401
    cross = {"origin": own, "sec-fetch-site": "cross-site"}
    assert (await refused(platform, "", cookie=cookie, **cross))[0] == 401


async def test_a_monitor_ends_with_its_token_and_when_its_caller_speaks(
    platform: RunningPlatform, client: Client
) -> None:
    async with watching(platform, client.token) as socket:
        await socket.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400
    async with watching(platform, client.token) as socket:
        # It is cut while it comes: it is larger than anything that is taken.
        await socket.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_monitor_outlives_its_executor() -> None:
    with running_platform(EXECUTOR_AUTH_CLOCK_SKEW_SECONDS="0") as own:
        client = own.client()
        agent_id = create_agent(client)
        short = own.token(ttl_seconds=15)
        async with watching(own, client.token) as socket, watching(own, short) as dying:
            first = await execute(client, agent_id, "Hi")
            assert (await events_until_end(socket))[-1]["event"]["run_id"] == first
            own.kill("executor")
            await asyncio.to_thread(own.wait_until_serving)
            second = await execute(client, agent_id, "Hi")
            messages = await events_until_end(socket)
            assert {message["event"]["run_id"] for message in messages} == {second}
            async with asyncio.timeout(PATIENCE_SECONDS):
                # Until it is closed, which is not at once.
                with contextlib.suppress(ConnectionClosed):
                    await anext(_nothing_more(dying))
            assert dying.close_code in {4401, 1012}


async def _nothing_more(socket: ClientConnection) -> AsyncIterator[None]:
    """Hears a WebSocket to its end."""
    async for _ in socket:
        pass
    yield

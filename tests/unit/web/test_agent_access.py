from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from agent_executor.web.agent_access import AgentAccess
from agent_executor.web.mcp.sessions import NamedSessions

TOKEN = {"authorization": "Bearer x"}


async def let_in(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("in")(scope, receive, send)


def client_of(access: AgentAccess | NamedSessions) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(access),
        base_url="http://gateway.example",
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (TOKEN, 200),
        ({}, 401),
        ({"authorization": ""}, 401),
        ({**TOKEN, "origin": "http://localhost:3000"}, 200),
        ({**TOKEN, "origin": "http://[::1]:3000"}, 200),
        ({**TOKEN, "origin": "https://App.example"}, 200),
        ({**TOKEN, "origin": "https://app.example.evil"}, 403),
        ({**TOKEN, "origin": "http://gateway.example"}, 403),
        ({**TOKEN, "origin": "http://localhost.evil"}, 403),
        ({**TOKEN, "origin": "http://[::1"}, 403),
        ({**TOKEN, "origin": "null"}, 403),
        ({**TOKEN, "origin": ""}, 403),
    ],
)
async def test_who_is_let_in(headers: dict[str, str], status: int) -> None:
    access = AgentAccess(let_in, ["https://app.example"], max_requests=1)
    async with client_of(access) as client:
        answer = await client.get("/", headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.json().keys() == {"success", "error", "tool_name", "code", "timestamp"}


async def test_only_so_many_are_served_at_once() -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def stay(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        await leave.wait()
        await PlainTextResponse("in")(scope, receive, send)

    async with client_of(AgentAccess(stay, [], max_requests=1)) as client:
        first = asyncio.create_task(client.get("/", headers=TOKEN))
        await inside.wait()
        refused = await client.get("/", headers=TOKEN)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        leave.set()
        assert (await first).status_code == 200
        assert (await client.get("/", headers=TOKEN)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "is_named"),
    [({}, True), ({"mcp-session-id": "a"}, False), ({"mcp-protocol-version": "2026-07-28"}, False)],
)
async def test_a_handshake_gets_a_name_for_its_session(
    headers: dict[str, str], is_named: bool
) -> None:
    async with client_of(NamedSessions(let_in)) as client:
        answer = await client.post("/", headers=headers)
    assert ("mcp-session-id" in answer.headers) is is_named

"""The official clients of the two protocols by which agents call each other, on a platform."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.types import Message, Part, Role, SendMessageConfiguration, SendMessageRequest
from mcp.client.client import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.agents_and_runs import SUM
from tests.platforms import Client as RestClient
from tests.platforms import RunningPlatform

TIMEOUT_SECONDS = 60.0
MCP_HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
}


def url_of(platform: RunningPlatform, path: str = "") -> str:
    return f"http://127.0.0.1:{platform.http_port}{path}"


def bearer(client: RestClient) -> dict[str, str]:
    """Returns the header by which a client shows who it is."""
    assert client.token is not None
    return {"authorization": f"Bearer {client.token}"}


@asynccontextmanager
async def mcp_client(
    platform: RunningPlatform, client: RestClient, mode: str = "auto"
) -> AsyncIterator[McpClient]:
    """Connects an MCP client with the token of a REST client.

    Args:
        platform: Where to.
        client: Whose token it has.
        mode: ``legacy`` begins with a handshake; ``auto`` speaks the newest revision.
    """
    async with (
        httpx2.AsyncClient(headers=bearer(client), timeout=TIMEOUT_SECONDS) as http,
        McpClient(
            streamable_http_client(url_of(platform, "/mcp"), http_client=http), mode=mode
        ) as connected,
    ):
        yield connected


@asynccontextmanager
async def a2a_client(
    platform: RunningPlatform, client: RestClient, agent_id: str, *, streaming: bool = True
) -> AsyncIterator[Client]:
    """Finds an agent by its card and connects to it, with the token of a REST client."""
    async with httpx.AsyncClient(headers=bearer(client), timeout=TIMEOUT_SECONDS) as http:
        base_url = url_of(platform, f"/a2a/agents/{agent_id}")
        card = await A2ACardResolver(http, base_url).get_agent_card()
        yield ClientFactory(ClientConfig(httpx_client=http, streaming=streaming)).create(card)


def asked(
    text: str = SUM, *, return_immediately: bool = False, **fields: Any
) -> SendMessageRequest:
    """Returns the request that asks something of an agent."""
    message = {"message_id": str(uuid.uuid4()), "role": Role.ROLE_USER, "parts": [Part(text=text)]}
    return SendMessageRequest(
        message=Message(**{**message, **fields}),
        configuration=SendMessageConfiguration(return_immediately=return_immediately),
    )


def rpc(method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns a JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}

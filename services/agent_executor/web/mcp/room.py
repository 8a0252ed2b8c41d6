"""Serves `/mcp`, once somebody asks for it."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.routing import Route
from starlette.types import ASGIApp

from agent_executor.web.agent_access import AgentAccess
from agent_executor.web.application import Room
from agent_executor.web.deferred import Deferred
from agent_executor.web.runtime import WebRuntime

PATH: Final = "/mcp"


def room(runtime: WebRuntime) -> Room:
    """Returns the route of the MCP server."""

    async def build() -> ASGIApp:
        await asyncio.to_thread(_load)
        from agent_executor.web.mcp.server import opened

        return await opened(runtime)

    settings = runtime.settings
    served = AgentAccess(Deferred(build), settings.allowed_origins, settings.max_agent_requests)
    # Without streams that wait for nothing (GET), and without sessions to end (DELETE).
    return Room("mcp", [Route(PATH, served, methods=["POST"])])


def _load() -> None:
    # The SDK takes a second to load, which a platform that nobody calls so need not spend.
    import agent_executor.web.mcp.server  # noqa: F401 -- is loaded when it is needed

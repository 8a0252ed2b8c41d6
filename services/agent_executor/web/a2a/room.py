"""Serves `/a2a`, once somebody asks for it."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.routing import Mount
from starlette.types import ASGIApp

from agent_executor.web.agent_access import AgentAccess
from agent_executor.web.application import Room
from agent_executor.web.deferred import Deferred
from agent_executor.web.runtime import WebRuntime

PATH: Final = "/a2a"


def room(runtime: WebRuntime) -> Room:
    """Returns the routes of the agents' cards and tasks."""

    async def build() -> ASGIApp:
        await asyncio.to_thread(_load)
        from agent_executor.web.a2a.server import application

        return application(runtime, PATH)

    settings = runtime.settings
    served = AgentAccess(Deferred(build), settings.allowed_origins, settings.max_agent_requests)
    return Room("a2a", [Mount(PATH, served)])


def _load() -> None:
    # The SDK takes a second to load, which a platform that nobody calls so need not spend.
    import agent_executor.web.a2a.server  # noqa: F401 -- is loaded when it is needed

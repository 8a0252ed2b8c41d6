"""The MCP server: streamable HTTP, without sessions of its own.

Every revision of the protocol that the SDK speaks is served. No request depends on the process
that served the one before, so that any number of processes can stand behind one address.
"""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version
from typing import Any, Final

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import ASGIApp

from agent_executor.web.mcp.agent_tools import AgentTools
from agent_executor.web.mcp.calls_under_way import CallsUnderWay
from agent_executor.web.mcp.sessions import NamedSessions
from agent_executor.web.runtime import WebRuntime

_DISTRIBUTION: Final = "agent-executor"
_INSTRUCTIONS: Final = (
    "Each tool whose name ends with an id is an agent: it does what its description says, with tools"
    " of its own, and answers in text. A call that is answered before the run has ended names the"
    " run; ask get_run for it."
)


async def opened(runtime: WebRuntime) -> ASGIApp:
    """Opens the server, which is closed with the runtime's resources."""
    # The SDK tells of every request.
    logging.getLogger("mcp").setLevel(logging.WARNING)
    calls = CallsUnderWay()
    runtime.resources.push_async_callback(calls.finished)
    manager = StreamableHTTPSessionManager(
        _server(AgentTools(runtime, calls)),
        stateless=True,
        # The origin is checked before, for all protocols in one way.
        security_settings=None,
        max_request_body_size=runtime.settings.request_max_bytes,
    )
    await _run(manager, runtime)
    return NamedSessions(manager.handle_request)


def _server(tools: AgentTools) -> Server[dict[str, Any]]:
    server: Server[dict[str, Any]] = Server(
        _DISTRIBUTION,
        version=version(_DISTRIBUTION),
        title="Agent Executor",
        instructions=_INSTRUCTIONS,
        on_list_tools=tools.list_tools,
        on_call_tool=tools.call_tool,
        # No argument of a tool is repeated in a header, so none has to be looked up.
        get_tool_input_schema=lambda _name: None,
    )
    server.middleware.append(tools.on_message)
    return server


async def _run(manager: StreamableHTTPSessionManager, runtime: WebRuntime) -> None:
    """Runs the manager in a task of its own, for it must end in the task that it began in."""
    is_running, is_over = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with manager.run():
            is_running.set()
            await is_over.wait()

    task = asyncio.create_task(run())

    async def end() -> None:
        is_over.set()
        await task

    runtime.resources.push_async_callback(end)
    await is_running.wait()

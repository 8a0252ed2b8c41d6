"""Serves `/mcp`: streamable HTTP, without sessions of the server's own.

Every revision of the protocol that the SDK speaks is served. No request depends on the process
that served the one before, so that any number of processes can stand behind one address.
"""

from __future__ import annotations

import logging
import uuid
from importlib.metadata import version
from typing import Any, Final

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_executor.web.agent_access import AgentAccess
from agent_executor.web.application import Room
from agent_executor.web.mcp.agent_tools import SESSION_HEADER, AgentTools
from agent_executor.web.mcp.calls_under_way import CallsUnderWay
from agent_executor.web.runtime import WebRuntime

PATH: Final = "/mcp"
_DISTRIBUTION: Final = "agent-executor"
_VERSION_HEADER: Final = "mcp-protocol-version"
_INSTRUCTIONS: Final = (
    "Each tool whose name ends with an id is an agent: it does what its description says, with tools"
    " of its own, and answers in text. A call that is answered before the run has ended names the"
    " run; ask get_run for it."
)


async def room(runtime: WebRuntime) -> Room:
    """Opens the MCP server, which is closed with the runtime's resources."""
    # The SDK tells of every request.
    logging.getLogger("mcp").setLevel(logging.WARNING)
    calls = CallsUnderWay()
    runtime.resources.push_async_callback(calls.finished)
    tools = AgentTools(runtime, calls)
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
    manager = StreamableHTTPSessionManager(
        server,
        stateless=True,
        # The origin is checked below, for all protocols in one way.
        security_settings=None,
        max_request_body_size=runtime.settings.request_max_bytes,
    )
    await runtime.resources.enter_async_context(manager.run())
    served = AgentAccess(
        NamedSessions(manager.handle_request),
        runtime.settings.allowed_origins,
        runtime.settings.max_agent_requests,
    )
    # Without streams that wait for nothing (GET), and without sessions to end (DELETE).
    return Room("mcp", [Route(PATH, served, methods=["POST"])])


class NamedSessions:
    """Gives a client that begins with a handshake a name for its session.

    Args:
        application: What is behind; it gives none itself.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        headers = Headers(scope=scope)

        async def naming_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[SESSION_HEADER] = uuid.uuid4().hex
            await send(message)

        is_first = _VERSION_HEADER not in headers and SESSION_HEADER not in headers
        await self._application(scope, receive, naming_send if is_first else send)

"""Sessions, which are names and nothing else."""

from __future__ import annotations

import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SESSION_HEADER: Final = "mcp-session-id"
_VERSION_HEADER: Final = "mcp-protocol-version"


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

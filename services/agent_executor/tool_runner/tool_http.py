"""The network as a tool sees it: it asks the host, which makes the request under its policy.

Standard library only: the sandbox loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, Protocol

DEFAULT_TIMEOUT_SECONDS: Final = 30


class ToolHttp(Protocol):
    """Makes HTTP requests for a tool."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | str | None = None,
        json: Any = None,
        timeout: int = DEFAULT_TIMEOUT_SECONDS,
        credential: str = "",
    ) -> dict[str, Any]:
        """Makes a request and waits for the response, in the thread of the tool.

        Args:
            method: GET, POST, PUT, DELETE, PATCH, HEAD or OPTIONS.
            url: Its host is an allowed domain of the organization, and its origin one of the
                tool's own.
            headers: Further request headers.
            params: Query parameters, added to those of the URL.
            data: A form, or a body as text.
            json: A body as JSON; not together with ``data``.
            timeout: For the whole request, in seconds.
            credential: The name of a credential that the host attaches; the tool never sees it.

        Returns:
            ``{"status_code", "headers", "body", "url"}`` and so on, as the tool ``http_request``.

        Raises:
            AgentExecutorError: The request was refused or failed; the message says why.
        """
        ...


current_tool_http: Final[ContextVar[ToolHttp | None]] = ContextVar("tool_http", default=None)
"""How the tool that runs at present reaches the network; None if it does not."""

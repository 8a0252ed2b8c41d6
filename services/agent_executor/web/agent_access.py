"""Who may speak to the agents' protocols at all: the checks before `/mcp` and `/a2a`.

What a caller may do is decided by the services. Here is only what they cannot see: where a browser's
page comes from, whether there is a token, and how many requests are served at once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agent_executor.errors import (
    AgentExecutorError,
    LimitExceededError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from agent_executor.web.error_convert import answer_to

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CHALLENGE: Final = 'Bearer realm="agent-executor"'
_RETRY_SECONDS: Final = 1.0


class AgentAccess:
    """Lets a request in, or answers it: 403, 401 or 429, in the platform's error shape.

    A page that a browser was tricked into taking for this server (DNS rebinding) is told by its
    origin: pages of this machine may call, and those of the allowed origins.

    Args:
        application: What is behind.
        allowed_origins: The origins of pages that may call, as ``https://example.com``.
        max_requests: How many requests are served at once, streams among them.
    """

    def __init__(
        self, application: ASGIApp, allowed_origins: Collection[str], max_requests: int
    ) -> None:
        self._application = application
        self._allowed_origins = frozenset(origin.lower() for origin in allowed_origins)
        self._max_requests = max_requests
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        refusal = self._refusal(Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._requests += 1
        try:
            await self._application(scope, receive, send)
        finally:
            self._requests -= 1

    def _refusal(self, headers: Headers) -> Response | None:
        origin = headers.get("origin")
        if origin is not None and not self._is_allowed(origin):
            return _refused(PermissionDeniedError("Pages of this origin may not call the agents."))
        if not headers.get("authorization"):
            answer = _refused(UnauthenticatedError("A bearer token is needed."))
            answer.headers["www-authenticate"] = _CHALLENGE
            return answer
        if self._requests >= self._max_requests:
            return _refused(
                LimitExceededError(
                    "Too many requests are being served.", retry_after_seconds=_RETRY_SECONDS
                )
            )
        return None

    def _is_allowed(self, origin: str) -> bool:
        if origin.lower() in self._allowed_origins:
            return True
        try:
            return urlsplit(origin).hostname in _LOOPBACK
        except ValueError:
            return False


def _refused(error: AgentExecutorError) -> Response:
    return answer_to(error)

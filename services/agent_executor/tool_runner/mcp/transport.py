"""The transport of one conversation with an MCP server: the platform's egress, and a credential.

It remembers what went wrong below the SDK, which tells of it in its own words or not at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, cast

import httpx2

from agent_executor.egress.exchange import AttachedHeader
from agent_executor.egress.headers import request_headers
from agent_executor.egress.kept_transport import KeptEgressTransport
from agent_executor.errors import AgentExecutorError, InvalidArgumentError, LimitExceededError

_METHOD_NOT_ALLOWED: Final = 405
_ERROR: Final = 300
_LAST_EVENT_ID: Final = "last-event-id"


class ConversationTransport(httpx2.AsyncBaseTransport):
    """Sends the SDK's requests to the one origin of a server.

    The stream on which a server could speak first is not opened: nothing that it may ask for is
    granted. A broken answer may be asked for again where it ended.

    Args:
        egress: Sends them, and refuses every other origin.
        attached: Goes with each request; None for nothing.

    Attributes:
        failure: Why the first request or answer failed; None while none has, or once the rest of
            an answer that broke has come after all.
        status_code: Of the last answer to a message if it was no success; else 0.
    """

    def __init__(self, egress: KeptEgressTransport, attached: AttachedHeader | None) -> None:
        self._egress = egress
        self._attached = attached
        self.failure: Exception | None = None
        self.status_code = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends one request; raises as ``KeptEgressTransport``."""
        asks_again = request.method == "GET"
        if asks_again and _LAST_EVENT_ID not in request.headers:
            return httpx2.Response(_METHOD_NOT_ALLOWED, request=request)
        try:
            if self._attached is not None:
                request.headers[self._attached.name] = _checked(self._attached)
            response = await self._egress.handle_async_request(request)
        except (AgentExecutorError, httpx2.HTTPError) as error:
            # Whatever keeps the rest of an answer away, what is answered was sent.
            failure = httpx2.ReadError(str(error)) if asks_again else error
            self.failure = self.failure or failure
            raise failure from None
        if asks_again:
            self.failure = None
        if request.method == "POST":
            self.status_code = response.status_code if response.status_code >= _ERROR else 0
        response.stream = _Watched(cast("httpx2.AsyncByteStream", response.stream), self)
        return response

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._egress.aclose()


class _Watched(httpx2.AsyncByteStream):
    """A body whose failure is remembered."""

    def __init__(self, body: httpx2.AsyncByteStream, transport: ConversationTransport) -> None:
        self._body = body
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body:
                yield chunk
        except (AgentExecutorError, httpx2.HTTPError) as error:
            self._transport.failure = self._transport.failure or error
            raise

    async def aclose(self) -> None:
        await self._body.aclose()


def _checked(attached: AttachedHeader) -> str:
    value = attached.value()
    try:
        request_headers({attached.name: value})
    except (InvalidArgumentError, LimitExceededError):
        # Its own words could show what the header holds.
        raise InvalidArgumentError("The credential cannot be sent in a header.") from None
    return value

"""A transport that keeps its connections, for one origin that is asked again and again.

Every new connection resolves the host and checks all its addresses, as ``EgressTransport`` does
for every request; a connection that is used again still goes to the address that was checked.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final, cast

import httpcore2
import httpx2

from agent_executor.egress.interfaces import own_addresses
from agent_executor.egress.policy import EgressPolicy, denied
from agent_executor.egress.resolver import Resolver, resolve
from agent_executor.egress.transport import (
    CONNECTION_ERRORS,
    CheckedBackend,
    Meter,
    OwnAddresses,
    check_framing,
    connection_failure,
)
from agent_executor.egress.urls import parse_url
from agent_executor.errors import ToolExecutionError

KEPT_CONNECTIONS_MAX: Final = 100
KEPT_SECONDS: Final = 30.0
# What a client asks for in ``accept-encoding``.
IDENTITY: Final = "identity"

_NOT_SENT: Final = (httpcore2.ConnectError, httpcore2.ConnectTimeout, ToolExecutionError)


class KeptEgressTransport(httpx2.AsyncBaseTransport):
    """Sends requests to one origin within a policy, over connections that it keeps.

    It follows no redirect and reads no proxy, ``.netrc`` or other environment. Close it.

    Args:
        base_url: Names the origin; a request to any other is refused.
        policy: Decides on the URL of every request and on the addresses of every connection.
        body_bytes_max: What one response may send after its headers. It is not to be compressed,
            so that this is also its size.
        ssl_context: What certificates are accepted. Default: the system's.
        resolver: Resolves the host, once for each connection.
        own: Tells this host's own addresses.

    Raises:
        InvalidArgumentError: The base URL is not an absolute http or https URL.
    """

    def __init__(
        self,
        base_url: str,
        policy: EgressPolicy,
        *,
        body_bytes_max: int,
        ssl_context: ssl.SSLContext | None = None,
        resolver: Resolver = resolve,
        own: OwnAddresses = own_addresses,
    ) -> None:
        self._target = parse_url(base_url)
        self._policy = policy
        self._body_bytes_max = body_bytes_max
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS_MAX,
            keepalive_expiry=KEPT_SECONDS,
            # How much a response may send is counted for each response, not for each connection.
            network_backend=CheckedBackend(self._target, policy, resolver, own, Meter(sys.maxsize)),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends one request.

        Raises:
            PermissionDeniedError: The policy refuses the URL or one of the host's addresses.
            InvalidArgumentError: The URL or the framing is not what it should be.
            httpx2.ConnectError: There is no connection, so nothing was sent.
            httpx2.ReadError: The connection failed after something was sent.
        """
        target = parse_url(str(request.url))
        if target.origin != self._target.origin:
            raise denied(target.host, "origin", "This client does not call another origin.")
        self._policy.check_target(target)
        check_framing(request, target)
        try:
            response = await self._pool.handle_async_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=target.url.raw_scheme,
                        host=target.url.raw_host,
                        port=target.url.port,
                        target=target.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                )
            )
        except _NOT_SENT as error:
            raise httpx2.ConnectError(_told(error)) from None
        except CONNECTION_ERRORS as error:
            raise httpx2.ReadError(_told(error)) from None
        told = httpx2.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response, self._body_bytes_max),
            request=request,
        )
        if told.headers.get("content-encoding", IDENTITY) != IDENTITY:
            await told.aclose()
            raise httpx2.ReadError("The response is in a coding that was not asked for.")
        return told

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    """The body of a response. Closing it before its end closes its connection.

    As with httpx2's own transport, who stopped reading may go on where it stopped: so SDKs read the
    rest of a stream after its last event, to keep the connection.
    """

    def __init__(self, response: httpcore2.Response, bytes_max: int) -> None:
        self._response = response
        self._bytes_left = bytes_max

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in cast("AsyncIterable[bytes]", self._response.stream):
                self._bytes_left -= len(chunk)
                if self._bytes_left < 0:
                    raise httpx2.ReadError("The response is larger than is allowed.")
                yield chunk
        except CONNECTION_ERRORS as error:
            raise httpx2.ReadError(_told(error)) from None

    async def aclose(self) -> None:
        await self._response.aclose()


def _told(error: Exception) -> str:
    """Returns what may be told of a connection that failed; never where it went."""
    if isinstance(error, ToolExecutionError):
        return error.message
    return connection_failure(error).message

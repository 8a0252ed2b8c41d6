"""The transport under every request: resolves once, checks all answers, connects to those alone.

Below it nothing asks the resolver again, so there is no second answer that could differ, and TLS
and ``Host`` keep the name. Each request has a connection of its own.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, TypeAlias

import httpcore2
import httpx2

from agent_executor.egress.addresses import Address
from agent_executor.egress.interfaces import own_addresses
from agent_executor.egress.policy import ADDRESS_REFUSAL, EgressPolicy, denied
from agent_executor.egress.resolver import Resolver, resolve
from agent_executor.egress.urls import Target, parse_url
from agent_executor.errors import InvalidArgumentError, LimitExceededError, ToolExecutionError

CONNECT_TIMEOUT_SECONDS: Final = 10.0
# Of a name's addresses so many are tried, one after the other; all are checked.
ADDRESSES_TRIED_MAX: Final = 4
# Of a response's status lines and headers, those of provisional responses included.
RESPONSE_HEADER_BYTES_MAX: Final = 65_536
CONNECTION_FAILURE: Final = "The connection to the host failed."

CONNECTION_ERRORS: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    OSError,
)

OwnAddresses: TypeAlias = Callable[[], frozenset[Address]]


class EgressTransport(httpx2.AsyncBaseTransport):
    """Sends requests within a policy; clients of other libraries can be built on it, too.

    It follows no redirect. It reads no proxy, ``.netrc`` or other environment, and connects to
    no Unix socket.

    Args:
        policy: Decides on the URL and on the addresses of every request.
        ssl_context: What certificates are accepted.
        body_bytes_max: What a response may send after its headers, before it is decoded.
        resolver: Resolves names; asked once for each request.
        own: Tells this host's own addresses.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        ssl_context: ssl.SSLContext,
        body_bytes_max: int,
        resolver: Resolver = resolve,
        own: OwnAddresses = own_addresses,
    ) -> None:
        self._policy = policy
        self._ssl_context = ssl_context
        self._body_bytes_max = body_bytes_max
        self._resolver = resolver
        self._own = own

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends one request.

        Raises:
            PermissionDeniedError: The policy refuses the URL or one of the host's addresses.
            InvalidArgumentError: The URL or the framing is not what it should be.
            LimitExceededError: The response's headers are too large.
            ToolExecutionError: The connection failed.
        """
        target = parse_url(str(request.url))
        self._policy.check_target(target)
        check_framing(request, target)
        meter = Meter(RESPONSE_HEADER_BYTES_MAX)
        backend = CheckedBackend(target, self._policy, self._resolver, self._own, meter)
        pool = httpcore2.AsyncConnectionPool(
            ssl_context=self._ssl_context,
            max_connections=1,
            network_backend=backend,
        )
        try:
            # What httpx2 lets a caller put into a request's extensions, another name for TLS or
            # another target, is not passed on.
            response = await pool.handle_async_request(
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
        except CONNECTION_ERRORS as error:
            await pool.aclose()
            raise connection_failure(error) from None
        except BaseException:
            await pool.aclose()
            raise
        meter.bytes_left = self._body_bytes_max
        return httpx2.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response, pool),
            request=request,
        )


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to the checked addresses of one target, and to nothing else."""

    def __init__(
        self,
        target: Target,
        policy: EgressPolicy,
        resolver: Resolver,
        own: OwnAddresses,
        meter: Meter,
    ) -> None:
        self._target = target
        self._policy = policy
        self._resolver = resolver
        self._own = own
        self._sockets = httpcore2.AnyIOBackend()
        self._meter = meter

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connects to the target's host, by an address that was checked just now.

        Raises:
            PermissionDeniedError: It is another host, or has an address that may not be reached.
            ToolExecutionError: It has no address, or none that answers.
        """
        del timeout
        if (host, port) != (self._target.host, self._target.port):
            raise denied(host, "address", ADDRESS_REFUSAL)
        for address in (await self._checked_addresses())[:ADDRESSES_TRIED_MAX]:
            try:
                stream = await self._sockets.connect_tcp(
                    str(address), port, CONNECT_TIMEOUT_SECONDS, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
            return _MeteredStream(stream, self._meter)
        raise ToolExecutionError(CONNECTION_FAILURE)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 -- the library's signature
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuses.

        Raises:
            PermissionDeniedError: Always.
        """
        del path, timeout, socket_options
        raise denied(self._target.host, "address", ADDRESS_REFUSAL)

    async def _checked_addresses(self) -> tuple[Address, ...]:
        target = self._target
        addresses: tuple[Address, ...] = ()
        if target.address is not None:
            addresses = (target.address,)
        else:
            try:
                addresses = tuple(await self._resolver(target.host, target.port))
            except OSError:
                raise ToolExecutionError("The host's name could not be resolved.") from None
        if not addresses:
            raise ToolExecutionError("The host's name could not be resolved.")
        self._policy.check_addresses(target, addresses, self._own())
        return addresses


class Meter:
    """How much a connection may still receive."""

    def __init__(self, bytes_left: int) -> None:
        self.bytes_left = bytes_left


class _MeteredStream(httpcore2.AsyncNetworkStream):
    """A connection that receives only as much as its meter allows."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 -- the library's signature
        if self._meter.bytes_left <= 0:
            raise LimitExceededError("The response has more headers or framing than is allowed.")
        data = await self._stream.read(min(max_bytes, self._meter.bytes_left), timeout)
        self._meter.bytes_left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 -- the library's signature
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 -- the library's signature
    ) -> httpcore2.AsyncNetworkStream:
        del timeout
        try:
            stream = await self._stream.start_tls(
                ssl_context, server_hostname, CONNECT_TIMEOUT_SECONDS
            )
        except BaseException:
            # The library closes it after errors, but not when the handshake is cancelled.
            await self._stream.aclose()
            raise
        return _MeteredStream(stream, self._meter)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _Body(httpx2.AsyncByteStream):
    """The body of a response; closing it closes the connection."""

    def __init__(self, response: httpcore2.Response, pool: httpcore2.AsyncConnectionPool) -> None:
        self._response = response
        self._pool = pool

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_stream():
                yield chunk
        except CONNECTION_ERRORS as error:
            raise connection_failure(error) from None

    async def aclose(self) -> None:
        try:
            await self._response.aclose()
        finally:
            await self._pool.aclose()


def check_framing(request: httpx2.Request, target: Target) -> None:
    """Raises unless ``Host`` is the URL's and the length of the body is told in one way.

    Raises:
        InvalidArgumentError: It is not so.
    """
    names = [name.lower() for name, _ in request.headers.raw]
    if request.headers.get("host", "").encode() != target.url.netloc or names.count(b"host") != 1:
        raise InvalidArgumentError("The header Host is not the host of the URL.")
    if names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
        raise InvalidArgumentError("The length of the body is told twice.")


def connection_failure(error: Exception) -> ToolExecutionError:
    """Returns what may be told of a connection that failed; never where it went."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ToolExecutionError("The host's certificate could not be verified.")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore2.ProtocolError):
        return ToolExecutionError("The host broke the connection off or does not speak HTTP.")
    return ToolExecutionError(CONNECTION_FAILURE)

"""Sends a request to the outside and follows its redirects, each under the whole policy again."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Final

import httpcore2
import httpx2

from agent_executor.egress.body import ACCEPT_ENCODING, read_body
from agent_executor.egress.exchange import (
    REDIRECTS_MAX,
    REQUEST_BYTES_MAX,
    AttachedHeader,
    EgressRequest,
    EgressResponse,
)
from agent_executor.egress.headers import (
    RESPONSE_HEADERS_MAX,
    request_headers,
    shown_headers,
)
from agent_executor.egress.interfaces import own_addresses
from agent_executor.egress.policy import EgressPolicy, denied
from agent_executor.egress.redirects import REDIRECTS, Step, next_step
from agent_executor.egress.resolver import Resolver, resolve
from agent_executor.egress.transport import EgressTransport, OwnAddresses
from agent_executor.egress.urls import Target, parse_url
from agent_executor.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    LimitExceededError,
    ToolExecutionError,
)

USER_AGENT: Final = "agent-executor"
# Chunks, their extensions and codings may make a body larger on the wire than it is; a body that
# is this much larger, or has sent this much without saying anything, is refused.
_WIRE_FACTOR: Final = 8
_WIRE_BYTES_MIN: Final = 262_144
_SWITCHING_PROTOCOLS: Final = 101


class EgressClient:
    """Makes requests; each has connections of its own, and nothing is kept between them.

    It may be used from several event loops.

    Args:
        ssl_context: The certificates that are accepted. Default: the system's.
        resolver: Resolves names. Default: the system's.
        own: Tells this host's own addresses. Default: those of its interfaces.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        resolver: Resolver = resolve,
        own: OwnAddresses = own_addresses,
    ) -> None:
        self._given_ssl_context = ssl_context
        self._resolver = resolver
        self._own = own

    async def request(
        self,
        request: EgressRequest,
        policy: EgressPolicy,
        *,
        attached: AttachedHeader | None = None,
    ) -> EgressResponse:
        """Sends a request and reads the response, whatever its status.

        Args:
            request: What to send.
            policy: Where it and its redirects may go.
            attached: A header that goes to its own origins only.

        Raises:
            InvalidArgumentError: The URL or a header is none that can be sent.
            PermissionDeniedError: The policy refuses the host, or the one of a redirect.
            LimitExceededError: Too many redirects, or a request or headers that are too large.
            DeadlineExceededError: It took too long.
            ToolExecutionError: The host could not be resolved or reached, or broke off.
            UnavailableError: Too many names are being resolved.
        """
        if len(request.content or b"") > REQUEST_BYTES_MAX:
            raise LimitExceededError(f"A request has at most {REQUEST_BYTES_MAX} bytes.")
        if not 0 <= request.max_redirects <= REDIRECTS_MAX:
            raise InvalidArgumentError(f"max_redirects is from 0 to {REDIRECTS_MAX}.")
        headers = request_headers(request.headers)
        target = parse_url(request.url, request.params)
        timeout = asyncio.timeout(request.timeout_seconds)
        try:
            async with timeout:
                step = Step(request.method, target, headers, request.content)
                return await self._follow(step, request, policy, attached)
        except TimeoutError:
            if not timeout.expired():
                raise ToolExecutionError("The connection to the host failed.") from None
            raise DeadlineExceededError(
                f"The request was not complete within {request.timeout_seconds:g} s."
            ) from None

    async def _follow(
        self,
        step: Step,
        request: EgressRequest,
        policy: EgressPolicy,
        attached: AttachedHeader | None,
    ) -> EgressResponse:
        passed: list[str] = []
        while True:
            async with self._exchange(step, request, policy, attached) as response:
                location = _location(response) if request.follow_redirects else None
                if location is None:
                    return await _read(response, step.target, request.response_bytes_max, passed)
            if len(passed) >= request.max_redirects:
                raise LimitExceededError(
                    f"The request was redirected more than {request.max_redirects} times."
                )
            passed.append(str(step.target.url))
            step = next_step(step, response.status_code, location)

    @asynccontextmanager
    async def _exchange(
        self,
        step: Step,
        request: EgressRequest,
        policy: EgressPolicy,
        attached: AttachedHeader | None,
    ) -> AsyncIterator[httpx2.Response]:
        transport = EgressTransport(
            policy,
            ssl_context=self._ssl_context if request.verify_ssl else self._unverified,
            body_bytes_max=max(request.response_bytes_max * _WIRE_FACTOR, _WIRE_BYTES_MIN),
            resolver=self._resolver,
            own=self._own,
        )
        headers = {"accept": "*/*", "user-agent": USER_AGENT, **step.headers}
        headers["accept-encoding"] = ACCEPT_ENCODING
        # We keep no connection, and say so.
        headers["connection"] = "close"
        if attached is not None and step.target.origin in attached.origins:
            headers[attached.name] = _attached_value(attached, step.target, request.verify_ssl)
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        response = await transport.handle_async_request(
            httpx2.Request(step.method, step.target.url, headers=encoded, content=step.content)
        )
        try:
            if len(response.headers.raw) > RESPONSE_HEADERS_MAX:
                raise LimitExceededError(
                    f"The response has more than {RESPONSE_HEADERS_MAX} headers."
                )
            if response.status_code == _SWITCHING_PROTOCOLS:
                raise ToolExecutionError("The host changed to a protocol that was not asked for.")
            yield response
        finally:
            await response.aclose()

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return self._given_ssl_context or httpcore2.default_ssl_context()

    @cached_property
    def _unverified(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


def _attached_value(attached: AttachedHeader, target: Target, verify_ssl: bool) -> str:
    if not verify_ssl:
        raise denied(
            target.host, "verify_ssl", "A credential is not sent to a host that is not verified."
        )
    value = attached.value()
    try:
        request_headers({attached.name: value})
    except (InvalidArgumentError, LimitExceededError):
        raise ToolExecutionError("The credential cannot be sent in a header.") from None
    return value


def _location(response: httpx2.Response) -> str | None:
    """Returns where a response leads on to, or None if it is the last one."""
    if response.status_code not in REDIRECTS:
        return None
    values = [value for name, value in response.headers.raw if name.lower() == b"location"]
    if len(values) != 1:
        return None
    try:
        return values[0].decode()
    except UnicodeDecodeError:
        return values[0].decode("latin-1")


async def _read(
    response: httpx2.Response, target: Target, bytes_max: int, passed: list[str]
) -> EgressResponse:
    coding = response.headers.get("content-encoding", "")
    body, truncated = await read_body(response.stream, coding, bytes_max)  # type: ignore[arg-type]  # our transport's streams are asynchronous
    return EgressResponse(
        status_code=response.status_code,
        headers=shown_headers(response.headers.raw),
        body=body,
        url=str(target.url),
        truncated=truncated,
        redirects=tuple(passed),
    )

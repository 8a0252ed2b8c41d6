"""The HTTP server of the web process: starts, serves until told to stop, and stops in order.

Stopping: readiness is refused and streams end, requests are accepted a little longer so that the
gateway notices, then those under way get their grace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import Response
from websockets.server import ServerProtocol

from agent_executor.serving.startup import StartupError
from agent_executor.web.error_convert import error_body
from agent_executor.web.settings import WebSettings

_BACKLOG: Final = 2048
_KEEPALIVE_SECONDS: Final = 75
_WEBSOCKET_MESSAGE_BYTES: Final = 1024
# How often it is asked whether a WebSocket's caller is there, and how long its answer may take: it
# comes after whatever is on its way to a caller that reads slowly.
_PING_SECONDS: Final = 20.0
_PONG_SECONDS: Final = 60.0
_TOO_LARGE: Final = (
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
)

_LOGGER = logging.getLogger(__name__)


class _Handshake(ServerProtocol):
    """A WebSocket's protocol, which refuses in the shape that every error has."""

    def reject(self, status: HTTPStatus | int, text: str) -> Response:
        """Returns the answer to a request that cannot become a WebSocket."""
        answer = super().reject(status, text)
        code = "LIMIT_EXCEEDED" if status in _TOO_LARGE else "INVALID_ARGUMENT"
        answer.body = json.dumps(error_body(code, text.strip())).encode()
        for name, value in (
            ("Content-Length", str(len(answer.body))),
            ("Content-Type", "application/json"),
        ):
            del answer.headers[name]
            answer.headers[name] = value
        return answer


class _WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket that hears its caller only as long as that one takes what it is sent.

    Else the answers to its pings would pile up. A caller that takes nothing is cut off, and not waited
    for. One that is refused is no error, as it is for its base, which logs it as one.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _Handshake(max_size=config.ws_max_size, logger=self.conn.logger)

    def data_received(self, data: bytes) -> None:
        """Takes what came, and answers a request that is none: its base would let it wait."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.handshake_complete = self.close_sent = True
            answer = (
                b"".join(self.conn.data_to_send())
                or self.conn.reject(
                    HTTPStatus.BAD_REQUEST, "This is no request for a WebSocket."
                ).serialize()
            )
            self.transport.write(answer)
            self.transport.close()

    async def run_asgi(self) -> None:
        """Serves it to its end."""
        await super().run_asgi()
        if not self.writable.is_set():
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """Is called when a caller was asked whether it is there, and has not answered in time."""
        super().keepalive_timeout()
        self.transport.abort()

    async def send(self, message: ASGISendEvent) -> None:
        """Sends what the application says."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True

    def pause_writing(self) -> None:
        """Is called when enough is on its way to the caller."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Is called when the caller has taken it."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()


class _Server(uvicorn.Server):
    """A server whose signals are somebody else's, and that says when it is started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_started = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts."""
        await super().startup(sockets)
        self.is_started.set()


@asynccontextmanager
async def served(
    application: ASGIApp, settings: WebSettings, begin_to_stop: Callable[[], None]
) -> AsyncIterator[int]:
    """Serves the application, yields the port, and drains it at the end.

    Args:
        application: What is served.
        settings: Where it is served and how it is stopped.
        begin_to_stop: Is called when it is to stop.

    Raises:
        StartupError: The port is taken or may not be used.
    """
    config = uvicorn.Config(
        application,
        loop="none",
        lifespan="off",
        ws=_WebSocket,
        # The monitor takes no messages; this is room for the frame that closes it.
        ws_max_size=_WEBSOCKET_MESSAGE_BYTES,
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PONG_SECONDS,
        # It would keep some hundred kilobytes for each.
        ws_per_message_deflate=False,
        # Every record goes to the logs of the process; what was asked is in the gateway's.
        log_config=None,
        # When it starts and stops is said here, in the words of every process.
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        # The gateway sits in front, and what it says of its caller is not used here.
        proxy_headers=False,
        # Longer than the gateway keeps a connection, or a request could meet a closing one.
        timeout_keep_alive=_KEEPALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_grace_seconds),
    )
    with _bound(settings.host, settings.http_port) as listening:
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        started = asyncio.create_task(server.is_started.wait())
        try:
            await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
            port: int = listening.getsockname()[1]
            _LOGGER.info("serving HTTP on %s:%d", settings.host, port)
            yield port
            begin_to_stop()
            await asyncio.sleep(settings.drain_seconds)
        finally:
            started.cancel()
            server.should_exit = True
            await serving


def _bound(host: str, port: int) -> socket.socket:
    """Binds the port.

    Raises:
        StartupError: It is taken or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartupError(f"HTTP cannot be served on {host}:{port}: {reason}.") from error

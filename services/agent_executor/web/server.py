"""The HTTP server of the web process: starts, serves until told to stop, and stops in order.

Stopping: readiness is refused and streams end, requests are accepted a little longer so that the
gateway notices, then those under way get their grace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from agent_executor.serving.startup import StartupError
from agent_executor.web.settings import WebSettings

_BACKLOG: Final = 2048
_KEEPALIVE_SECONDS: Final = 75

_LOGGER = logging.getLogger(__name__)


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
        ws="none",
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

"""A small HTTP/1.1 server that can also do what a good one never does: break off, and go silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, TypeAlias

import h11
import msgspec

from agent_executor.executor.models.mock_http.request import REQUEST_BYTES_MAX

_READ_BYTES: Final = 65_536


class Exchange:
    """One request, and the answer to it.

    Attributes:
        method: The method.
        path: The path, without the query.
        query: The query.
        headers: By name in lower case.
        body: The whole body.
        has_started: Whether anything was answered.
        was_aborted: Whether the connection was broken off on purpose.
    """

    def __init__(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, request: h11.Request
    ) -> None:
        self._connection = connection
        self._writer = writer
        self.method = request.method.decode()
        self.path, _, self.query = request.target.decode("latin-1").partition("?")
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers
        }
        self.body = b""
        self.has_started = False
        self.was_aborted = False

    async def answer(self, status_code: int, body: Any, headers: Mapping[str, str]) -> None:
        """Sends an answer of JSON."""
        content = msgspec.json.encode(body)
        length = {"content-type": "application/json", "content-length": str(len(content))}
        await self._start(status_code, {**length, **headers})
        await self._send(h11.Data(data=content))
        await self.end()

    async def answer_lines(self, lines: Iterable[Any], headers: Mapping[str, str]) -> None:
        """Sends an answer of JSON Lines."""
        await self._start(200, {"content-type": "application/x-jsonl", **headers})
        for line in lines:
            await self.send(msgspec.json.encode(line) + b"\n")
        await self.end()

    async def start_events(self, headers: Mapping[str, str]) -> None:
        """Begins an answer that is a stream of events."""
        await self._start(200, {"content-type": "text/event-stream; charset=utf-8", **headers})

    async def send(self, chunk: bytes) -> None:
        """Sends a part of the stream."""
        await self._send(h11.Data(data=chunk))

    async def end(self) -> None:
        """Ends the answer."""
        await self._send(h11.EndOfMessage())

    def abort(self) -> None:
        """Breaks the connection off."""
        self.was_aborted = True
        self._writer.close()

    async def _start(self, status_code: int, headers: Mapping[str, str]) -> None:
        self.has_started = True
        await self._send(h11.Response(status_code=status_code, headers=list(headers.items())))

    async def _send(self, event: h11.Event) -> None:
        data = self._connection.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()


# Called once for each request; cancelled when the caller goes away before the end of the answer.
Handler: TypeAlias = Callable[[Exchange], Coroutine[None, None, None]]


class HttpServer:
    """Serves HTTP/1.1 on one address, and keeps connections.

    Args:
        handler: Answers the requests.

    Attributes:
        connections: How many were accepted so far.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    @property
    def connected(self) -> frozenset[asyncio.Task[None]]:
        """The tasks of the connections that are open."""
        return frozenset(self._tasks)

    async def start(self, host: str, port: int) -> int:
        """Begins to listen, and returns the port: 0 takes a free one.

        Raises:
            OSError: The address cannot be listened on.
        """
        self._server = await asyncio.start_server(self._accepted, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stops listening and breaks every connection off."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._serve_one(connection, reader, writer):
                connection.start_next_cycle()
        except (h11.ProtocolError, OSError):
            # The caller broke off or does not speak HTTP.
            return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve_one(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Serves one request, and tells whether another may follow."""
        exchange = await _next_exchange(connection, reader, writer)
        if exchange is None:
            return False
        handling = asyncio.create_task(self._handler(exchange))
        try:
            await _while_connected(handling, connection, reader)
        finally:
            handling.cancel()
            await asyncio.wait({handling})
        if handling.cancelled() or exchange.was_aborted:
            return False
        handling.result()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _next_exchange(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Exchange | None:
    """Reads a request whole; None if there is none any more."""
    exchange: Exchange | None = None
    parts: list[bytes] = []
    size = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            exchange = Exchange(connection, writer, event)
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > REQUEST_BYTES_MAX + _READ_BYTES:
                return None
            parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage) and exchange is not None:
            exchange.body = b"".join(parts)
            return exchange
        else:
            return None


async def _while_connected(
    handling: asyncio.Future[None], connection: h11.Connection, reader: asyncio.StreamReader
) -> None:
    """Waits until the request is answered or the caller is gone."""
    while not handling.done():
        reading = asyncio.create_task(reader.read(_READ_BYTES))
        either: set[asyncio.Future[Any]] = {handling, reading}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            await asyncio.wait({reading})
        if reading.done() and not reading.cancelled():
            data = reading.result()
            connection.receive_data(data)
            if not data:
                return

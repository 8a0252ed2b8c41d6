"""Clients that ask for too much, too often, or too slowly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.security.gateway import http2_frames as h2

HOST = "127.0.0.1"
BATCH = 200
# How soon the gateway ends the connection of who sends nothing but trouble.
ENOUGH_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Target:
    """What is attacked.

    Attributes:
        port: The gateway's.
        token: A good one: an attacker may well be a customer.
        full: Whether the attack has its full size.
    """

    port: int
    token: str
    full: bool

    def size(self, small: int, large: int) -> int:
        """Returns how much of something is sent."""
        return large if self.full else small


@asynccontextmanager
async def connection(
    target: Target,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Opens a connection and cuts it."""
    reader, writer = await asyncio.open_connection(HOST, target.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def read_to_end(reader: asyncio.StreamReader, *, timeout_seconds: float = 10) -> bytes:
    """Reads until the gateway ends the connection; TimeoutError if it does not."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(timeout_seconds):
            while data := await reader.read(65_536):
                received += data
    return bytes(received)


async def flood(target: Target, begin: bytes, repeated: Callable[[int], bytes], count: int) -> bool:
    """Sends something so often, or until the gateway has had enough.

    Returns:
        Whether the gateway ended the connection, at the latest when it had seen all.
    """
    async with connection(target) as (reader, writer):
        # What comes back must be read, or the flood would stop for lack of room.
        reading = asyncio.create_task(read_to_end(reader, timeout_seconds=60))
        writer.write(begin)
        with contextlib.suppress(ConnectionError):
            for first in range(0, count, BATCH):
                if reading.done():
                    break
                writer.write(b"".join(repeated(number) for number in range(first, first + BATCH)))
                await writer.drain()
                # Draining does not wait while there is room; others have their turn all the same.
                await asyncio.sleep(0)
        await asyncio.wait([reading], timeout=ENOUGH_SECONDS)
        is_ended = reading.done()
        reading.cancel()
        await asyncio.wait([reading])
    return is_ended


async def idle_connections(target: Target) -> None:
    """Opens connections on which nothing is ever asked."""
    async with AsyncExitStack() as stack:
        for _ in range(target.size(500, 10_000)):
            await stack.enter_async_context(connection(target))
        await asyncio.sleep(target.size(1, 10) / 4)


async def slow_headers(target: Target) -> None:
    """Sends headers byte by byte, on many connections."""
    await _slowly(target, b"GET /api/v1/agents/a HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 100)


async def slow_bodies(target: Target) -> None:
    """Sends bodies byte by byte, on many connections."""
    auth = f"Authorization: Bearer {target.token}\r\n".encode()
    head = b"POST /api/v1/agents HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n" + auth + b"\r\n"
    await _slowly(target, b'{"name": "' + b"x" * 900, head)


async def _slowly(target: Target, dripped: bytes, begin: bytes = b"") -> None:
    async def drip() -> bytes:
        async with connection(target) as (reader, writer):
            writer.write(begin)
            reading = asyncio.create_task(read_to_end(reader))
            for number in range(len(dripped)):
                writer.write(dripped[number : number + 1])
                await asyncio.wait([reading], timeout=0.1)
                if reading.done():
                    break
            return await reading

    count = target.size(50, 1000)
    answers = await asyncio.gather(*(drip() for _ in range(count)))
    # The gateway has ended them all, with an answer of its own.
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}, answers


async def slow_readers(target: Target) -> None:
    """Asks for large answers and reads none of them."""
    asked = f"GET /api/v1/agents/large HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {target.token}\r\n\r\n"
    async with AsyncExitStack() as stack:
        for _ in range(target.size(10, 100)):
            _, writer = await stack.enter_async_context(connection(target))
            writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport has it
            writer.write(asked.encode())
        await asyncio.sleep(target.size(2, 20) / 4)


async def rapid_resets(target: Target) -> None:
    """Opens streams and resets them at once."""
    headers = h2.request("/api/v1/agents/slow", target.token)

    def opened_and_reset(number: int) -> bytes:
        stream = 2 * number + 1
        return h2.opened(stream, headers) + h2.frame(h2.RST_STREAM, 0, stream, h2.CANCEL)

    count = target.size(20_000, 200_000)
    assert await flood(target, h2.hello(), opened_and_reset, count), "the connection was not ended"


async def stream_flood(target: Target) -> None:
    """Opens as many streams as there is room for, none of which ends."""
    headers = h2.request("/api/v1/agents/slow", target.token)
    begin = h2.hello()
    count = target.size(800, 5_000)
    await flood(target, begin, lambda number: h2.opened(2 * number + 1, headers), count)


async def ping_flood(target: Target) -> None:
    """Asks for answers that cost nothing to ask for, and reads none."""
    await _unread(target, h2.frame(h2.PING, payload=b"12345678"))


async def settings_flood(target: Target) -> None:
    """Changes its settings all the time."""
    await _unread(target, h2.frame(h2.SETTINGS, payload=b"\0\4\0\0\xff\xff"))


async def _unread(target: Target, repeated: bytes) -> None:
    async with connection(target) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a socket's transport has it
        writer.write(h2.hello())
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(5):
                for _ in range(target.size(100, 1_000)):
                    writer.write(repeated * BATCH)
                    await writer.drain()


async def empty_data_flood(target: Target) -> None:
    """Sends data frames without data."""
    begin = h2.hello() + h2.opened(1, h2.request("/api/v1/agents", target.token, "POST"), 4)
    count = target.size(20_000, 200_000)
    assert await flood(target, begin, lambda _: h2.frame(h2.DATA, 0, 1), count), (
        "the connection was not ended"
    )


async def continuation_flood(target: Target) -> None:
    """Begins headers that never end."""
    begin = h2.hello() + h2.frame(h2.HEADERS, 0, 1, h2.encoded([(":method", "GET")]))
    more = h2.frame(h2.CONTINUATION, 0, 1, h2.encoded([("x-a", "b" * 1000)]))
    count = target.size(20_000, 100_000)
    assert await flood(target, begin, lambda _: more, count), "the connection was not ended"


async def large_and_deep_bodies(target: Target) -> None:
    """Sends bodies that are costly to read, of a mebibyte each."""
    size = 1 << 20
    bodies = (
        b"[" * size,
        b'{"a":' * (size // 5),
        b'{"input_schema":{' + b",".join(b'"%x":0' % n for n in range(size // 10)) + b"}}",
        b'{"input_schema":{"a":[' + b"0," * (size // 2 - 20) + b"0]}}",
        b'{"input_schema":{"a":[' + b"[]," * (size // 3 - 20) + b"0]}}",
        b'{"name":"' + b'\\"' * (size // 2 - 10) + b'"}',
        b'{"name":"' + b"\\" * (size - 20),
        b'{"' + b"\\u0061" * (size // 6) + b'":1}',
        b'{"input_schema":{"' + b"x" * 900_000 + b'1":0,"' + b"x" * 100_000 + b'2":0}}',
        b" " * size + b"{}",
        b"1" * size,
    )
    for body in bodies * 5 if target.full else bodies[1::3]:
        head = (
            f"POST /api/v1/tools HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {target.token}\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        async with connection(target) as (reader, writer):
            writer.write(head.encode() + body)
            answer = await read_to_end(reader)
        # Those that are right get as far as the service, which has no such method here.
        assert answer[:12] in {
            b"HTTP/1.1 400",
            b"HTTP/1.1 413",
            b"HTTP/1.1 404",
            b"HTTP/1.1 501",
        }, (
            body[:40],
            answer,
        )


FLOODS: tuple[Callable[[Target], Awaitable[None]], ...] = (
    idle_connections,
    slow_headers,
    slow_bodies,
    slow_readers,
    rapid_resets,
    stream_flood,
    ping_flood,
    settings_flood,
    empty_data_flood,
    continuation_flood,
    large_and_deep_bodies,
)

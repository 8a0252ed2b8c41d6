"""A small HTTP/1.1 load generator: so many connections, each sending its next request at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load came to; latencies in seconds, sorted."""

    requests: int
    failures: int
    elapsed_seconds: float
    latencies_seconds: list[float]

    def percentile_ms(self, percent: float) -> float:
        """Returns a percentile of the latencies, in milliseconds."""
        index = min(len(self.latencies_seconds) - 1, int(self.requests * percent / 100))
        return 1000 * self.latencies_seconds[index]


class _Connection(asyncio.Protocol):
    """One connection. The next request goes out as soon as an answer is complete."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A TCP connection's transport can be written to; uvloop's is of no class that says so.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._received = b""
        is_good = head.startswith(b"HTTP/1.1 200") and self._load.expected in body
        self._load.count(time.perf_counter() - self._sent_at, is_good=is_good)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._load.lost()

    def _send(self) -> None:
        if not self._load.take():
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._load.request)


class Load:
    """So many equal requests over so many connections."""

    def __init__(self, request: bytes, expected: bytes, requests: int) -> None:
        self.request = request
        self.expected = expected
        self._left = requests
        self._latencies: list[float] = []
        self._failures = 0
        self._open = 0
        self._done = asyncio.Event()

    async def run(self, port: int, connections: int) -> LoadResult:
        """Sends the requests to a port of this machine and waits for all answers."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        self._open = connections
        for _ in range(connections):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
        await self._done.wait()
        elapsed = time.perf_counter() - started
        return LoadResult(len(self._latencies), self._failures, elapsed, sorted(self._latencies))

    def take(self) -> bool:
        """Returns whether one more request is to be sent."""
        self._left -= 1
        return self._left >= 0

    def count(self, latency_seconds: float, *, is_good: bool) -> None:
        """Counts an answer."""
        self._latencies.append(latency_seconds)
        self._failures += not is_good

    def lost(self) -> None:
        """Counts the end of a connection."""
        self._open -= 1
        if not self._open:
            self._done.set()


def post(path: str, token: str, body: bytes) -> bytes:
    """Returns a POST request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body

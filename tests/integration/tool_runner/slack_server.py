"""A server on loopback that speaks Slack's Web API, as a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class SlackRequest:
    """A request, as the server got it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class SlackServer:
    """What the server answers and has got.

    Attributes:
        status: Of the HTTP response.
        answer: Its body; a text is sent as it is.
        headers: Further headers of the response.
        behaviour: ``answer``; ``hang``: it never answers; ``cut``: it closes the connection
            instead; ``half``: after half of the answer; ``drip``: a byte at a time, for ever.
    """

    status: int = 200
    answer: Any = field(default_factory=lambda: {"ok": True, "channel": "C0123456789", "ts": "1.2"})
    headers: dict[str, str] = field(default_factory=dict)
    behaviour: str = "answer"
    url: str = ""
    requests: list[SlackRequest] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        headers = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in lines if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(SlackRequest(first.split()[1], headers, json.loads(body or b"{}")))
        self.arrived.set()
        text = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        content = text.encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        response = (
            f"HTTP/1.1 {self.status} Whatever\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(content)}\r\n{more}\r\n"
        ).encode()
        if self.behaviour == "cut":
            return
        if self.behaviour == "half":
            writer.write(response + content[: len(content) // 2])
            await writer.drain()
            return
        if self.behaviour == "drip":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.02)
        if self.behaviour in {"hang", "drip"}:
            await reader.read()
            self.gone.set()
            return
        writer.write(response + content)
        await writer.drain()


@contextlib.asynccontextmanager
async def running(server: SlackServer) -> AsyncIterator[SlackServer]:
    """Serves on a free port."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await server.serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            server.gone.set()
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/api/"
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()

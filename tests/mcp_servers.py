"""MCP servers on loopback: a real one, made with the official SDK, and ones that mean ill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Image
from mcp.types import CallToolResult, TextContent, ToolAnnotations

HOST = "localhost"
WAIT_SECONDS = 30.0
MODERN_VERSION = "2026-07-28"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class McpRequest:
    """A request as it came; the names of its headers are in lower case."""

    method: str
    headers: dict[str, str]
    message: dict[str, Any]


@dataclass
class RunningMcpServer:
    """A server that runs, and what it has got.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        app: What answers; it may be replaced.
        is_old: Whether it speaks the versions with a handshake only.
        started: Is set when the tool ``slow`` begins.
        cancelled: Is set when the tool ``slow`` is cancelled.
    """

    port: int
    app: App
    is_old: bool = False
    requests: list[McpRequest] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Its endpoint, by name."""
        return f"http://{HOST}:{self.port}/mcp"

    @property
    def origin(self) -> str:
        """Its origin, by name."""
        return f"http://{HOST}:{self.port}"

    def messages(self, method: str) -> list[dict[str, Any]]:
        """Returns the messages of a method so far."""
        return [each.message for each in self.requests if each.message.get("method") == method]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Notes a request and lets the app answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = await _body(receive) if scope["method"] == "POST" else b""
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        message = json.loads(body) if body else {}
        self.requests.append(McpRequest(scope["method"], headers, message))
        if self.is_old and headers.get("mcp-protocol-version") == MODERN_VERSION:
            await answer(send, 400, b"")
            return
        await self.app(scope, _again(body, receive), send)


def weather_server(state: RunningMcpServer) -> MCPServer:
    """Returns a real server with tools of all kinds."""
    server = MCPServer(name="weather-service", title="Weather", version="1", log_level="CRITICAL")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def forecast(city: str = "Paris") -> dict[str, Any]:
        """Forecasts the weather of a city."""
        return {"city": city, "degrees": 21}

    @server.tool(annotations=ToolAnnotations(idempotent_hint=True))
    def mark(city: str = "Paris") -> str:
        """Marks a city."""
        return f"Marked {city}."

    @server.tool()
    def fail() -> CallToolResult:
        """Fails."""
        return CallToolResult(content=[TextContent(text="no such city")], is_error=True)

    @server.tool(structured_output=False)
    def picture() -> list[Any]:
        """Shows a picture."""
        return ["Here it is.", Image(data=b"\x89PNG" * 100, format="png")]

    @server.tool()
    def large(characters: int = 10) -> str:
        """Says much."""
        return "x" * characters

    @server.tool()
    async def slow() -> str:
        """Takes its time."""
        state.started.set()
        try:
            await asyncio.sleep(WAIT_SECONDS)
        except asyncio.CancelledError:
            state.cancelled.set()
            raise
        return "late"

    return server


@contextlib.contextmanager
def running_mcp_server(
    app: App | None = None, *, is_old: bool = False
) -> Iterator[RunningMcpServer]:
    """Serves an app, or the real server, in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    state = RunningMcpServer(listener.getsockname()[1], app or _no_app, is_old=is_old)
    if app is None:
        state.app = weather_server(state).streamable_http_app()
    lifespan: Literal["on", "off"] = "on" if app is None else "off"
    config = uvicorn.Config(
        state,
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        ws="none",
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # a thread gets none
    thread = threading.Thread(target=lambda: server.run([listener]), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


async def answer(
    send: Send, status: int, body: bytes, content_type: str = "application/json", **headers: str
) -> None:
    """Answers a request at once."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-type", content_type.encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def answer_message(send: Send, request: dict[str, Any], result: dict[str, Any]) -> None:
    """Answers a JSON-RPC request with a result."""
    message = {"jsonrpc": "2.0", "id": request.get("id"), "result": result}
    await answer(send, 200, json.dumps(message).encode())


async def _no_app(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await answer(send, 404, b"")


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        event = await receive()
        body += bytes(event.get("body", b""))
        if not event.get("more_body", False):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, and then what else comes."""
    is_first = True

    async def received() -> MutableMapping[str, Any]:
        nonlocal is_first
        if is_first:
            is_first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return received

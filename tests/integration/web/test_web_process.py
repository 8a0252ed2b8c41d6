"""The web process with a real server: what all of its rooms have in common."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from agent_executor.api.executor.v1 import agent_service_pb2, agent_service_pb2_grpc
from agent_executor.error_status import to_status
from agent_executor.errors import (
    AgentNotFoundError,
    RateLimitExceededError,
    UnauthenticatedError,
)
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.startup import StartupError
from agent_executor.serving.telemetry import configure_telemetry
from agent_executor.web.application import READINESS_PATH, Room, application
from agent_executor.web.bootstrap import started
from agent_executor.web.runtime import WebRuntime
from agent_executor.web.server import served
from agent_executor.web.services_grpc import Services, call_metadata
from agent_executor.web.settings import WebSettings

SETTINGS = WebSettings(drain_seconds=0, shutdown_grace_seconds=1, request_max_bytes=1024)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Web:
    """A running application with the routes of a test."""

    port: int
    runtime: WebRuntime

    async def call(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> Answer:
        return await asyncio.to_thread(self._call, path, method, body, headers)

    def _call(self, path: str, method: str, body: Any, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(
                method, path, body, headers, encode_chunked=isinstance(body, Iterator)
            )
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()


class AgentServicer(agent_service_pb2_grpc.AgentServiceServicer):
    """Refuses every call, and remembers with what it came."""

    def __init__(self) -> None:
        self.metadata: dict[str, str | bytes] = {}

    async def GetAgent(self, request: Any, context: Any) -> Any:  # noqa: N802 -- the RPC's name
        self.metadata = dict(context.invocation_metadata())
        error = AgentNotFoundError(f"Agent {request.agent_id} does not exist.")
        await context.abort_with_status(rpc_status.to_status(to_status(error)))


def room(runtime: WebRuntime) -> Room:
    """A room in which everything goes wrong."""

    async def refused(_request: Request) -> Response:
        raise RateLimitExceededError("Too many.", tool_name="echo", retry_after_seconds=1.2)

    async def nobody(_request: Request) -> Response:
        raise UnauthenticatedError("Who are you?")

    async def broken(_request: Request) -> Response:
        raise RuntimeError("the password is swordfish")

    async def agent(request: Request) -> Response:
        stub = agent_service_pb2_grpc.AgentServiceStub(runtime.services.executor)
        await stub.GetAgent(
            agent_service_pb2.GetAgentRequest(agent_id="a1"),
            timeout=60,
            metadata=call_metadata(request.headers),
        )
        return PlainTextResponse("there is one")

    async def echo(request: Request) -> Response:
        return Response(await request.body())

    async def endless(_request: Request) -> Response:
        async def parts() -> AsyncIterator[str]:
            yield "first\n"
            await runtime.stopping.wait()
            yield "last\n"

        return StreamingResponse(parts())

    handlers = {
        "refused": refused,
        "nobody": nobody,
        "broken": broken,
        "agent": agent,
        "endless": endless,
    }
    routes: list[BaseRoute] = [
        Route(f"/test/{name}", handler) for name, handler in handlers.items()
    ]
    return Room("test", [*routes, Route("/test/echo", echo, methods=["POST"])])


@pytest.fixture
async def executor() -> AsyncIterator[tuple[AgentServicer, int]]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    servicer = AgentServicer()
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, port
    await server.stop(None)


@pytest.fixture
async def web(executor: tuple[AgentServicer, int]) -> AsyncIterator[Web]:
    settings = SETTINGS.model_copy(update={"executor_address": f"127.0.0.1:{executor[1]}"})
    async with AsyncExitStack() as resources:
        runtime = WebRuntime(
            settings=settings,
            services=await Services.connect(settings, resources),
            metrics=Metrics(),
            telemetry=configure_telemetry("web", settings),
            resources=resources,
            stopping=asyncio.Event(),
        )
        app = application(runtime, [room(runtime)])
        async with served(app, settings, runtime.stopping.set) as port:
            yield Web(port, runtime)


async def test_errors_of_ours_have_the_shape_of_every_error(web: Web) -> None:
    refused = await web.call("/test/refused")
    assert refused.status == 429
    assert refused.headers["retry-after"] == "2"
    assert refused.body["timestamp"].endswith("Z")
    assert {name: value for name, value in refused.body.items() if name != "timestamp"} == {
        "success": False,
        "error": "Too many.",
        "tool_name": "echo",
        "code": "RATE_LIMIT_EXCEEDED",
    }
    assert (await web.call("/test/nobody")).status == 401


async def test_the_text_of_an_unknown_error_stays_inside(web: Web) -> None:
    answer = await web.call("/test/broken")
    assert (answer.status, answer.body["code"]) == (500, "INTERNAL")
    assert b"swordfish" not in answer.content


async def test_an_error_of_a_service_is_answered_as_its_own(
    web: Web, executor: tuple[AgentServicer, int]
) -> None:
    headers = {"authorization": "Bearer t", "traceparent": "00-1", "cookie": "a=b"}
    answer = await web.call("/test/agent", **headers)
    assert (answer.status, answer.body["code"]) == (404, "AGENT_NOT_FOUND")
    assert answer.body["error"] == "Agent a1 does not exist."
    metadata = executor[0].metadata
    assert (metadata["authorization"], metadata["traceparent"]) == ("Bearer t", "00-1")
    assert "cookie" not in metadata


async def test_a_service_that_is_away_is_503(web: Web, executor: tuple[AgentServicer, int]) -> None:
    runtime = web.runtime
    await runtime.services.executor.close()
    gone = SETTINGS.model_copy(update={"executor_address": "127.0.0.1:1"})
    async with AsyncExitStack() as resources:
        services = await Services.connect(gone, resources)
        stub = agent_service_pb2_grpc.AgentServiceStub(services.executor)

        async def call(_request: Request) -> Response:
            await stub.GetAgent(agent_service_pb2.GetAgentRequest(agent_id="a1"), timeout=60)
            return PlainTextResponse("")

        app = application(runtime, [Room("test", [Route("/test/call", call)])])
        async with served(app, SETTINGS, lambda: None) as port:
            answer = await Web(port, runtime).call("/test/call")
    assert (answer.status, answer.body["code"]) == (503, "UNAVAILABLE")


async def test_404_and_405_are_told_apart(web: Web) -> None:
    missing = await web.call("/test/nothing")
    assert (missing.status, missing.body["code"]) == (404, "NOT_FOUND")
    wrong = await web.call("/test/echo")
    assert (wrong.status, wrong.body["code"]) == (405, "INVALID_ARGUMENT")
    assert wrong.headers["allow"] == "POST"


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
async def test_a_body_has_a_limit(web: Web, chunked: bool) -> None:
    largest, one_more = b"x" * 1024, b"x" * 1025

    def body(content: bytes) -> Any:
        return iter([content[:600], content[600:]]) if chunked else content

    assert (await web.call("/test/echo", "POST", body(largest))).content == largest
    answer = await web.call("/test/echo", "POST", body(one_more))
    assert (answer.status, answer.body["code"]) == (413, "LIMIT_EXCEEDED")
    assert "1024 bytes" in answer.body["error"]


async def test_requests_are_counted_by_room(web: Web) -> None:
    await web.call("/test/refused")
    await web.call("/nonsense")
    value = web.runtime.metrics.registry.get_sample_value
    counted = "agent_executor_web_requests_total"
    assert value(counted, {"room": "test", "status": "429"}) == 1
    assert value(counted, {"room": "other", "status": "404"}) == 1
    duration = "agent_executor_web_request_duration_seconds_count"
    assert value(duration, {"room": "test"}) == 1


async def test_streams_end_and_readiness_goes_when_it_stops(web: Web) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(b"GET /test/endless HTTP/1.1\r\nhost: web\r\n\r\n")
    await reader.readuntil(b"first\n")
    assert (await web.call(READINESS_PATH)).status == 200
    web.runtime.stopping.set()
    await reader.readuntil(b"last\n")
    refused = await web.call(READINESS_PATH)
    assert (refused.status, refused.body["code"]) == (503, "UNAVAILABLE")
    writer.close()


async def test_it_starts_on_free_ports_and_shows_its_metrics() -> None:
    async with started(SETTINGS) as running:
        page_url = f"http://127.0.0.1:{running.http_port}/docs"
        await asyncio.to_thread(lambda: urllib.request.urlopen(page_url).read())
        url = f"http://127.0.0.1:{running.metrics_port}/metrics"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    assert 'agent_executor_web_requests_total{room="docs",status="200"} 1.0' in page


async def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = SETTINGS.model_copy(update={"http_port": port})
        with pytest.raises(StartupError, match=f"HTTP cannot be served on 127.0.0.1:{port}"):
            async with started(settings):
                pytest.fail("it started")


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/test?a=" + "a" * 9000, {}, 414, "LIMIT_EXCEEDED"),
        ("/test", {"x-long": "a" * 9000}, 431, "LIMIT_EXCEEDED"),
        ("/test", {"content-length": "1"}, 400, "INVALID_ARGUMENT"),
        ("/test", {"sec-websocket-key": "short"}, 400, "INVALID_ARGUMENT"),
    ],
)
async def test_what_cannot_become_a_websocket_is_answered_as_any_error(
    web: Web, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    asked = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        **headers,
    }
    answer = await web.call(path, **asked)
    assert answer.status == status
    assert answer.headers.get_all("content-type") == ["application/json"]
    assert (answer.body["success"], answer.body["code"]) == (False, code)

"""What a call between services costs, at both ends together: on a stream, and as a unary RPC.

Run by hand: ``python tests/bench/bench_multiplex.py [callers] [calls]``. The calls carry a grant
and a trace context; nothing is authenticated or validated on either path.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, cast

import grpc
import uvloop

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.tool_runner.v1 import (
    tool_call_service_pb2,
    tool_call_service_pb2_grpc,
)
from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.multiplex_frames import CHANNEL_OPTIONS, SERVER_OPTIONS
from agent_executor.serving.multiplex_server import MultiplexedServer
from agent_executor.serving.pipeline import CallPipeline
from agent_executor.serving.telemetry import CallTrace

Request = tool_call_service_pb2.ExecuteToolCallRequest
Response = tool_call_service_pb2.ExecuteToolCallResponse

GRANT = grant_pb2.SignedGrant(grant=bytes(200), signature=bytes(32))
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
REQUEST = Request(
    tool_call_id="call-1", tool_name="calculator", arguments_json='{"a": 15, "b": 27}'
)


class NoPipeline:
    """Lets every call pass, so that only the transport is measured."""

    async def run(
        self,
        method: str,
        request: Any,
        credentials: Any,
        deadline_seconds: float | None,
        traceparent: str,
        handler: Callable[[Any], Awaitable[Any]],
        *,
        span: bool,
    ) -> Any:
        return await handler(request)


class Servicer(tool_call_service_pb2_grpc.ToolCallServiceServicer):
    def __init__(self) -> None:
        self._multiplexed = MultiplexedServer(
            tool_call_service_pb2.StreamToolCallsRequest,
            tool_call_service_pb2.StreamToolCallsResponse,
            {"execute": self._execute},
            cast(CallPipeline, NoPipeline()),
        )

    async def _execute(self, request: Request) -> Response:
        return Response(
            tool_call_id=request.tool_call_id, success=True, result_json='{"result": 42}'
        )

    async def ExecuteToolCall(self, request: Request, context: Any) -> Response:  # noqa: N802 -- the contract's
        return await self._execute(request)

    async def StreamToolCalls(  # noqa: N802 -- the contract's
        self,
        request_iterator: AsyncIterator[Any],
        context: Any,
    ) -> AsyncGenerator[Any, None]:
        async for message in self._multiplexed.serve(request_iterator):
            yield message


async def measure(
    name: str, callers: int, calls: int, call: Callable[[], Awaitable[Response]]
) -> float:
    """Print what the calls cost, and return CPU-us per call."""

    async def caller() -> None:
        for _ in range(calls // callers):
            response = await call()
            assert response.success

    await caller()
    cpu_started, started = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    done = calls // callers * callers
    cpu_us = (time.process_time() - cpu_started) / done * 1e6
    rate = done / (time.perf_counter() - started)
    sys.stdout.write(f"{name:12} {cpu_us:7.1f} CPU-us per call, {rate:8,.0f} calls per second\n")
    return cpu_us


async def main(callers: int, calls: int) -> None:
    server = grpc.aio.server(options=SERVER_OPTIONS)
    tool_call_service_pb2_grpc.add_ToolCallServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    messages: list[int] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
        stub = tool_call_service_pb2_grpc.ToolCallServiceStub(channel)
        stream = MultiplexedStream(
            stub.StreamToolCalls,
            tool_call_service_pb2.StreamToolCallsRequest,
            name="tool-runner",
            on_message=messages.append,
        )
        metadata = (
            ("traceparent", TRACEPARENT),
            ("agent-executor-grant-bin", GRANT.SerializeToString()),
        )
        sys.stdout.write(f"{callers} callers, {calls} calls\n")
        unary = await measure(
            "unary",
            callers,
            calls // 10,
            lambda: stub.ExecuteToolCall(REQUEST, timeout=30, metadata=metadata),
        )
        multiplexed = await measure(
            "multiplexed",
            callers,
            calls,
            lambda: stream.call(
                "execute", REQUEST, timeout_seconds=30, trace=CallTrace(TRACEPARENT), grant=GRANT
            ),
        )
        await stream.close()
    await server.stop(None)
    sys.stdout.write(
        f"{sum(messages) / len(messages):.1f} calls per message; "
        f"multiplexed costs 1/{unary / multiplexed:.1f} of unary\n"
    )


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    uvloop.run(main(*(arguments + [64, 50_000][len(arguments) :])))

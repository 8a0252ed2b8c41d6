"""A ledger whose behaviour a test chooses by the id that it reserves under."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import grpc
from opentelemetry.trace import NoOpTracer

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.api.ledger.v1 import usage_pb2, usage_service_pb2, usage_service_pb2_grpc
from agent_executor.errors import BudgetExceededError, RateLimitExceededError
from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.cancellation import StopSignal, is_stop
from agent_executor.serving.grants import ServiceKey
from agent_executor.serving.interceptors import PipelineInterceptor
from agent_executor.serving.metrics import Metrics
from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.multiplex_frames import (
    CHANNEL_OPTIONS,
    CONCURRENT_CALLS_MAX,
    FRAME_BYTES_MAX,
    SERVER_OPTIONS,
)
from agent_executor.serving.multiplex_server import Batched, MultiplexedServer
from agent_executor.serving.pipeline import AdmittedCall, CallPipeline
from agent_executor.serving.security import SecurityContext, current_security_context

RESERVATION_METHODS = ("reserve", "reserve_amount", "renew", "void", "get")
ENTRY_METHODS = ("settle", "correct")
SERVICE_KEY = ServiceKey(bytes(range(32)))
TIMEOUT_SECONDS = 60.0


def make_grant(
    organization_id: str = "acme", *, audience: str = "ledger", lifetime_seconds: float = 86_400
) -> grant_pb2.SignedGrant:
    return SERVICE_KEY.sign_grant(
        grant_pb2.Grant(
            audience=audience,
            security_context=grant_pb2.SecurityContext(
                organization_id=organization_id, user_id="ada", permissions=["ledger:write"]
            ),
            expires_at_unix_ms=int((time.time() + lifetime_seconds) * 1000),
        )
    )


GRANT = make_grant()


def make_request(reservation_id: str, **fields: Any) -> usage_service_pb2.ReserveUsageRequest:
    return usage_service_pb2.ReserveUsageRequest(
        **{
            "reservation_id": reservation_id,
            "agent_id": "agent",
            "run_id": "run",
            "model": "claude",
            "max_output_tokens": 1,
            **fields,
        }
    )


def make_pipeline(metrics: Metrics | None = None) -> CallPipeline:
    return CallPipeline(
        service_name="ledger",
        token_verifier=TokenVerifier({}, clock_skew_seconds=0),
        service_key=SERVICE_KEY,
        metrics=metrics or Metrics(),
        tracer=NoOpTracer(),
    )


class Peer(usage_service_pb2_grpc.UsageServiceServicer):
    """Answers a reservation with its id and the caller's organization.

    Args:
        pipeline: What calls pass.
        max_concurrent: Calls of one stream at once.
        together: Whether the calls of one message are served together.

    Attributes:
        batches: How many calls were served together, each time.
        begun: The ids of the calls that began, in order.
        cancelled: The ids of the calls that were cancelled while they ran.
        release: Lets go of the calls that hang.
    """

    def __init__(
        self,
        pipeline: CallPipeline,
        max_concurrent: int = CONCURRENT_CALLS_MAX,
        *,
        together: bool = False,
    ) -> None:
        self.batches: list[int] = []
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.release = asyncio.Event()
        handlers = dict.fromkeys(RESERVATION_METHODS, self.reserve) | dict.fromkeys(
            ENTRY_METHODS, self.settle
        )
        batched = Batched(frozenset(handlers) - {"get"}, self.serve_together) if together else None
        self.multiplexed = MultiplexedServer(
            usage_service_pb2.StreamUsageRequest,
            usage_service_pb2.StreamUsageResponse,
            {"get": self.reserve} if together else handlers,
            pipeline,
            batched=batched,
            max_concurrent=max_concurrent,
        )

    async def serve_together(self, calls: Sequence[AdmittedCall]) -> list[Any]:
        self.batches.append(len(calls))
        if any(getattr(call.request, "run_id", "") == "crash-all" for call in calls):
            raise ZeroDivisionError
        answers = [
            self.settle(call.request)
            if hasattr(call.request, "entry_id")
            else self.answer(call.request, call.security)
            for call in calls
        ]
        return await asyncio.gather(*answers, return_exceptions=True)

    async def reserve(self, request: Any) -> usage_pb2.Reservation:
        return await self.answer(request, current_security_context.get())

    async def answer(self, request: Any, security: SecurityContext) -> usage_pb2.Reservation:
        reservation_id = request.reservation_id
        self.begun.append(reservation_id)
        match reservation_id.partition("-")[0]:
            case "hang":
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled.append(reservation_id)
                    raise
            case "stop":
                try:
                    await self.release.wait()
                except asyncio.CancelledError as cancelled:
                    task = asyncio.current_task()
                    if task is None or not is_stop(cancelled):
                        raise
                    task.uncancel()
                    return usage_pb2.Reservation(id=reservation_id, state="stopped")
            case "refuse":
                raise BudgetExceededError("No money is left.", metadata={"leftNanoUsd": "7"})
            case "later":
                raise RateLimitExceededError("Too fast.", retry_after_seconds=1.5)
            case "crash":
                raise ZeroDivisionError(reservation_id)
            case "abandon":
                raise asyncio.CancelledError
            case "large":
                return usage_pb2.Reservation(id="x" * FRAME_BYTES_MAX)
        return usage_pb2.Reservation(id=reservation_id, state=security.organization_id)

    async def settle(self, request: Any) -> usage_pb2.UsageEntry:
        return usage_pb2.UsageEntry(id=request.entry_id)

    async def ReserveUsage(self, request: Any, context: Any) -> usage_pb2.Reservation:  # noqa: N802 -- the contract's
        return await self.reserve(request)

    def StreamUsage(  # noqa: N802 -- the contract's
        self,
        request_iterator: AsyncIterator[Any],
        context: Any,
    ) -> AsyncGenerator[Any, None]:
        return self.multiplexed.serve(request_iterator)


class RunningPeer:
    """A peer on a port, which can be stopped and started again there."""

    def __init__(
        self, *, max_concurrent: int = CONCURRENT_CALLS_MAX, together: bool = False
    ) -> None:
        self._max_concurrent = max_concurrent
        self._together = together
        self.port = 0

    async def start(self) -> None:
        metrics = Metrics()
        pipeline = make_pipeline(metrics)
        self.peer = Peer(pipeline, self._max_concurrent, together=self._together)
        self.metrics = metrics
        self.server = grpc.aio.server(
            interceptors=[PipelineInterceptor(pipeline)],
            options=[*SERVER_OPTIONS, ("grpc.so_reuseport", 0)],
        )
        usage_service_pb2_grpc.add_UsageServiceServicer_to_server(self.peer, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(None)


class Connection:
    """A stream to a port, and what it told of itself.

    Attributes:
        stub: Makes unary calls over the same channel.
        stream: The stream.
        connections: What ``on_connection`` was called with.
        messages: What ``on_message`` was called with.
    """

    def __init__(self, channel: grpc.aio.Channel, **options: Any) -> None:
        self.stub = usage_service_pb2_grpc.UsageServiceStub(channel)
        self.connections: list[bool] = []
        self.messages: list[int] = []
        self.stream = MultiplexedStream(
            self.stub.StreamUsage,
            usage_service_pb2.StreamUsageRequest,
            name="ledger",
            on_connection=self.connections.append,
            on_message=self.messages.append,
            **options,
        )

    async def reserve(
        self,
        reservation_id: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        grant: grant_pb2.SignedGrant | None = GRANT,
        stop: StopSignal | None = None,
        **fields: Any,
    ) -> usage_pb2.Reservation:
        response: usage_pb2.Reservation = await self.stream.call(
            "reserve",
            make_request(reservation_id, **fields),
            timeout_seconds=timeout_seconds,
            grant=grant,
            stop=stop,
        )
        return response


@contextlib.asynccontextmanager
async def connected_to(port: int, **options: Any) -> AsyncIterator[Connection]:
    address = f"127.0.0.1:{port}"
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        connection = Connection(channel, **options)
        yield connection
        await connection.stream.close()


@contextlib.asynccontextmanager
async def running_peer(**options: Any) -> AsyncIterator[RunningPeer]:
    running = RunningPeer(**options)
    await running.start()
    yield running
    await running.stop()


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Any) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.005)

"""A small service with an RPC of each kind; run as a module it is a process of its own.

What the RPCs do is told by ``model`` in the request, so that a test can ask for any ending.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from agent_executor.api.ledger.v1.usage_service_pb2 import ReserveUsageRequest
from agent_executor.errors import NotFoundError, RateLimitExceededError
from agent_executor.serving.pipeline import remaining_seconds
from agent_executor.serving.security import current_security_context
from agent_executor.serving.server import ServiceRuntime, run_service
from agent_executor.serving.settings import ServiceSettings
from agent_executor.serving.telemetry import current_traceparent

NAME = "sample"
SERVICE = "sample.v1.SampleService"
SECRET = "opensesame"
READY_FILE = "waiting"
BROKEN_FILE = "broken"

Context = grpc.aio.ServicerContext[Any, Any]


def asking(model: str, reservation_id: str = "reservation-1") -> ReserveUsageRequest:
    """Returns a request that keeps the rules."""
    return ReserveUsageRequest(
        reservation_id=reservation_id,
        agent_id="agent-1",
        run_id="run-1",
        model=model,
        max_output_tokens=1,
    )


class SampleServicer:
    """Serves the sample's RPCs."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.cancelled = asyncio.Event()
        self.generators_closed = 0

    async def unary(self, request: ReserveUsageRequest, context: Context) -> Any:
        """Answers with who asked, or ends as it is told."""
        match request.model:
            case "fail":
                raise RuntimeError(f"the password is {SECRET}")
            case "limit":
                raise RateLimitExceededError(
                    "Too many.", tool_name="x", metadata={"limit": "5"}, retry_after_seconds=6.2
                )
            case "abort":
                await context.abort(grpc.StatusCode.NOT_FOUND, "as the servicer says")
            case "no message":
                return SECRET
            case "wait":
                (self._data_dir / READY_FILE).touch()
                await asyncio.sleep(1.0)
            case "wait long":
                (self._data_dir / READY_FILE).touch()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case "deadline":
                return StringValue(value=str(remaining_seconds()))
            case "trace":
                return StringValue(value=current_traceparent())
        security = current_security_context.get()
        return StringValue(value=f"{security.organization_id}/{security.user_id}")

    async def server_stream(
        self, request: ReserveUsageRequest, context: Context
    ) -> AsyncGenerator[Any, None]:
        """Sends three messages, then ends as it is told."""
        try:
            for number in range(3):
                yield StringValue(value=f"{current_security_context.get().user_id} {number}")
            match request.model:
                case "fail":
                    raise RuntimeError(f"the password is {SECRET}")
                case "limit":
                    raise NotFoundError("Nothing more.")
                case "no message":
                    yield SECRET
                case "wait long":
                    await asyncio.Event().wait()
        finally:
            self.generators_closed += 1

    async def bidirectional(
        self, requests: AsyncIterator[ReserveUsageRequest], context: Context
    ) -> AsyncGenerator[StringValue, None]:
        """Echoes."""
        async for request in requests:
            if request.model == "fail":
                raise RuntimeError(f"the password is {SECRET}")
            if request.model == "limit":
                raise NotFoundError("Nothing more.")
            yield StringValue(value=request.model)

    async def bidirectional_by_hand(
        self, requests: AsyncIterator[ReserveUsageRequest], context: Context
    ) -> None:
        """Echoes, writing by itself as multiplexed streams do."""
        async for request in requests:
            await context.write(StringValue(value=request.model))

    async def client_stream(
        self, requests: AsyncIterator[ReserveUsageRequest], context: Context
    ) -> StringValue:
        """An RPC that nothing would authenticate, so it must not be reachable."""
        return StringValue(value=SECRET)

    def handlers(self) -> grpc.GenericRpcHandler:
        """Returns the RPCs by their names."""
        types: dict[str, Any] = {
            "request_deserializer": ReserveUsageRequest.FromString,
            "response_serializer": StringValue.SerializeToString,
        }
        make: Any = grpc
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Unary": make.unary_unary_rpc_method_handler(self.unary, **types),
                "ServerStream": make.unary_stream_rpc_method_handler(self.server_stream, **types),
                "Bidirectional": make.stream_stream_rpc_method_handler(self.bidirectional, **types),
                "ByHand": make.stream_stream_rpc_method_handler(
                    self.bidirectional_by_hand, **types
                ),
                "ClientStream": make.stream_unary_rpc_method_handler(self.client_stream, **types),
            },
        )


async def bootstrap(runtime: ServiceRuntime[ServiceSettings]) -> Sequence[str]:
    """Builds the sample, unless it is told to break."""
    if (runtime.settings.data_dir / BROKEN_FILE).exists():
        raise RuntimeError(f"cannot log in with Bearer {SECRET}")
    servicer = SampleServicer(runtime.settings.data_dir)
    runtime.server.add_generic_rpc_handlers((servicer.handlers(),))
    return (SERVICE,)


def main(arguments: Sequence[str]) -> int:
    """Runs the sample with settings as ``name=value``; returns the exit code."""
    settings = dict(each.split("=", 1) for each in arguments)
    return run_service(NAME, lambda: ServiceSettings.model_validate(settings), bootstrap)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

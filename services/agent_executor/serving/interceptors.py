"""The one interceptor of every server: it leads RPCs through the pipeline and maps what they raise.

Unary requests and responses are (de)serialized here and not by gRPC, whose own answer to a request
that cannot be read shows the exception's text to the caller.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_status import rpc_status

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.error_status import to_status
from agent_executor.errors import AgentExecutorError, InvalidArgumentError, UnauthenticatedError
from agent_executor.serving.grants import GRANT_METADATA_KEY
from agent_executor.serving.pipeline import CallPipeline, Credentials
from agent_executor.serving.telemetry import CallTrace

# Probes have no credentials, and the contracts are no secret.
EXEMPT_SERVICES: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")

# What turns another credential into a token cannot ask for one, and what the gateway asks on its own
# account has none. All else about them is as ever: they are counted, bounded, validated, and their
# errors are mapped.
OPEN_METHODS: Final = frozenset(
    {
        "/agent_executor.api.executor.v1.TokenService/ExchangeApiKey",
        "/envoy.service.auth.v3.Authorization/Check",
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit",
    }
)

ResultT = TypeVar("ResultT")

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
# A string, for at run time the class takes no parameters.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class PipelineInterceptor(grpc.aio.ServerInterceptor):
    """Leads every RPC but health and reflection through the service's pipeline.

    Unary and server-streaming RPCs are authenticated, bounded and validated. Bidirectional streams
    are counted and their errors mapped; their frames pass the pipeline one by one. Client-streaming
    RPCs are not served.
    """

    def __init__(self, pipeline: CallPipeline) -> None:
        self._pipeline = pipeline
        self._handlers: dict[str, Handler | None] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Returns the RPC's handler, wrapped; None, which gRPC answers UNIMPLEMENTED, if unknown."""
        method = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is None:
            found = await continuation(handler_call_details)
            if found is None:
                return None
            handler = self._handlers[method] = self._wrap(method, found)
        return handler

    def _wrap(self, method: str, found: Handler) -> Handler | None:
        if method.startswith(EXEMPT_SERVICES):
            return found
        if found.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, found))
        if found.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._server_stream(method, found),
                response_serializer=found.response_serializer,
            )
        if found.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                self._bidirectional_stream(method, found),
                request_deserializer=found.request_deserializer,
                response_serializer=found.response_serializer,
            )
        return None

    def _unary(self, method: str, found: Handler) -> Callable[[bytes, Context], Awaitable[bytes]]:
        # The stubs know these as a synchronous server's.
        behavior: Any = found.unary_unary
        serialize: Any = found.response_serializer

        async def handle(serialized: bytes, context: Context) -> bytes:
            async def serve(request: Message) -> bytes:
                response: bytes = serialize(await behavior(request, context))
                return response

            try:
                return await self._admit(method, found, serialized, context, serve)
            except AgentExecutorError as error:
                await _abort(context, error)

        return handle

    def _server_stream(
        self, method: str, found: Handler
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        behavior: Any = found.unary_stream

        async def handle(serialized: bytes, context: Context) -> None:
            async def serve(request: Message) -> None:
                await _send(behavior(request, context), context)

            try:
                await self._admit(method, found, serialized, context, serve, span=False)
            except AgentExecutorError as error:
                await _abort(context, error)

        return handle

    def _bidirectional_stream(
        self, method: str, found: Handler
    ) -> Callable[[Any, Context], Awaitable[None]]:
        behavior: Any = found.stream_stream

        async def handle(requests: Any, context: Context) -> None:
            try:
                await self._pipeline.observe(
                    method, lambda: _send(behavior(requests, context), context)
                )
            except AgentExecutorError as error:
                await _abort(context, error)

        return handle

    async def _admit(
        self,
        method: str,
        found: Handler,
        serialized: bytes,
        context: Context,
        serve: Callable[[Message], Awaitable[ResultT]],
        *,
        span: bool = True,
    ) -> ResultT:
        try:
            request = _read_request(found, serialized)
            shown, trace = _read_metadata(context)
        except AgentExecutorError as error:
            return await self._pipeline.observe(method, partial(_refuse, error))
        credentials = None if method in OPEN_METHODS else shown
        remaining = context.time_remaining()
        return await self._pipeline.run(
            method, request, credentials, remaining, trace, serve, span=span
        )


def _read_request(found: Handler, serialized: bytes) -> Message:
    deserialize: Any = found.request_deserializer
    try:
        request: Message = deserialize(serialized)
    except DecodeError:
        raise InvalidArgumentError("The request cannot be read as its protobuf message.") from None
    return request


def _read_metadata(context: Context) -> tuple[Credentials, CallTrace]:
    """Returns what the caller shows, and the trace that it is in; its baggage is not read."""
    authorization, traceparent, grant = "", "", None
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            if authorization:
                # Whoever looked at the first one, on the way here, has not seen the second.
                raise UnauthenticatedError("The call carries more than one authorization header.")
            authorization = str(value)
        elif key == "traceparent":
            traceparent = str(value)
        elif key == GRANT_METADATA_KEY:
            grant = _read_grant(value)
    return Credentials(authorization, grant), CallTrace(traceparent)


def _read_grant(value: str | bytes) -> grant_pb2.SignedGrant:
    try:
        return grant_pb2.SignedGrant.FromString(value if isinstance(value, bytes) else b"\xff")
    except DecodeError:
        raise UnauthenticatedError("The grant cannot be read.") from None


async def _refuse(error: AgentExecutorError) -> NoReturn:
    raise error


async def _send(responses: AsyncGenerator[Any, None] | Awaitable[None], context: Context) -> None:
    """Sends what a servicer yields; one that is no generator sends by itself."""
    if not isinstance(responses, AsyncGenerator):
        await responses
        return
    # Closing it runs its `finally` also when the caller is gone.
    async with aclosing(responses):
        async for response in responses:
            await context.write(response)


async def _abort(context: Context, error: AgentExecutorError) -> NoReturn:
    status = rpc_status.to_status(to_status(error))
    trailing = tuple(status.trailing_metadata or ())
    if error.retry_after_seconds is not None:
        # The gateway passes it on as the HTTP header, which counts in whole seconds.
        trailing += (("retry-after", str(max(1, math.ceil(error.retry_after_seconds)))),)
    await context.abort(status.code, status.details, trailing)

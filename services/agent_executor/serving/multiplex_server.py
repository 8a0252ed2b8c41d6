"""The serving end of multiplexed streams: each frame is a call with its own task and checks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.message import Message

from agent_executor.errors import (
    AgentExecutorError,
    InvalidArgumentError,
    LimitExceededError,
    UnavailableError,
)
from agent_executor.serving.cancellation import CONNECTION_LOST
from agent_executor.serving.multiplex_frames import (
    CANCEL_FIELD,
    CONCURRENT_CALLS_MAX,
    ERROR_FIELD,
    FRAME_BYTES_MAX,
    FRAME_OVERHEAD_BYTES,
    methods_of,
    take_message,
)
from agent_executor.serving.pipeline import CallPipeline, Credentials
from agent_executor.serving.status import to_status

FrameHandler: TypeAlias = Callable[[Any], Awaitable[Message]]


class MultiplexedServer:
    """Serves the frames of every stream of one RPC.

    The servicer's method does nothing but ``return self._multiplexed.serve(requests)``. A stream's
    calls are answered in any order. They are cancelled when the stream is lost.
    """

    def __init__(
        self,
        request_type: type[Message],
        response_type: type[Message],
        handlers: Mapping[str, FrameHandler],
        pipeline: CallPipeline,
        *,
        max_concurrent: int = CONCURRENT_CALLS_MAX,
        span: bool = False,
    ) -> None:
        """Prepare to serve.

        Args:
            request_type: The RPC's request message; see ``multiplex_frames`` for its form.
            response_type: The RPC's response message.
            handlers: What serves each method, by the name of its field.
            pipeline: What every call passes, as it would as a unary RPC.
            max_concurrent: Calls of one stream that run at once, at most; more are refused.
            span: Whether each call gets a server span.

        Raises:
            ValueError: The handlers are not those of the RPC's methods.
        """
        self.response_type = response_type
        self.handlers = handlers
        self.methods = methods_of(request_type)
        self.pipeline = pipeline
        self.max_concurrent = max_concurrent
        self.span = span
        self.draining = False
        self.streams: set[_ServedStream] = set()
        if self.methods.keys() != handlers.keys():
            msg = f"The methods are {sorted(self.methods)}, the handlers {sorted(handlers)}."
            raise ValueError(msg)

    def serve(self, requests: AsyncIterable[Any]) -> AsyncGenerator[Message, None]:
        """Serve one stream: take its request messages, yield its response messages.

        Raises:
            UnavailableError: The service drains.
        """
        return _ServedStream(self).serve(requests)

    def drain(self) -> None:
        """Begin no further call, and end each stream once its running calls are answered.

        The callers open a stream to another server and send there what was not answered.
        """
        self.draining = True
        for stream in self.streams:
            stream.wake()


@dataclass(slots=True, eq=False)
class _Answer:
    """An outcome that waits to be sent."""

    call_id: int
    field: str
    outcome: Message
    size_bytes: int

    def is_wanted(self) -> bool:
        return True

    def write_to(self, frame: Any) -> None:
        frame.id = self.call_id
        getattr(frame, self.field).CopyFrom(self.outcome)


class _ServedStream:
    """One stream and the calls that run on it."""

    def __init__(self, server: MultiplexedServer) -> None:
        self._server = server
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._outbox: deque[_Answer] = deque()
        self._something_happened = asyncio.Event()
        self._something_sent = asyncio.Event()

    def wake(self) -> None:
        """Look again at what there is to do."""
        self._something_happened.set()

    async def serve(self, requests: AsyncIterable[Any]) -> AsyncGenerator[Message, None]:
        """Yield what waits, all of it together, until nothing more can come."""
        self._server.streams.add(self)
        reader = asyncio.create_task(self._read(requests))
        reader.add_done_callback(lambda _: self.wake())
        try:
            while self._tasks or not (reader.done() or self._server.draining):
                await self._something_happened.wait()
                self._something_happened.clear()
                while self._outbox:
                    message, _ = take_message(self._outbox, self._server.response_type)
                    yield message
                    self._something_sent.set()
        finally:
            self._server.streams.discard(self)
            unfinished = [reader, *self._tasks.values()]
            for task in unfinished:
                task.cancel(CONNECTION_LOST)
            await asyncio.gather(*unfinished, return_exceptions=True)
        if self._server.draining:
            msg = "The service is stopping."
            raise UnavailableError(msg)

    async def _read(self, requests: AsyncIterable[Any]) -> None:
        """Begin the calls that come in."""
        async for message in requests:
            for frame in message.frames:
                self._accept(frame)
            # A caller that does not take its answers gets to ask no more.
            while len(self._outbox) >= self._server.max_concurrent:
                self._something_sent.clear()
                await self._something_sent.wait()

    def _accept(self, frame: Any) -> None:
        """Begin the call of a frame, refuse it, or cancel the one that it names."""
        call_id = frame.header.id
        method = frame.WhichOneof("call")
        running = self._tasks.get(call_id)
        if method == CANCEL_FIELD:
            if running is not None:
                running.cancel()
        elif running is not None or self._server.draining:
            # A repeat gets the answer of the first. What a draining service leaves unanswered is
            # sent again elsewhere.
            return
        elif method is None:
            self._refuse(call_id, InvalidArgumentError("The frame holds no call that is known."))
        elif len(self._tasks) >= self._server.max_concurrent:
            limit = {"concurrentCallsMax": str(self._server.max_concurrent)}
            msg = "Too many calls are running on the stream."
            self._refuse(call_id, LimitExceededError(msg, metadata=limit))
        else:
            task = asyncio.create_task(self._call(frame, method))
            self._tasks[call_id] = task
            task.add_done_callback(lambda _: self._end(call_id))

    async def _call(self, frame: Any, method: str) -> None:
        """Lead one call through the pipeline and put its outcome in the outbox."""
        header = frame.header
        try:
            response = await self._server.pipeline.run(
                self._server.methods[method].rpc,
                getattr(frame, method),
                Credentials(grant=header.grant if header.HasField("grant") else None),
                header.timeout_ms / 1000,
                header.traceparent,
                self._server.handlers[method],
                span=self._server.span,
            )
        except AgentExecutorError as error:
            self._refuse(header.id, error)
        except asyncio.CancelledError:
            # Its caller knows, unless something else than the stream has cancelled it.
            self._refuse(header.id, UnavailableError("The call was broken off."))
            raise
        else:
            self._answer(header.id, method, response)

    def _answer(self, call_id: int, method: str, response: Message) -> None:
        """Put a response in the outbox."""
        size_bytes = response.ByteSize() + FRAME_OVERHEAD_BYTES
        if size_bytes > FRAME_BYTES_MAX:
            limit = {"frameBytesMax": str(FRAME_BYTES_MAX)}
            msg = "The answer is too large for the stream."
            self._refuse(call_id, LimitExceededError(msg, metadata=limit))
        else:
            self._outbox.append(_Answer(call_id, method, response, size_bytes))

    def _refuse(self, call_id: int, error: AgentExecutorError) -> None:
        """Put an error in the outbox."""
        status = to_status(error)
        size_bytes = status.ByteSize() + FRAME_OVERHEAD_BYTES
        self._outbox.append(_Answer(call_id, ERROR_FIELD, status, size_bytes))
        self.wake()

    def _end(self, call_id: int) -> None:
        """Forget a call that has ended."""
        del self._tasks[call_id]
        self.wake()

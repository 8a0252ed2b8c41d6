"""The serving end of multiplexed streams: each frame is a call with checks of its own.

A call is served by a task of its own, or, where its method takes no longer than a commit, together
with the others that came in the same message: a task for each would cost more than they do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.message import Message

from agent_executor.error_status import to_status
from agent_executor.errors import (
    AgentExecutorError,
    CancelledRunError,
    InvalidArgumentError,
    LimitExceededError,
    UnavailableError,
)
from agent_executor.serving.cancellation import CALLER_STOPS, CONNECTION_LOST
from agent_executor.serving.multiplex_frames import (
    CANCEL_FIELD,
    CONCURRENT_CALLS_MAX,
    ERROR_FIELD,
    FRAME_BYTES_MAX,
    FRAME_OVERHEAD_BYTES,
    methods_of,
    take_message,
)
from agent_executor.serving.pipeline import (
    BatchHandler,
    CallPipeline,
    Credentials,
    ShownCall,
)
from agent_executor.serving.telemetry import NO_TRACE, CallTrace

FrameHandler: TypeAlias = Callable[[Any], Awaitable[Message]]


class Batched(NamedTuple):
    """The methods whose calls are served together.

    Nothing cancels such a call by itself: a caller that waits no longer is not answered.

    Attributes:
        methods: The names of their fields.
        handler: Serves those that came in one message.
    """

    methods: Collection[str]
    handler: BatchHandler


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
        batched: Batched | None = None,
        max_concurrent: int = CONCURRENT_CALLS_MAX,
        span: bool = False,
    ) -> None:
        """Prepare to serve.

        Args:
            request_type: The RPC's request message; see ``multiplex_frames`` for its form.
            response_type: The RPC's response message.
            handlers: What serves each method by itself, by the name of its field.
            pipeline: What every call passes, as it would as a unary RPC.
            batched: The other methods.
            max_concurrent: Calls of one stream that run at once, at most; more are refused.
            span: Whether each call that is served by itself gets a server span.

        Raises:
            ValueError: The handlers are not those of the RPC's methods.
        """
        self.response_type = response_type
        self.handlers = handlers
        self.batched = batched or Batched((), _serve_none)
        self.methods = methods_of(request_type)
        self.pipeline = pipeline
        self.max_concurrent = max_concurrent
        self.span = span
        self.draining = False
        self.streams: set[_ServedStream] = set()
        served = [*handlers, *self.batched.methods]
        if sorted(self.methods) != sorted(served):
            msg = f"The methods are {sorted(self.methods)}, those served {sorted(served)}."
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
        # What runs, by its id; None stands for a call that is served with others.
        self._running: dict[int, asyncio.Task[None] | None] = {}
        self._batches: set[asyncio.Task[None]] = set()
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
            while self._running or not (reader.done() or self._server.draining):
                await self._something_happened.wait()
                self._something_happened.clear()
                while self._outbox:
                    message, _ = take_message(self._outbox, self._server.response_type)
                    yield message
                    self._something_sent.set()
        finally:
            self._server.streams.discard(self)
            alone = [task for task in self._running.values() if task is not None]
            unfinished = [reader, *alone, *self._batches]
            for task in unfinished:
                task.cancel(CONNECTION_LOST)
            await asyncio.gather(*unfinished, return_exceptions=True)
        if self._server.draining:
            msg = "The service is stopping."
            raise UnavailableError(msg)

    async def _read(self, requests: AsyncIterable[Any]) -> None:
        """Begin the calls that come in."""
        async for message in requests:
            batch = [call for frame in message.frames if (call := self._accept(frame))]
            if batch:
                self._begin_batch(batch)
            # A caller that does not take its answers gets to ask no more.
            while len(self._outbox) >= self._server.max_concurrent:
                self._something_sent.clear()
                await self._something_sent.wait()

    def _accept(self, frame: Any) -> tuple[Any, str] | None:
        """Begin the call of a frame, refuse it, or cancel the one that it names.

        Returns:
            The frame and its method if it is to be served with others, else None.
        """
        call_id = frame.header.id
        method = frame.WhichOneof("call")
        if method == CANCEL_FIELD:
            running = self._running.get(call_id)
            if running is not None:
                running.cancel(CALLER_STOPS)
        elif call_id in self._running or self._server.draining:
            # A repeat gets the answer of the first. What a draining service leaves unanswered is
            # sent again elsewhere.
            pass
        elif method is None:
            self._refuse(call_id, InvalidArgumentError("The frame holds no call that is known."))
        elif len(self._running) >= self._server.max_concurrent:
            limit = {"concurrentCallsMax": str(self._server.max_concurrent)}
            msg = "Too many calls are running on the stream."
            self._refuse(call_id, LimitExceededError(msg, metadata=limit))
        elif method in self._server.batched.methods:
            self._running[call_id] = None
            return frame, method
        else:
            task = asyncio.create_task(self._call(frame, method))
            self._running[call_id] = task
            task.add_done_callback(lambda ended: self._end(call_id, ended))
        return None

    async def _call(self, frame: Any, method: str) -> None:
        """Lead one call through the pipeline and put its outcome in the outbox."""
        header = frame.header
        try:
            call = _shown(frame, self._server.methods[method].rpc, method)
            response = await self._server.pipeline.run(
                *call, self._server.handlers[method], span=self._server.span
            )
        except AgentExecutorError as error:
            self._refuse(header.id, error)
        else:
            self._answer(header.id, method, response)

    def _begin_batch(self, batch: Sequence[tuple[Any, str]]) -> None:
        """Begin the calls of one message that are served together."""
        task = asyncio.create_task(self._call_batch(batch))
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def _call_batch(self, batch: Sequence[tuple[Any, str]]) -> None:
        """Lead calls through the pipeline and put their outcomes in the outbox."""
        methods = self._server.methods
        calls = [_shown(frame, methods[method].rpc, method) for frame, method in batch]
        # Stands if something else than the stream cancels the batch.
        broken_off = UnavailableError("The calls were broken off.")
        outcomes: Sequence[Message | AgentExecutorError] = (broken_off,) * len(batch)
        try:
            outcomes = await self._server.pipeline.run_batch(calls, self._server.batched.handler)
        finally:
            for (frame, method), outcome in zip(batch, outcomes, strict=True):
                call_id = frame.header.id
                del self._running[call_id]
                if isinstance(outcome, AgentExecutorError):
                    self._refuse(call_id, outcome)
                else:
                    self._answer(call_id, method, outcome)
            self.wake()

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

    def _end(self, call_id: int, task: asyncio.Task[None]) -> None:
        """Forget a call that has ended; answer one that was cancelled, perhaps before it began."""
        del self._running[call_id]
        if task.cancelled():
            self._refuse(call_id, _broken_off(task))
        self.wake()


def _shown(frame: Any, rpc: str, method: str) -> ShownCall:
    """Return the call of a frame as the pipeline takes it."""
    header = frame.header
    credentials = Credentials(grant=header.grant if header.HasField("grant") else None)
    trace = CallTrace(header.traceparent, header.baggage) if header.traceparent else NO_TRACE
    return ShownCall(rpc, getattr(frame, method), credentials, header.timeout_ms / 1000, trace)


def _broken_off(task: asyncio.Task[None]) -> AgentExecutorError:
    """Return the error of a call whose handler let its cancellation pass."""
    try:
        task.exception()
    except asyncio.CancelledError as cancelled:
        if CALLER_STOPS in cancelled.args:
            return CancelledRunError("The call was stopped.")
    return UnavailableError("The call was broken off.")


async def _serve_none(calls: Sequence[object]) -> Sequence[Message]:
    """Stand for the handler of methods that there are not."""
    raise NotImplementedError(calls)

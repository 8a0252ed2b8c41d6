"""The calling end of a multiplexed stream: many calls at once on one long-lived RPC."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.error_status import from_status
from agent_executor.errors import (
    AgentExecutorError,
    CancelledRunError,
    DeadlineExceededError,
    LimitExceededError,
    OutcomeUnknownError,
    UnavailableError,
)
from agent_executor.serving.cancellation import WAS_BEGUN_KEY, StopSignal
from agent_executor.serving.multiplex_calls import Cancellation, PendingCall
from agent_executor.serving.multiplex_frames import (
    CONNECT_TIMEOUT_SECONDS,
    ERROR_FIELD,
    FRAME_BYTES_MAX,
    FRAME_OVERHEAD_BYTES,
    PENDING_CALLS_MAX,
    RECONNECT_SECONDS_MAX,
    RECONNECT_SECONDS_MIN,
    STOP_SECONDS,
    methods_of,
    take_message,
)
from agent_executor.serving.telemetry import NO_TRACE, CallTrace

StreamCall: TypeAlias = grpc.aio.StreamStreamCall[Any, Any]

_LOGGER = logging.getLogger(__name__)


class MultiplexedStream:
    """Calls a peer over one stream, which is opened again whenever it is lost.

    Calls that are made while a message is being written wait and go out together as the next one.
    After a lost stream every call that is still pending is sent again under its id, so a method
    must bear to be called twice. Belongs to one event loop.
    """

    def __init__(
        self,
        open_stream: Callable[[], StreamCall],
        request_type: type[Message],
        *,
        name: str,
        max_pending: int = PENDING_CALLS_MAX,
        ids: Iterator[int] | None = None,
        on_connection: Callable[[bool], None] | None = None,
        on_message: Callable[[int], None] | None = None,
    ) -> None:
        """Prepare the stream; it is opened by ``start`` or the first call.

        Args:
            open_stream: Begins the RPC, on a channel with ``CHANNEL_OPTIONS``.
            request_type: The RPC's request message; see ``multiplex_frames`` for its form.
            name: The peer's name, for errors and logs.
            max_pending: Calls that wait for an answer at most; more are refused.
            ids: Where the calls' ids come from, if calls are handed over between streams.
            on_connection: Called with True when the stream is connected, and False when lost.
            on_message: Called with the number of frames of each message that is sent.
        """
        self._open_stream = open_stream
        self._request_type = request_type
        self._methods = methods_of(request_type)
        self._name = name
        self._max_pending = max_pending
        self._on_connection = on_connection
        self._on_message = on_message
        self._ids = ids or itertools.count(1)
        self._pending: dict[int, PendingCall] = {}
        self._outbox: deque[PendingCall | Cancellation] = deque()
        self._something_waits = asyncio.Event()
        self._connected = False
        self._answered = False
        self._closed = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the stream is open at the moment."""
        return self._connected

    @property
    def pending(self) -> int:
        """How many calls wait for an answer."""
        return len(self._pending)

    def start(self) -> None:
        """Begin to connect, so that the first call need not wait for it."""
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(self._keep_open(), name=f"{self._name}-stream")

    async def call(
        self,
        method: str,
        request: Message,
        *,
        timeout_seconds: float,
        trace: CallTrace = NO_TRACE,
        grant: grant_pb2.SignedGrant | None = None,
        stop: StopSignal | None = None,
    ) -> Any:
        """Call a method and return its response message.

        Args:
            method: The name of the method's field in the request frame.
            request: Its request; not to be changed before the call has ended.
            timeout_seconds: How long to wait at most, lost streams included.
            trace: The trace that the call is made in.
            grant: Who is calling.
            stop: When it is given, the peer is told to stop, and its answer is what came of it; it
                is waited for ``STOP_SECONDS`` at most.

        Raises:
            DeadlineExceededError: No answer came in time; whether the call was made is unknown.
            UnavailableError: The peer could not be reached in time, or the stream was closed.
            LimitExceededError: Too many calls are pending, or the request is too large.
            CancelledRunError: It was stopped and left nothing behind; ``WAS_BEGUN_KEY`` in the
                metadata tells if it never began.
            OutcomeUnknownError: It was stopped, and the peer did not say what came of it.
            AgentExecutorError: Whatever the peer answered.
        """
        loop = asyncio.get_running_loop()
        call = PendingCall(
            id=next(self._ids),
            method=method,
            request=request,
            deadline=loop.time() + timeout_seconds,
            trace=trace,
            grant=grant,
            future=loop.create_future(),
            size_bytes=FRAME_OVERHEAD_BYTES
            + request.ByteSize()
            + len(trace.baggage)
            + (len(grant.grant) if grant is not None else 0),
            stream=self,
        )
        self._admit(call, timeout_seconds)
        timer = loop.call_later(timeout_seconds, call.expire)
        listening = stop.calling(call.stop) if stop else contextlib.nullcontext()
        try:
            with listening:
                return await call.future
        finally:
            timer.cancel()
            # Still pending here means that the caller was cancelled.
            call.stream.abandon(call)

    def hand_over(self, other: MultiplexedStream) -> None:
        """Let another stream to the same kind of peer send what waits for an answer here."""
        for call in list(self._pending.values()):
            if not call.stopped:
                del self._pending[call.id]
                other.adopt(call)

    def adopt(self, call: PendingCall) -> None:
        """Send a call that waited elsewhere."""
        call.stream = self
        self._pending[call.id] = call
        if self._connected:
            self._send(call)

    def abandon(self, call: PendingCall) -> None:
        """Forget a call, and tell the peer, if it may still be at it."""
        if self._pending.pop(call.id, None) is not None and call.sent and self._connected:
            self._send(Cancellation(call.id))

    async def close(self) -> None:
        """End the stream, and every pending call with ``UnavailableError``."""
        self._closed = True
        for call in self._pending.values():
            _fail(call, UnavailableError(f"The connection to the {self._name} was closed."))
        self._pending.clear()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def _admit(self, call: PendingCall, timeout_seconds: float) -> None:
        """Make a call pending, or refuse it."""
        expected = self._methods.get(call.method)
        if expected is None or call.request.DESCRIPTOR is not expected.request:
            msg = f"{call.method!r} is no method of this stream that takes this request."
            raise TypeError(msg)
        if self._closed:
            msg = f"The connection to the {self._name} is closed."
            raise UnavailableError(msg)
        if timeout_seconds <= 0:
            msg = "The deadline of the call has passed."
            raise DeadlineExceededError(msg)
        if len(self._pending) >= self._max_pending:
            msg = f"Too many calls are waiting for the {self._name}."
            raise LimitExceededError(msg, metadata={"pendingCallsMax": str(self._max_pending)})
        if call.size_bytes > FRAME_BYTES_MAX:
            msg = f"The call is too large for the stream to the {self._name}."
            raise LimitExceededError(msg, metadata={"frameBytesMax": str(FRAME_BYTES_MAX)})
        self.start()
        self._pending[call.id] = call
        # Without a connection nothing is queued: all that is pending is sent when there is one.
        if self._connected:
            self._send(call)

    def _send(self, waiting: PendingCall | Cancellation) -> None:
        """Let something go out with the next message."""
        self._outbox.append(waiting)
        self._something_waits.set()

    def stop(self, call: PendingCall) -> None:
        """Tell the peer to stop a call, and wait a moment for what it says of it."""
        if call.stopped or call.future.done():
            return
        call.stopped = True
        if call.sent and self._connected:
            self._send(Cancellation(call.id))
            asyncio.get_running_loop().call_later(STOP_SECONDS, self._lose, call)
        else:
            self._lose(call)

    def _lose(self, call: PendingCall) -> None:
        """Fail a call that was stopped and whose peer says nothing."""
        self._pending.pop(call.id, None)
        if call.sent:
            msg = f"The {self._name} did not say what came of the call when it was stopped."
            _fail(call, OutcomeUnknownError(msg))
        else:
            msg = "The call was stopped before it was sent."
            _fail(call, CancelledRunError(msg, metadata={WAS_BEGUN_KEY: "false"}))

    def expire(self, call: PendingCall) -> None:
        """Fail a call whose deadline has passed; the peer knows it and stops by itself."""
        self._pending.pop(call.id, None)
        if call.sent:
            _fail(call, DeadlineExceededError(f"The {self._name} did not answer in time."))
        else:
            _fail(call, UnavailableError(f"The {self._name} cannot be reached."))

    async def _keep_open(self) -> None:
        """Open the stream again and again, with pauses that grow until an answer has come."""
        pause_seconds_max = RECONNECT_SECONDS_MIN
        while True:
            self._answered = False
            try:
                await self._use_one_stream()
            except Exception:  # a bug must not leave the platform without its stream
                _LOGGER.exception("The stream to the %s could not be used.", self._name)
            if self._answered:
                pause_seconds_max = RECONNECT_SECONDS_MIN
            pause_seconds_max = min(2 * pause_seconds_max, RECONNECT_SECONDS_MAX)
            pause_seconds = random.uniform(RECONNECT_SECONDS_MIN, pause_seconds_max)  # noqa: S311 -- no secret
            await asyncio.sleep(pause_seconds)

    async def _use_one_stream(self) -> None:
        """Open a stream and serve it until it is lost."""
        stream = self._open_stream()
        tasks = [asyncio.create_task(self._read(stream)), asyncio.create_task(self._write(stream))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # An aio call that is dropped without this is never collected.
            stream.cancel()
            for task in tasks:
                task.cancel()
            try:
                self._log_end(await asyncio.gather(*tasks, return_exceptions=True))
            finally:
                # Also if it is closed in that instant: who counts connections counts them to the end.
                self._set_connected(False)

    async def _read(self, stream: StreamCall) -> None:
        """Hand the answers to their callers until the stream ends."""
        message: Any
        while (message := await stream.read()) is not grpc.aio.EOF:
            self._answered = True
            for frame in message.frames:
                call = self._pending.pop(frame.id, None)
                # The call has ended meanwhile, or was answered on an earlier stream.
                if call is None or call.future.done():
                    continue
                outcome = frame.WhichOneof("outcome")
                if outcome == call.method:
                    call.future.set_result(getattr(frame, outcome))
                elif outcome == ERROR_FIELD:
                    call.future.set_exception(from_status(frame.error))
                else:
                    msg = f"The {self._name} gave an answer that does not fit the call."
                    call.future.set_exception(AgentExecutorError(msg))

    async def _write(self, stream: StreamCall) -> None:
        """Send what waits, all of it together, until the stream ends."""
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            await stream.wait_for_connection()
        self._set_connected(True)
        while True:
            while self._outbox:
                message, frames = take_message(self._outbox, self._request_type)
                if frames:
                    await stream.write(message)
                    if self._on_message is not None:
                        self._on_message(frames)
            self._something_waits.clear()
            await self._something_waits.wait()

    def _set_connected(self, connected: bool) -> None:
        """Note that a stream begins, on which all that is pending is sent, or that it has ended."""
        if connected == self._connected:
            return
        self._connected = connected
        self._outbox.clear()
        for call in [call for call in self._pending.values() if call.stopped]:
            self._lose(call)
        if connected:
            self._outbox.extend(self._pending.values())
        if self._on_connection is not None:
            self._on_connection(connected)

    def _log_end(self, endings: list[BaseException | None]) -> None:
        """Log why a stream ended; attempts to reach a peer that is away would be too many."""
        level = logging.INFO if self._connected else logging.DEBUG
        for ending in endings:
            if isinstance(ending, grpc.aio.AioRpcError):
                _LOGGER.log(
                    level, "The stream to the %s ended: %s.", self._name, ending.code().name
                )
            elif isinstance(ending, TimeoutError):
                _LOGGER.log(level, "The %s did not answer to a new stream.", self._name)
            # To write on a stream that has just ended is no fault; the reader tells why it ended.
            elif isinstance(ending, Exception) and not isinstance(
                ending, asyncio.InvalidStateError
            ):
                _LOGGER.error("The stream to the %s broke.", self._name, exc_info=ending)


def _fail(call: PendingCall, error: AgentExecutorError) -> None:
    if not call.future.done():
        call.future.set_exception(error)

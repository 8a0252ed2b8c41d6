"""What the calling end of a multiplexed stream sends: calls that wait for answers, and their ends."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.serving.multiplex_frames import FRAME_OVERHEAD_BYTES
from agent_executor.serving.telemetry import CallTrace

if TYPE_CHECKING:
    # The stream makes calls, and a call knows the one that it waits on.
    from agent_executor.serving.multiplex_client import MultiplexedStream


@dataclass(slots=True, eq=False)
class PendingCall:
    """A call that waits for its answer; ``deadline`` is in the event loop's time."""

    id: int
    method: str
    request: Message
    deadline: float
    trace: CallTrace
    grant: grant_pb2.SignedGrant | None
    future: asyncio.Future[Any]
    size_bytes: int
    stream: MultiplexedStream
    sent: bool = False
    stopped: bool = False

    def is_wanted(self) -> bool:
        """Whether its caller still waits."""
        return not self.future.done()

    def stop(self) -> None:
        """Tells the peer to stop it, through whichever stream it waits on by then."""
        self.stream.stop(self)

    def expire(self) -> None:
        """Fails it, since its time is over."""
        self.stream.expire(self)

    def write_to(self, frame: Any) -> None:
        """Writes it into a frame."""
        self.sent = True
        header = frame.header
        header.id = self.id
        remaining_seconds = self.deadline - self.future.get_loop().time()
        header.timeout_ms = max(1, math.ceil(remaining_seconds * 1000))
        if self.trace.traceparent:
            header.traceparent = self.trace.traceparent
            header.baggage = self.trace.baggage
        if self.grant is not None:
            header.grant.CopyFrom(self.grant)
        getattr(frame, self.method).CopyFrom(self.request)


@dataclass(slots=True, eq=False)
class Cancellation:
    """Tells the server that nobody waits for a call any more."""

    id: int
    size_bytes: int = FRAME_OVERHEAD_BYTES

    def is_wanted(self) -> bool:
        """Always."""
        return True

    def write_to(self, frame: Any) -> None:
        """Writes it into a frame."""
        frame.header.id = self.id
        frame.cancel.SetInParent()

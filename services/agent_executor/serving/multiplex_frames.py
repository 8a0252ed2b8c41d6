"""What both ends of a multiplexed stream share: its limits, its messages, its connection's options.

The calls of one service to a peer travel on one long-lived RPC. A unary RPC costs gRPC about half a
millisecond of processor time at both ends together; a stream costs as much per *message*, and under
load many calls share one: while a message is being written, what comes next goes out together.

A stream's request and response messages each hold ``repeated`` frames and nothing else. A request
frame has a ``CallHeader header`` and ``oneof call``, in which every method is a field beside
``cancel``; a response frame has ``int64 id`` and ``oneof outcome``, in which every method is again a
field, beside ``error``. A method is the unary RPC that takes its request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

CANCEL_FIELD: Final = "cancel"
ERROR_FIELD: Final = "error"

MESSAGE_FRAMES_MAX: Final = 1_000
# What is gathered into one message. A frame that is larger than that travels alone.
MESSAGE_BYTES_MAX: Final = 1024 * 1024 - 64 * 1024
# What a stream carries at all; what is larger goes as a unary RPC. It has to be below gRPC's own
# limit, for a message above that ends the stream with all its calls.
FRAME_BYTES_MAX: Final = 3 * 1024 * 1024
# A header with its grant, and what surrounds the request in its frame.
FRAME_OVERHEAD_BYTES: Final = 64
PENDING_CALLS_MAX: Final = 4_096
CONCURRENT_CALLS_MAX: Final = 4_096

KEEPALIVE_SECONDS: Final = 10
KEEPALIVE_TIMEOUT_SECONDS: Final = 5
RECONNECT_SECONDS_MIN: Final = 0.05
RECONNECT_SECONDS_MAX: Final = 1.0
CONNECT_TIMEOUT_SECONDS: Final = 5.0
# How long a caller that stops a call waits for what came of it.
STOP_SECONDS: Final = 0.5
GRPC_MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024

# For the channel of a stream. The channel's own waits between attempts to connect are bounded as
# the stream's are; by default they grow to two minutes.
CHANNEL_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
    # A ping of gRPC's own may be under way, and then none is sent for the sake of keepalive.
    ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
    # An idle stream is checked for as long as it lasts, not twice only.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", int(RECONNECT_SECONDS_MIN * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(RECONNECT_SECONDS_MAX * 1000)),
    ("grpc.max_send_message_length", GRPC_MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", GRPC_MESSAGE_BYTES_MAX),
)

# For the server of a stream: it has to allow the pings of the channel.
SERVER_OPTIONS: Final = (
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_SECONDS * 500),
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
    ("grpc.max_send_message_length", GRPC_MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", GRPC_MESSAGE_BYTES_MAX),
)


class Method(NamedTuple):
    """One method of a multiplexed stream.

    Attributes:
        rpc: Full name of its unary RPC, as ``/package.Service/Method``.
        request: Type of its request.
    """

    rpc: str
    request: Descriptor


def methods_of(request_type: type[Message]) -> dict[str, Method]:
    """Return the methods of the stream whose request message this is, by their field's name.

    Raises:
        ValueError: A method has no unary RPC in the stream's own file.
    """
    stream_request: Any = request_type.DESCRIPTOR
    unary = {
        rpc.input_type.full_name: Method(f"/{service.full_name}/{rpc.name}", rpc.input_type)
        for service in stream_request.file.services_by_name.values()
        for rpc in service.methods
        if not rpc.client_streaming and not rpc.server_streaming
    }
    frame = stream_request.fields_by_name["frames"].message_type
    methods = {}
    for field in frame.oneofs_by_name["call"].fields:
        request = field.message_type.full_name
        if field.name == CANCEL_FIELD:
            continue
        if request not in unary:
            msg = f"No unary RPC takes the {request} of {frame.full_name}."
            raise ValueError(msg)
        methods[field.name] = unary[request]
    return methods


class Outgoing(Protocol):
    """Something that waits to be sent as a frame."""

    @property
    def size_bytes(self) -> int:
        """How large the frame will be, roughly."""
        ...

    def is_wanted(self) -> bool:
        """Tell whether it still has to be sent."""
        ...

    def write_to(self, frame: Any) -> None:
        """Fill the empty frame that goes out next."""
        ...


OutgoingT = TypeVar("OutgoingT", bound=Outgoing)


def take_message(
    outbox: deque[OutgoingT], message_type: Callable[[], Message]
) -> tuple[Message, int]:
    """Take what waits, as far as one message has room for it.

    Returns:
        The message, and the number of its frames; 0 if nothing that waited is wanted any more.
    """
    message: Any = message_type()
    frames = message.frames
    frame_count = message_bytes = 0
    while outbox and frame_count < MESSAGE_FRAMES_MAX:
        outgoing = outbox[0]
        if outgoing.is_wanted():
            message_bytes += outgoing.size_bytes
            if frame_count and message_bytes > MESSAGE_BYTES_MAX:
                break
            outgoing.write_to(frames.add())
            frame_count += 1
        outbox.popleft()
    return message, frame_count

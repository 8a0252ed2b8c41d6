"""How a worker and the tool-runner talk: frames with a length and a type, over one socket.

A frame is four bytes of length (big-endian, of the payload), one byte of type, and the payload,
which is JSON text in UTF-8 or empty. The worker speaks when it is its turn only: ready, then the
result of its one call, with requests to the broker and their answers in between.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

import os
import struct
from typing import Final

HEADER: Final = struct.Struct(">IB")

# From a worker.
READY: Final = 1
RESULT: Final = 2
ERROR: Final = 3
HTTP_REQUEST: Final = 4
DESCRIPTION: Final = 5
# To a worker.
CALL: Final = 16
INSPECT: Final = 17
HTTP_ANSWER: Final = 18

# What a worker sends besides its result: an error, a description, a request with its body.
MESSAGE_BYTES_MAX: Final = 2_097_152
# What it may be sent: a source and arguments as JSON strings, or an answer with a large body.
TO_WORKER_BYTES_MAX: Final = 33_554_432
_READ_BYTES: Final = 1_048_576


class FrameError(Exception):
    """The other side does not keep to the protocol; the message says how."""


def frame(kind: int, payload: bytes = b"") -> bytes:
    """Returns a frame as it goes over the socket."""
    return HEADER.pack(len(payload), kind) + payload


def read_frame(descriptor: int, *, size_bytes_max: int) -> tuple[int, bytes]:
    """Waits for a frame and returns its type and payload.

    Raises:
        FrameError: The frame is too large.
        EOFError: The other side has hung up.
    """
    length, kind = HEADER.unpack(_read_exactly(descriptor, HEADER.size))
    if length > size_bytes_max:
        raise FrameError(f"A frame of {length} bytes is larger than {size_bytes_max}.")
    return kind, _read_exactly(descriptor, length)


def write_frame(descriptor: int, kind: int, payload: bytes = b"") -> None:
    """Writes a frame and waits until the kernel has taken it."""
    rest = memoryview(frame(kind, payload))
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read_exactly(descriptor: int, count: int) -> bytes:
    chunk = os.read(descriptor, min(count, _READ_BYTES)) if count else b""
    if len(chunk) == count:
        return chunk
    read = bytearray(chunk)
    while chunk and len(read) < count:
        chunk = os.read(descriptor, min(count - len(read), _READ_BYTES))
        read += chunk
    if len(read) < count:
        raise EOFError
    return bytes(read)

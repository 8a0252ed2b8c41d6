from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from agent_executor.tool_runner.isolation.frames import (
    HEADER,
    RESULT,
    FrameError,
    frame,
    read_frame,
    write_frame,
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize("payload", [b"", b"{}", bytes(3_000_000)])
def test_a_frame_arrives_as_it_was_written(
    pair: tuple[socket.socket, socket.socket], payload: bytes
) -> None:
    one, other = pair
    writing = threading.Thread(target=write_frame, args=(one.fileno(), RESULT, payload))
    writing.start()
    assert read_frame(other.fileno(), size_bytes_max=3_000_000) == (RESULT, payload)
    writing.join()


def test_a_frame_is_its_length_its_type_and_its_payload() -> None:
    assert frame(7, b"abc") == b"\x00\x00\x00\x03\x07abc"


def test_a_frame_in_pieces_is_put_together(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair

    def write_slowly() -> None:
        for byte in frame(RESULT, b"hello"):
            one.send(bytes((byte,)))

    writing = threading.Thread(target=write_slowly)
    writing.start()
    assert read_frame(other.fileno(), size_bytes_max=5) == (RESULT, b"hello")
    writing.join()


def test_a_frame_that_is_too_large_is_not_read(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    one.send(HEADER.pack(6, RESULT) + b"abcdef")
    with pytest.raises(FrameError, match="6 bytes"):
        read_frame(other.fileno(), size_bytes_max=5)
    assert os.read(other.fileno(), 100) == b"abcdef"


@pytest.mark.parametrize("sent", [b"", b"\0\0", HEADER.pack(5, RESULT), frame(RESULT, b"abc")[:-1]])
def test_the_end_within_a_frame_is_an_end(
    pair: tuple[socket.socket, socket.socket], sent: bytes
) -> None:
    one, other = pair
    one.sendall(sent)
    one.close()
    with pytest.raises(EOFError):
        read_frame(other.fileno(), size_bytes_max=10)

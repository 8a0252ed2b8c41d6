"""HTTP/2 frames by hand, for what no library would send."""

from __future__ import annotations

from collections.abc import Sequence

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
CANCEL = (8).to_bytes(4, "big")

Headers = Sequence[tuple[str, str]]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Builds a frame."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def hello(settings: bytes = b"") -> bytes:
    """Begins a connection: the preface and SETTINGS."""
    return PREFACE + frame(SETTINGS, payload=settings)


def encoded(headers: Headers) -> bytes:
    """Encodes headers as literals that are put into no table."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def _text(text: str) -> bytes:
    raw = text.encode("latin-1")
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    length, prefix = len(raw) - 127, b"\x7f"
    while length >= 128:
        prefix += bytes([length % 128 + 128])
        length //= 128
    return prefix + bytes([length]) + raw


def request(path: str, token: str, method: str = "GET") -> list[tuple[str, str]]:
    """Returns the headers of a request."""
    return [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("authorization", f"Bearer {token}"),
    ]


def opened(stream: int, headers: Headers, flags: int = END_HEADERS | END_STREAM) -> bytes:
    """Builds the frame that opens a stream."""
    return frame(HEADERS, flags, stream, encoded(headers))

"""Reads the body of a response, decoded, and never more of it than was asked for."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, Iterator
from typing import Final, Protocol

from agent_executor.errors import ToolExecutionError

ACCEPT_ENCODING: Final = "gzip, deflate"
_GZIP_BITS: Final = zlib.MAX_WBITS | 16


async def read_body(
    chunks: AsyncIterable[bytes], content_encoding: str, bytes_max: int
) -> tuple[bytes, bool]:
    """Returns the beginning of a body and whether it went on.

    Memory stays within the limit and a chunk, whatever the chunks decode to.

    Args:
        chunks: The body as it was sent.
        content_encoding: The header of that name, or the empty string.
        bytes_max: Length of what is returned, at most.

    Raises:
        ToolExecutionError: The coding was not asked for, or the body is not in it.
    """
    decoder = _decoder(content_encoding)
    body = bytearray()
    try:
        async for chunk in chunks:
            for piece in decoder.decode(chunk, bytes_max):
                body += piece
                if len(body) > bytes_max:
                    return bytes(body[:bytes_max]), True
    except zlib.error:
        raise ToolExecutionError("The response is not in the coding that it names.") from None
    if not decoder.ended:
        raise ToolExecutionError("The response ended before it was complete.")
    return bytes(body), False


class _Decoder(Protocol):
    @property
    def ended(self) -> bool: ...

    def decode(self, data: bytes, piece_bytes_max: int) -> Iterator[bytes]: ...


class _Identity:
    ended = True

    def decode(self, data: bytes, piece_bytes_max: int) -> Iterator[bytes]:
        del piece_bytes_max
        yield data


class _Inflater:
    """Decodes gzip (of several members, too) or deflate (with or without its frame)."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._inflate = zlib.decompressobj(window_bits)
        self._started = False

    @property
    def ended(self) -> bool:
        return self._inflate.eof or not self._started

    def decode(self, data: bytes, piece_bytes_max: int) -> Iterator[bytes]:
        while data:
            if self._inflate.eof:
                # Another member follows; what is no member is padding.
                if self._window_bits != _GZIP_BITS or not data.startswith(b"\x1f"):
                    return
                self._inflate = zlib.decompressobj(self._window_bits)
            piece = self._inflate_some(data, piece_bytes_max + 1)
            self._started = True
            data = self._inflate.unconsumed_tail or self._inflate.unused_data
            yield piece

    def _inflate_some(self, data: bytes, bytes_max: int) -> bytes:
        try:
            return self._inflate.decompress(data, bytes_max)
        except zlib.error:
            if self._started or self._window_bits != zlib.MAX_WBITS:
                raise
            # Some servers send deflate without the frame that belongs to it.
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._inflate.decompress(data, bytes_max)


def _decoder(content_encoding: str) -> _Decoder:
    coding = content_encoding.strip().lower()
    if coding in {"", "identity"}:
        return _Identity()
    if coding in {"gzip", "x-gzip"}:
        return _Inflater(_GZIP_BITS)
    if coding == "deflate":
        return _Inflater(zlib.MAX_WBITS)
    raise ToolExecutionError("The response is in a coding that was not asked for.")

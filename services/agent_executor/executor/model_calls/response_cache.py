"""The port to a store of models' answers, by which equal requests are answered again.

What is kept, and for whom, is decided in ``shared_answers``; this only keeps it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import msgspec

from agent_executor.executor.models.model import ResponseBlock

DEFAULT_MAX_BYTES: Final = 64 * 1024 * 1024
MAX_ENTRIES: Final = 100_000
# An answer that is larger than this share of the whole is not worth what it would drive out.
LARGEST_SHARE: Final = 16
# What an entry takes beside its bytes: key, tuple and place in the order, measured.
ENTRY_OVERHEAD_BYTES: Final = 512

_ENCODER: Final = msgspec.json.Encoder()


class CachedAnswer(msgspec.Struct, frozen=True):
    """What a model answered."""

    content: tuple[ResponseBlock, ...]
    stop_reason: str


_DECODER: Final = msgspec.json.Decoder(CachedAnswer)


class ResponseCache(Protocol):
    """Keeps answers for a time.

    It may lose any of them at any moment, and never raises: without it, the model is asked.
    """

    async def get(self, key: bytes, max_age_seconds: int) -> CachedAnswer | None:
        """Returns the answer that was kept under a key if it is not older than that, or None."""
        ...

    async def put(self, key: bytes, answer: CachedAnswer, ttl_seconds: int) -> None:
        """Keeps an answer under a key, in place of any other, for so long at most."""
        ...


class _Entry(NamedTuple):
    body: bytes
    kept_at: float
    ends_at: float


class MemoryResponseCache:
    """A ``ResponseCache`` of one process. What was used the longest ago goes first.

    Args:
        clock: Seconds that only go forward.
        max_bytes: What all entries may take together; 0 keeps none.
    """

    def __init__(self, clock: Callable[[], float], max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """What all entries take together."""
        return self._bytes

    def __len__(self) -> int:
        """Returns how many entries there are, expired ones included."""
        return len(self._entries)

    async def get(self, key: bytes, max_age_seconds: int) -> CachedAnswer | None:
        """See ``ResponseCache``."""
        entry, now = self._entries.get(key), self._clock()
        if entry is None:
            return None
        if now >= entry.ends_at:
            self._drop(key)
            return None
        if now - entry.kept_at >= max_age_seconds:
            return None
        self._entries.move_to_end(key)
        return _DECODER.decode(entry.body)

    async def put(self, key: bytes, answer: CachedAnswer, ttl_seconds: int) -> None:
        """See ``ResponseCache``."""
        self._drop(key)
        body, now = _ENCODER.encode(answer), self._clock()
        size = len(body) + ENTRY_OVERHEAD_BYTES
        if size * LARGEST_SHARE > self._max_bytes:
            return
        self._entries[key] = _Entry(body, now, now + ttl_seconds)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._entries) > MAX_ENTRIES:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry.body) + ENTRY_OVERHEAD_BYTES

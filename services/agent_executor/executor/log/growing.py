"""A sequence that is added to again and again, and of which every earlier state stays what it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


class Growing(Sequence[T_co], Generic[T_co]):
    """An immutable sequence, to which adding takes time for what is added only.

    A tuple would be copied, so that a run of many steps took time by their square. Here the states
    share one list, of which each sees only its own beginning; whoever adds to a state that was added
    to before gets a copy of its own.
    """

    __slots__ = ("_items", "_length")

    def __init__(self, items: Iterable[T_co] = ()) -> None:
        self._items: list[T_co] = list(items)
        self._length = len(self._items)

    def with_items(self, *items: T_co) -> Growing[T_co]:  # type: ignore[misc]  # nothing of the sequence is changed
        """Returns the sequence with these after its last."""
        # The empty one may be the default of many.
        is_newest = self._length > 0 and len(self._items) == self._length
        own = self._items if is_newest else self._items[: self._length]
        own.extend(items)
        grown: Growing[T_co] = Growing.__new__(Growing)
        grown._items, grown._length = own, self._length + len(items)
        return grown

    def __len__(self) -> int:
        """Returns how many items this state has."""
        return self._length

    @overload
    def __getitem__(self, index: int) -> T_co: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T_co, ...]: ...

    def __getitem__(self, index: int | slice) -> T_co | tuple[T_co, ...]:
        """Returns an item, or a tuple of them."""
        if isinstance(index, slice):
            return tuple(self._items[at] for at in range(*index.indices(self._length)))
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._items[index if index >= 0 else index + self._length]

    def __iter__(self) -> Iterator[T_co]:
        """Iterates over the items of this state."""
        return islice(self._items, self._length)

    def __reversed__(self) -> Iterator[T_co]:
        """Iterates over the items of this state, from its last."""
        return islice(reversed(self._items), len(self._items) - self._length, None)

    def __eq__(self, other: object) -> bool:
        """Tells whether the other is a sequence of this kind, or a tuple, of equal items."""
        if not isinstance(other, Growing | tuple):
            return NotImplemented
        return len(self) == len(other) and all(
            mine is its or mine == its for mine, its in zip(self, other, strict=True)
        )

    def __hash__(self) -> int:
        """Returns the hash of the items' tuple."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Shows the items."""
        return f"Growing({tuple(self)!r})"

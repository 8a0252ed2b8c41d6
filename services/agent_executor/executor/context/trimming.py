"""What is left out of a conversation that is too long: pure arithmetic on the lengths of messages.

Whole turns are left out, the oldest first; a turn begins with a message of the user and has all that
answers it, so that no tool call is ever parted from its result. The first message and the newest
turn are always given. If the newest turn alone is too long, the results of its oldest tool calls are
emptied: what was done stays known, and no message is missing.

What is left out moves in steps: once a limit is passed, so much is left out that the rest has room
for some turns to come. So the beginning of the request stays the same from call to call, and the
provider's prompt cache goes on to serve it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

# A trimmed conversation leaves at least one part in so many of each limit free.
ROOM_PARTS: Final = 4


class Cut(NamedTuple):
    """What is left out.

    Attributes:
        first: The first message that is given after message 0.
        emptied: Before which message the results of tools are emptied, in the newest turn.
    """

    first: int = 1
    emptied: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may hold.

    Attributes:
        max_turns: Turns before the newest; None: any number.
        max_bytes: Of all messages as JSON; None: any number.
    """

    max_turns: int | None = None
    max_bytes: int | None = None

    def with_room(self) -> Limits:
        """Returns the limits that a conversation is trimmed to, once it is too long."""
        return Limits(
            max_turns=None if self.max_turns is None else _less(self.max_turns),
            max_bytes=None if self.max_bytes is None else _less(self.max_bytes),
        )


def _less(limit: int) -> int:
    return limit - limit // ROOM_PARTS


@dataclass(frozen=True, slots=True)
class Measured:
    """The lengths of a conversation's messages.

    Attributes:
        ends: The sum of the lengths up to and with each message.
        starts: The messages with which turns begin, in order; message 0 is the first of them, and
            the newest turn's the last.
        saved_bytes: How much shorter the messages of the newest turn before an index are if their
            results are emptied.
        is_whole: Whether message 1 is what followed message 0, so that nothing is missing between
            them already.
    """

    ends: Sequence[int]
    starts: Sequence[int]
    saved_bytes: Callable[[int], int]
    is_whole: bool = True

    @property
    def newest(self) -> int:
        """The message with which the newest turn begins."""
        return self.starts[-1]

    def size_bytes(self, cut: Cut) -> int:
        """Returns the length of what is given."""
        given = self.ends[0] + self.ends[-1] - self.ends[cut.first - 1]
        return given - (self.saved_bytes(cut.emptied) if cut.emptied else 0)

    def turn_count(self, cut: Cut) -> int:
        """Returns how many turns before the newest are given as a whole."""
        is_first_whole = self.is_whole and cut.first == 1 and self.newest > 0
        return len(self.starts) - 1 - bisect_left(self.starts, cut.first) + is_first_whole


def fits(measured: Measured, cut: Cut, limits: Limits) -> bool:
    """Tells whether what a cut leaves is within the limits."""
    if limits.max_turns is not None and measured.turn_count(cut) > limits.max_turns:
        return False
    return limits.max_bytes is None or measured.size_bytes(cut) <= limits.max_bytes


def trimmed(measured: Measured, present: Cut, limits: Limits) -> Cut:
    """Returns what is to be left out now: ``present`` if that is enough.

    The result may be too long all the same, if nothing more can be left out.
    """
    if fits(measured, present, limits):
        return present
    target, cut = limits.with_room(), present
    for start in measured.starts[bisect_right(measured.starts, present.first) :]:
        cut = cut._replace(first=start)
        if fits(measured, cut, target):
            return cut
    return cut if fits(measured, cut, limits) else _emptied(measured, cut, target)


def _emptied(measured: Measured, cut: Cut, target: Limits) -> Cut:
    """Returns the cut with as few more of the newest turn's results emptied as are too many."""
    # The last message is what the model is to answer.
    for index in range(max(cut.emptied, measured.newest), len(measured.ends) - 1):
        longer = cut._replace(emptied=index + 1)
        if measured.size_bytes(longer) < measured.size_bytes(cut):
            cut = longer
        if fits(measured, cut, target):
            break
    return cut

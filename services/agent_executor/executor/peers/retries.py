"""When a call to a peer that is away is made again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 2.0
REPEATS_PER_SECOND: Final = 100.0


class Retries:
    """Spaces the repeats of calls to one peer, of all runs together.

    Each repeat of a call waits up to twice as long as the one before, with jitter, at most
    ``LONGEST_DELAY_SECONDS``. However many runs wait, ``per_second`` repeats are made in a second at
    most: those that come too early for that wait for their turn, so that a peer that comes back
    under load is not pushed over again.

    Args:
        per_second: How many repeats.
        jitter: Gives numbers from 0 to 1.
        clock: Seconds of a clock that is never set.
    """

    def __init__(
        self,
        *,
        per_second: float = REPEATS_PER_SECOND,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_seconds = 1.0 / per_second
        self._jitter = jitter
        self._clock = clock
        self._next_at = 0.0

    def delay_seconds(self, tries: int) -> float:
        """Returns how long to wait before the next try of a call, and counts that try.

        Args:
            tries: How often the call was made so far, from 1.
        """
        longest = min(FIRST_DELAY_SECONDS * 2.0 ** min(tries - 1, 10), LONGEST_DELAY_SECONDS)
        now = self._clock()
        turn_at = max(now, self._next_at)
        self._next_at = turn_at + self._interval_seconds
        return max(turn_at - now, longest * (1.0 + self._jitter()) / 2)

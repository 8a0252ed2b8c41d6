"""Rate limits by the generic cell rate algorithm (GCRA): one number for each key, no windows.

A limit of N calls in a window of W lets N calls through at once after a time of rest, and then
one every W / N.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, Literal, TypeAlias

from agent_executor.errors import InvalidArgumentError

OnUnavailable: TypeAlias = Literal["share", "refuse"]
"""What becomes of calls while what counts them for all processes is away."""

WINDOW_SECONDS_MAX: Final = 30 * 24 * 3600.0
CALLS_MAX: Final = 2**31 - 1
_NANOSECONDS: Final = 1_000_000_000
# How many keys there may be before those that are at rest are looked for and dropped.
_KEYS_BEFORE_SWEEP: Final = 10_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many calls in so much time.

    Attributes:
        max_calls: 0 allows none.
        window_seconds: More than 0, up to 30 days.
        interval_ns: Time between two calls at the full rate.
        tolerance_ns: How far ahead of that rate a caller may get.
    """

    max_calls: int
    window_seconds: float
    interval_ns: int
    tolerance_ns: int

    @classmethod
    def of(cls, max_calls: int, window_seconds: float) -> RateLimit:
        """Returns the limit.

        Raises:
            InvalidArgumentError: A figure is not a number or out of range.
        """
        if isinstance(max_calls, bool) or not isinstance(max_calls, int):
            raise InvalidArgumentError("max_calls must be an integer.")
        if not 0 <= max_calls <= CALLS_MAX:
            raise InvalidArgumentError(f"max_calls must be from 0 to {CALLS_MAX}.")
        if isinstance(window_seconds, bool) or not isinstance(window_seconds, int | float):
            raise InvalidArgumentError("window_seconds must be a number.")
        if not 0 < window_seconds <= WINDOW_SECONDS_MAX:
            raise InvalidArgumentError(
                f"window_seconds must be more than 0 and at most {WINDOW_SECONDS_MAX:.0f}."
            )
        # Rounded up, so that the rate is never exceeded.
        interval_ns = math.ceil(window_seconds * _NANOSECONDS / max_calls) if max_calls else 0
        # As a float always, since it is a part of keys that processes have in common.
        return cls(max_calls, float(window_seconds), interval_ns, (max_calls - 1) * interval_ns)


@dataclass(frozen=True, slots=True)
class RateRefusal:
    """A call came too early.

    Attributes:
        limit: The limit that lets the call through last.
        key: Its key.
        retry_after_seconds: When the call would be let through; None for never.
    """

    limit: RateLimit
    key: Hashable
    retry_after_seconds: float | None


class RateLimiter:
    """Counts calls against limits, for any number of keys; safe to use from several threads."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        """See the class; ``clock_ns`` is monotonic, in nanoseconds."""
        self._clock_ns = clock_ns
        # When the caller would be at rest again, had it called at the full rate all the time.
        self._arrivals_ns: dict[Hashable, int] = {}
        self._sweep_at = _KEYS_BEFORE_SWEEP
        self._lock = Lock()

    def admit(self, limits: Sequence[tuple[Hashable, RateLimit]]) -> RateRefusal | None:
        """Counts one call against all limits, or against none and returns the refusal.

        Args:
            limits: Pairs of the key that is counted under and its limit.
        """
        with self._lock:
            now_ns = self._clock_ns()
            arrivals_ns = self._arrivals_ns
            longest_wait_ns = 0
            refused: tuple[Hashable, RateLimit] | None = None
            for key, limit in limits:
                if limit.max_calls == 0:
                    return RateRefusal(limit, key, None)
                wait_ns = arrivals_ns.get(key, now_ns) - limit.tolerance_ns - now_ns
                if wait_ns > longest_wait_ns:
                    longest_wait_ns, refused = wait_ns, (key, limit)
            if refused is not None:
                key, limit = refused
                return RateRefusal(limit, key, longest_wait_ns / _NANOSECONDS)
            for key, limit in limits:
                arrivals_ns[key] = max(arrivals_ns.get(key, now_ns), now_ns) + limit.interval_ns
            if len(arrivals_ns) > self._sweep_at:
                self._sweep(now_ns)
            return None

    def _sweep(self, now_ns: int) -> None:
        """Drops the keys at rest, which are as if they had never called."""
        self._arrivals_ns = {
            key: arrival_ns for key, arrival_ns in self._arrivals_ns.items() if arrival_ns > now_ns
        }
        self._sweep_at = max(_KEYS_BEFORE_SWEEP, 2 * len(self._arrivals_ns))

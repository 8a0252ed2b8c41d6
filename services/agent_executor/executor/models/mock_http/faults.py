"""Which calls fail, and how: on demand of the caller, or at random from a seed."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

FAULT_HEADER: Final = "x-mock-fault"


class Fault(StrEnum):
    """What can go wrong. Those up to ``HANG`` cost nothing, the others are billed."""

    RATE_LIMIT = "rate_limit"
    """429 with ``retry-after``."""
    OVERLOADED = "overloaded"
    """529."""
    SERVER_ERROR = "server_error"
    """500."""
    BILLING = "billing"
    """402."""
    NO_PERMISSION = "no_permission"
    """403."""
    TOO_LARGE = "too_large"
    """413."""
    NO_ANSWER = "no_answer"
    """The connection ends without an answer."""
    HANG = "hang"
    """Nothing comes until the caller gives up."""
    STALL = "stall"
    """The answer stops half-way, with the connection open, until the caller gives up."""
    CUT = "cut"
    """The answer breaks off half-way."""
    STREAM_ERROR = "stream_error"
    """Half-way an ``overloaded_error`` comes in the stream; 500 to a caller that does not stream."""
    BAD_JSON = "bad_json"
    """The arguments of tool calls are no JSON."""
    REFUSAL = "refusal"
    """The model refuses: ``stop_reason`` is ``refusal``."""
    MAX_TOKENS = "max_tokens"
    """The answer is cut at half of its tokens."""
    PAUSE_TURN = "pause_turn"
    """A long turn is paused after the call of a server tool."""


class FaultNameError(ValueError):
    """There is no such fault."""


class FaultPlan:
    """Decides for every call.

    The caller's header comes first, then what is queued, then chance. The same seed and the same
    order of calls give the same faults.

    Args:
        rates: The share of calls that have a fault, from 0 to 1, by fault; together at most 1.
        seed: Of the chance.
        retry_after_seconds: What 429 and 529 tell.
    """

    def __init__(
        self, rates: Mapping[Fault, float], seed: int = 0, retry_after_seconds: float = 1.0
    ) -> None:
        self.retry_after_seconds = retry_after_seconds
        self._rates = dict(rates)
        self._random = random.Random(seed)  # noqa: S311 -- repeatable, and no secret
        self._queue: deque[Fault | None] = deque()

    def queue(self, *faults: Fault | None) -> None:
        """Gives the next calls these faults; None is a call without one."""
        self._queue.extend(faults)

    def next_fault(self, header: str) -> Fault | None:
        """Returns the fault of a call.

        Args:
            header: What the caller asks for: a fault's name, or the empty string.

        Raises:
            FaultNameError: The caller asks for a fault that there is not.
        """
        if header:
            return fault_named(header)
        if self._queue:
            return self._queue.popleft()
        draw = self._random.random()
        for fault, rate in self._rates.items():
            if draw < rate:
                return fault
            draw -= rate
        return None


def fault_named(name: str) -> Fault:
    """Returns a fault by its name.

    Raises:
        FaultNameError: There is none.
    """
    try:
        return Fault(name)
    except ValueError:
        raise FaultNameError(f'There is no fault "{name}"; there are {", ".join(Fault)}.') from None

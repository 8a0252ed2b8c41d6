"""When a delivery is tried again, and what an attempt makes of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from agent_executor.executor.webhooks.delivery import DELIVERED, FAILED, PENDING, Delivery

DEFAULT_RETRY_SECONDS: Final = 5.0
DEFAULT_MAX_RETRY_SECONDS: Final = 14_400.0
DEFAULT_GIVE_UP_SECONDS: Final = 86_400.0
# Each wait is so many times the one before it: 5 s, 20 s, 80 s, 5 min, 21 min, 85 min, 4 h, …
GROWTH: Final = 4
# A wait is longer or shorter by up to this share, so that what failed together comes apart.
JITTER: Final = 0.2

_SUCCESSES: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_GONE: Final = 410
_OVERLOADED: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        status_code: Of the answer; 0 if there was none.
        error: What went wrong; empty if it was delivered.
        retry_after_seconds: How long the receiver asked to be left alone.
        is_final: No further attempt can succeed.
    """

    status_code: int = 0
    error: str = ""
    retry_after_seconds: float = 0.0
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long it is tried.

    Attributes:
        retry_seconds: The wait after the first attempt that failed.
        max_retry_seconds: No wait of our own is longer.
        give_up_seconds: After the run's end, in seconds, there is one last attempt.
    """

    retry_seconds: float = DEFAULT_RETRY_SECONDS
    max_retry_seconds: float = DEFAULT_MAX_RETRY_SECONDS
    give_up_seconds: float = DEFAULT_GIVE_UP_SECONDS

    def wait_seconds(self, attempts: int, jitter: float) -> float:
        """Returns the wait after so many attempts; ``jitter`` is from -1 to 1."""
        # No larger power is needed, and a float holds none that is much larger.
        factor = GROWTH ** min(attempts - 1, 32)
        wait_seconds: float = min(self.retry_seconds * factor, self.max_retry_seconds)
        return wait_seconds * (1 + JITTER * jitter)

    def concluded(
        self, delivery: Delivery, outcome: Outcome, *, now_ms: int, ended_at_ms: int, jitter: float
    ) -> Delivery:
        """Returns a delivery after an attempt.

        Args:
            delivery: As it was when the attempt began.
            outcome: What became of it.
            now_ms: The present.
            ended_at_ms: When the run ended.
            jitter: From -1 to 1, at random.
        """
        state, due_at_ms = PENDING, 0
        give_up_at_ms = ended_at_ms + int(self.give_up_seconds * 1000)
        if not outcome.error:
            state = DELIVERED
        elif outcome.is_final or now_ms >= give_up_at_ms:
            state = FAILED
        else:
            wait_seconds = max(
                self.wait_seconds(delivery.attempts, jitter), outcome.retry_after_seconds
            )
            due_at_ms = min(now_ms + int(wait_seconds * 1000), give_up_at_ms)
        return msgspec.structs.replace(
            delivery,
            state=state,
            status_code=outcome.status_code,
            error=outcome.error,
            due_at_ms=due_at_ms,
            secret_ciphertext=delivery.secret_ciphertext if state == PENDING else b"",
        )


def outcome_of(status_code: int, headers: Mapping[str, str]) -> Outcome:
    """Returns what an answer means.

    Args:
        status_code: Its status.
        headers: Its headers, by names in lower case.
    """
    if status_code in _SUCCESSES:
        return Outcome(status_code)
    error = f"The receiver answered {status_code}."
    if status_code in _REDIRECTS:
        error = f"The receiver answered {status_code}; redirects are not followed."
    is_overloaded = status_code in _OVERLOADED
    return Outcome(
        status_code,
        error,
        retry_after_seconds=_retry_after_seconds(headers) if is_overloaded else 0.0,
        is_final=status_code == _GONE,
    )


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Returns what ``Retry-After`` asks for; 0 if nothing that can be read."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        # More digits would be no time that anybody waits.
        return float(value[:9])
    try:
        # A date is read against the receiver's own clock, so that ours does not matter.
        until = parsedate_to_datetime(value)
        return max(0.0, (until - parsedate_to_datetime(headers.get("date", ""))).total_seconds())
    except (ValueError, TypeError):
        return 0.0

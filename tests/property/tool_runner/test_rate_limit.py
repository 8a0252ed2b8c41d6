"""The rate limiter against what its algorithm promises, for any limits, keys and times."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from agent_executor.tool_runner.policy.rate_limit import RateLimit, RateLimiter
from agent_executor.tool_runner.policy.rate_limit_redis import share_of

SECOND = 1_000_000_000

LIMITS = st.builds(
    RateLimit.of, st.integers(1, 20), st.floats(0.001, 100, allow_nan=False, allow_infinity=False)
)
PAUSES = st.lists(st.integers(0, 20 * SECOND), max_size=60)


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@given(LIMITS, PAUSES)
def test_no_span_of_time_sees_more_calls_than_a_burst_and_the_rate(
    limit: RateLimit, pauses: list[int]
) -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    admitted: list[int] = []
    for pause in pauses:
        clock.now_ns += pause
        if limiter.admit([("key", limit)]) is None:
            admitted.append(clock.now_ns)
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            span_ns = admitted[last] - admitted[first]
            allowed = limit.max_calls + span_ns * limit.max_calls / (limit.window_seconds * SECOND)
            assert last - first + 1 <= allowed + 1e-6


@given(LIMITS, LIMITS, PAUSES)
def test_a_refused_call_is_let_through_exactly_when_it_was_told(
    one: RateLimit, other: RateLimit, pauses: list[int]
) -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    limits: list[tuple[Hashable, RateLimit]] = [("one", one), ("other", other)]
    for pause in pauses:
        clock.now_ns += pause
        refusal = limiter.admit(limits)
        if refusal is None:
            continue
        assert refusal.retry_after_seconds is not None
        wait_ns = round(refusal.retry_after_seconds * SECOND)
        assert wait_ns > 0
        clock.now_ns += wait_ns - 1
        assert limiter.admit(limits) is not None
        clock.now_ns += 1
        assert limiter.admit(limits) is None


@given(LIMITS, st.integers(1, 50))
def test_shares_together_are_the_limit(limit: RateLimit, processes: int) -> None:
    share = share_of(limit, processes)
    # The same rate, and no larger burst but for one call of each.
    assert share.interval_ns == processes * limit.interval_ns
    assert processes * share.max_calls <= max(limit.max_calls, processes)
    assert share.tolerance_ns == (share.max_calls - 1) * share.interval_ns


@given(LIMITS, st.integers(1, 20), PAUSES)
def test_another_limit_only_ever_takes_away(
    limit: RateLimit, own_max_calls: int, pauses: list[int]
) -> None:
    clock = Clock()
    alone, together = RateLimiter(clock), RateLimiter(clock)
    own = RateLimit.of(own_max_calls, 60.0)
    admitted = [0, 0]
    for pause in pauses:
        clock.now_ns += pause
        admitted[0] += alone.admit([("key", limit)]) is None
        admitted[1] += together.admit([("key", limit), ("own", own)]) is None
        assert admitted[1] <= admitted[0]

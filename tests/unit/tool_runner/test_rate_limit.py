from __future__ import annotations

from typing import Any

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.tool_runner.policy.rate_limit import RateLimit, RateLimiter

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 12_345 * SECOND

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> RateLimiter:
    return RateLimiter(clock)


def test_a_burst_and_then_a_steady_rate(limiter: RateLimiter, clock: Clock) -> None:
    limits = [("ada", RateLimit.of(100, 60.0))]
    assert all(limiter.admit(limits) is None for _ in range(100))
    refusal = limiter.admit(limits)
    assert refusal is not None
    assert refusal.retry_after_seconds == 0.6
    clock.now_ns += 6 * SECOND // 10 - 1
    assert limiter.admit(limits) is not None
    clock.now_ns += 1
    assert limiter.admit(limits) is None
    assert limiter.admit(limits) is not None


def test_after_a_rest_the_burst_is_there_again(limiter: RateLimiter, clock: Clock) -> None:
    limits = [("ada", RateLimit.of(3, 1.0))]
    for _ in range(3):
        assert [limiter.admit(limits) is None for _ in range(4)] == [True, True, True, False]
        clock.now_ns += SECOND + 3  # an interval is rounded up to a nanosecond


def test_a_long_rest_gives_no_more_than_a_burst(limiter: RateLimiter, clock: Clock) -> None:
    limits = [("ada", RateLimit.of(3, 1.0))]
    limiter.admit(limits)
    clock.now_ns += 3600 * SECOND
    assert [limiter.admit(limits) is None for _ in range(4)] == [True, True, True, False]


def test_the_rate_is_never_exceeded_by_rounding() -> None:
    assert RateLimit.of(3, 1.0).interval_ns == 333_333_334
    assert RateLimit.of(100, 60.0).interval_ns == 600_000_000


def test_a_refusal_costs_nothing(limiter: RateLimiter, clock: Clock) -> None:
    limits = [("ada", RateLimit.of(1, 10.0))]
    assert limiter.admit(limits) is None
    for _ in range(1_000):
        assert limiter.admit(limits) is not None
    clock.now_ns += 10 * SECOND
    assert limiter.admit(limits) is None


def test_keys_do_not_share(limiter: RateLimiter) -> None:
    limit = RateLimit.of(1, 60.0)
    assert limiter.admit([("ada", limit)]) is None
    assert limiter.admit([("bob", limit)]) is None
    assert limiter.admit([("ada", limit)]) is not None


def test_a_refusal_in_one_scope_does_not_charge_another(limiter: RateLimiter) -> None:
    user, organization = RateLimit.of(1, 60.0), RateLimit.of(2, 60.0)
    assert limiter.admit([("ada", user), ("acme", organization)]) is None
    for _ in range(10):
        refusal = limiter.admit([("ada", user), ("acme", organization)])
        assert refusal is not None
        assert refusal.key == "ada"
    assert limiter.admit([("bob", user), ("acme", organization)]) is None
    refusal = limiter.admit([("eve", user), ("acme", organization)])
    assert refusal is not None
    assert refusal.key == "acme"


def test_the_wait_is_until_every_scope_lets_the_call_through(
    limiter: RateLimiter, clock: Clock
) -> None:
    limits = [("acme", RateLimit.of(1, 50.0)), ("ada", RateLimit.of(1, 5.0))]
    assert limiter.admit(limits) is None
    for order in (limits, limits[::-1]):
        refusal = limiter.admit(order)
        assert refusal is not None
        assert (refusal.key, refusal.retry_after_seconds) == ("acme", 50.0)
    clock.now_ns += 50 * SECOND
    assert limiter.admit(limits) is None


def test_a_limit_of_none_never_lets_through(limiter: RateLimiter) -> None:
    refusal = limiter.admit([("ada", RateLimit.of(0, 60.0))])
    assert refusal is not None
    assert refusal.retry_after_seconds is None


def test_keys_at_rest_are_forgotten(limiter: RateLimiter, clock: Clock) -> None:
    limit = RateLimit.of(1, 1.0)
    for number in range(10_000):
        limiter.admit([(number, limit)])
    clock.now_ns += 2 * SECOND
    limiter.admit([("busy", limit)])
    assert set(limiter._arrivals_ns) == {"busy"}


@pytest.mark.parametrize(
    ("max_calls", "window_seconds"),
    [
        (-1, 60),
        (1.5, 60),
        (True, 60),
        ("1", 60),
        (2**31, 60),
        (1, 0),
        (1, -5),
        (1, float("nan")),
        (1, float("inf")),
        (1, 31 * 24 * 3600),
        (1, "60"),
        (1, True),
    ],
)
def test_what_is_no_limit_is_refused(max_calls: Any, window_seconds: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        RateLimit.of(max_calls, window_seconds)

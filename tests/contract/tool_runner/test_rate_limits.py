"""What limits do, wherever calls are counted: in the process, or in a real Redis."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr

from agent_executor.storage.redis_client import RedisClient
from agent_executor.tool_runner.policy.call_policy import SharedRateLimits
from agent_executor.tool_runner.policy.gateway_limits import ProcessRateLimits
from agent_executor.tool_runner.policy.rate_limit import RateLimit, RateLimiter
from agent_executor.tool_runner.policy.rate_limit_redis import RedisRateLimiter
from tests.redis_server import RedisServer

# Longer than a test takes, so that nothing is filled in meanwhile.
HOUR = 3_600.0
PATIENCE_SECONDS = 30.0


@pytest.fixture(params=["memory", "redis"])
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[SharedRateLimits]:
    if request.param == "memory":
        yield ProcessRateLimits(RateLimiter(time.monotonic_ns))
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    client = RedisClient(SecretStr(server.url), timeout_seconds=PATIENCE_SECONDS)
    await client.start()
    yield RedisRateLimiter(
        client, on_unavailable="refuse", processes=lambda: 1, clock_ns=time.monotonic_ns
    )
    await client.close()


@pytest.fixture
def key() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"key-{next(numbers)}"


async def test_a_burst_and_no_more(limits: SharedRateLimits) -> None:
    limit = [("ada", RateLimit.of(7, HOUR))]
    outcomes = [await limits.admit(limit, "tool") is None for _ in range(10)]
    assert outcomes == [True] * 7 + [False] * 3


async def test_a_burst_that_comes_at_once_is_no_larger(limits: SharedRateLimits) -> None:
    limit = [("ada", RateLimit.of(100, HOUR))]
    outcomes = await asyncio.gather(*(limits.admit(limit, "tool") for _ in range(1_000)))
    assert outcomes.count(None) == 100


async def test_a_refusal_says_when_and_by_which_limit(limits: SharedRateLimits) -> None:
    loose, strict = ("acme", RateLimit.of(5, HOUR)), ("ada", RateLimit.of(1, 2 * HOUR))
    assert await limits.admit([loose, strict], "tool") is None
    refusal = await limits.admit([loose, strict], "tool")
    assert refusal is not None
    assert (refusal.key, refusal.limit) == strict
    assert refusal.retry_after_seconds is not None
    assert 2 * HOUR - 60 < refusal.retry_after_seconds <= 2 * HOUR


async def test_what_one_limit_refuses_is_not_counted_by_another(limits: SharedRateLimits) -> None:
    organization = ("acme", RateLimit.of(5, HOUR))
    both = [organization, ("ada", RateLimit.of(1, HOUR))]
    outcomes = [await limits.admit(both, "tool") is None for _ in range(20)]
    assert outcomes.count(True) == 1
    outcomes = [await limits.admit([organization], "tool") is None for _ in range(20)]
    assert outcomes.count(True) == 4


async def test_a_limit_of_none_lets_nothing_through(limits: SharedRateLimits) -> None:
    refusal = await limits.admit(
        [("ada", RateLimit.of(5, HOUR)), ("acme", RateLimit.of(0, HOUR))], "tool"
    )
    assert refusal is not None
    assert (refusal.key, refusal.retry_after_seconds) == ("acme", None)


async def test_other_keys_and_other_groups_are_apart(limits: SharedRateLimits) -> None:
    limit = RateLimit.of(1, HOUR)
    for name in ("ada", "bob", "", "}{", "ada\0bob", "\ud800", "x" * 10_000):
        one: list[tuple[tuple[str, str], RateLimit]] = [(("user", name), limit)]
        assert await limits.admit(one, f"tool {name}") is None, name[:10]
        assert await limits.admit(one, f"tool {name}") is not None, name[:10]


async def test_the_rate_after_a_burst_is_the_limits(limits: SharedRateLimits) -> None:
    # So fast a rate that a test sees it, and so short a burst that it does not matter.
    rate_per_second, burst = 200, 2
    limit = RateLimit.of(burst, burst / rate_per_second)
    started = time.monotonic()
    admitted = 0
    while (seconds := time.monotonic() - started) < 0.3:
        refusal = await limits.admit([("ada", limit)], "tool")
        seconds = time.monotonic() - started
        if refusal is None:
            admitted += 1
        else:
            assert refusal.retry_after_seconds is not None
            await asyncio.sleep(refusal.retry_after_seconds)
        assert admitted <= burst + math.ceil(rate_per_second * seconds)
    assert admitted > burst


@pytest.mark.parametrize("window_seconds", [1e-6, 0.5, 30 * 24 * HOUR])
@pytest.mark.parametrize("max_calls", [1, 3, 10_000])
async def test_the_ends_of_the_range(
    limits: SharedRateLimits, max_calls: int, window_seconds: float
) -> None:
    limit = RateLimit.of(max_calls, window_seconds)
    admitted = [await limits.admit([("ada", limit)], "tool") is None for _ in range(5)]
    if window_seconds > HOUR:
        assert admitted.count(True) == min(5, max_calls)
    else:
        assert admitted[0]

"""The script in a real Redis against the limiter in memory, step by step, on one clock of the test's."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_executor.tool_runner.policy import rate_limit_redis
from agent_executor.tool_runner.policy.rate_limit import RateLimit, RateLimiter
from agent_executor.tool_runner.policy.rate_limit_redis import redis_key
from tests.redis_server import RedisServer

MICROSECOND = 1_000
SECOND = 1_000_000_000
START_NS = 1_795_000_000 * SECOND
# The script with the last two arguments for a clock.
SCRIPT = "local time = {ARGV[#ARGV - 1], ARGV[#ARGV]}" + rate_limit_redis._DECISION

# Keys expire by the server's own clock, which a test does not outrun with such windows.
LIMITS = st.builds(RateLimit.of, st.integers(1, 20), st.floats(3_600, 2_592_000, allow_nan=False))
KEYS = ("organization", "user", "tool", "caller")
# A call of some client: how long after the one before, and which limits it has.
CALLS = st.lists(
    st.tuples(st.integers(0, 10**12), st.lists(st.sampled_from(KEYS), min_size=1, unique=True)),
    max_size=40,
)


@pytest.fixture(scope="module")
def client(redis_process: RedisServer) -> Iterator[redis.Redis]:
    redis_process.restore()
    with redis_process.client() as client:
        yield client


def decide(client: redis.Redis, limits: Sequence[tuple[Hashable, RateLimit]], now_ns: int) -> Any:
    keys = [redis_key("tool", key) for key, _ in limits]
    figures = [figure for _, each in limits for figure in (each.interval_ns, each.tolerance_ns)]
    clock = (now_ns // SECOND, now_ns % SECOND // MICROSECOND)
    reply = client.eval(SCRIPT, len(keys), *keys, *figures, *clock)
    return rate_limit_redis._refusal_of(reply, limits)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(LIMITS, min_size=len(KEYS), max_size=len(KEYS)), CALLS)
def test_every_decision_and_the_state_after_it_are_those_of_the_limiter_in_memory(
    client: redis.Redis, four: list[RateLimit], calls: list[tuple[int, list[str]]]
) -> None:
    client.flushall()
    by_key = dict(zip(KEYS, four, strict=True))
    now_ns = START_NS
    model = RateLimiter(lambda: now_ns)
    for pause_us, names in calls:
        now_ns += pause_us * MICROSECOND
        limits: list[tuple[Hashable, RateLimit]] = [(name, by_key[name]) for name in names]
        assert decide(client, limits, now_ns) == model.admit(limits)
        for name in KEYS:
            stored = client.get(redis_key("tool", name))
            expected = model._arrivals_ns.get(name)
            assert stored == (None if expected is None else str(expected).encode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(LIMITS, st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_whichever_order_clients_come_in_no_more_than_the_limit_pass(
    client: redis.Redis, limit: RateLimit, order: list[int]
) -> None:
    """Several clients at one instant, each with a limit of its own beside the common one."""
    client.flushall()
    admitted = 0
    for number in order:
        limits: list[tuple[Hashable, RateLimit]] = [("common", limit), (number, limit)]
        admitted += decide(client, limits, START_NS) is None
    assert admitted == min(len(order), limit.max_calls)

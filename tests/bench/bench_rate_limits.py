"""What one decision on the rate limits of a call costs: CPU of the process, and of Redis.

    python -m tests.bench.bench_rate_limits

Four limits each, as a call has with limits of its user, organization, tool and caller.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Hashable, Sequence
from pathlib import Path

import uvloop
from pydantic import SecretStr

from agent_executor.storage.redis_client import RedisClient
from agent_executor.tool_runner.policy.call_policy import SharedRateLimits
from agent_executor.tool_runner.policy.gateway_limits import ProcessRateLimits
from agent_executor.tool_runner.policy.rate_limit import RateLimit, RateLimiter
from agent_executor.tool_runner.policy.rate_limit_redis import RedisRateLimiter
from tests.redis_server import RedisServer

DECISIONS = 20_000
USERS = 100
LIMIT = RateLimit.of(1_000_000, 60.0)


def limits_of(user: int) -> list[tuple[Hashable, RateLimit]]:
    """Returns the limits of a call of a user."""
    return [
        (("user", "calculator", 1_000_000, 60.0, "acme", f"user-{user}"), LIMIT),
        (("organization", "calculator", 1_000_000, 60.0, "acme"), LIMIT),
        (("tool", "calculator", 1_000_000, 60.0), LIMIT),
        (("caller", "calculator", "acme", f"user-{user}"), LIMIT),
    ]


async def decide(limits: SharedRateLimits, callers: int, latencies: list[float]) -> None:
    """Makes the decisions, so many at a time."""

    async def one(caller: int) -> None:
        own: Sequence[tuple[Hashable, RateLimit]] = limits_of(caller % USERS)
        for _ in range(DECISIONS // callers):
            started = time.perf_counter()
            assert await limits.admit(own, "calculator") is None
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(one(caller) for caller in range(callers)))


async def measure(name: str, limits: SharedRateLimits, server: RedisServer | None) -> None:
    """Prints a line for each number of callers."""
    for callers in (1, 16, 64):
        latencies: list[float] = []
        redis_before = _redis_cpu_seconds(server)
        started, cpu_before = time.perf_counter(), time.process_time()
        await decide(limits, callers, latencies)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_before
        count = len(latencies)
        latencies.sort()
        print(
            f"{name:7} {callers:3} callers: {cpu_seconds / count * 1e6:6.1f} us CPU, "
            f"{(_redis_cpu_seconds(server) - redis_before) / count * 1e6:5.1f} us of Redis, "
            f"{count / seconds:8.0f}/s, p50 {latencies[count // 2] * 1e3:.2f} ms, "
            f"p99 {latencies[count * 99 // 100] * 1e3:.2f} ms"
        )


def _redis_cpu_seconds(server: RedisServer | None) -> float:
    if server is None:
        return 0.0
    with server.client() as client:
        cpu = client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


async def main(server: RedisServer) -> None:
    """Measures both."""
    print(f"load {os.getloadavg()}")
    await measure("memory", ProcessRateLimits(RateLimiter(time.monotonic_ns)), None)
    client = RedisClient(SecretStr(server.url), timeout_seconds=30)
    await client.start()
    limits = RedisRateLimiter(
        client, on_unavailable="refuse", processes=lambda: 1, clock_ns=time.monotonic_ns
    )
    await measure("redis", limits, server)
    await client.close()
    print(f"load {os.getloadavg()}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        redis_server = RedisServer(Path(folder))
        try:
            uvloop.run(main(redis_server))
        finally:
            redis_server.kill()

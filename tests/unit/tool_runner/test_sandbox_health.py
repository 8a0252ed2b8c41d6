from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from grpc_health.v1 import health, health_pb2
from prometheus_client import CollectorRegistry

from agent_executor.serving.metric_names import SANDBOX_AVAILABLE
from agent_executor.serving.metrics import Metrics
from agent_executor.tool_runner.isolation.status import SandboxStatus
from agent_executor.tool_runner.sandbox_health import HEALTH_NAME, SandboxHealth
from tests.unit.tool_runner.tools_of_tests import until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
GOOD = SandboxStatus(True, "landlock")
BAD = SandboxStatus(False, "none", missing=("seccomp",), remedy="Get a newer kernel.")


class FakePool:
    """A sandbox whose state a test sets; it counts how often it is tried."""

    def __init__(self) -> None:
        self.status = GOOD
        self.found = GOOD
        self.tries = 0
        self.error: Exception | None = None

    async def check(self) -> SandboxStatus:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.status = self.found
        return self.status


class Watched:
    """A watched pool, and what is told of it."""

    def __init__(self, interval_seconds: float) -> None:
        self.pool = FakePool()
        self.servicer = health.aio.HealthServicer()
        self.registry = CollectorRegistry()
        self.health = SandboxHealth(
            self.pool, self.servicer, Metrics(self.registry), interval_seconds=interval_seconds
        )

    async def told(self) -> int | None:
        with suppress(AttributeError):
            request = health_pb2.HealthCheckRequest(service=HEALTH_NAME)
            answer = await self.servicer.Check(request, None)
            return int(answer.status)
        # The servicer refuses a name that it does not know, for which it needs a context.
        return None

    async def until_told(self, status: int) -> None:
        async with asyncio.timeout(60):
            while await self.told() != status:  # noqa: ASYNC110 -- what is waited for sets no event
                await asyncio.sleep(0.001)

    @property
    def gauge(self) -> float | None:
        return self.registry.get_sample_value(SANDBOX_AVAILABLE.name)


@asynccontextmanager
async def watching(interval_seconds: float) -> AsyncIterator[Watched]:
    watched = Watched(interval_seconds)
    task = asyncio.create_task(watched.health.watch())
    try:
        yield watched
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_health_and_gauge_follow_what_the_attacks_find(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watching(0.005) as watched:
        await watched.until_told(SERVING)
        assert watched.gauge == 1
        watched.pool.found = BAD
        await watched.until_told(NOT_SERVING)
        assert watched.gauge == 0
        assert "seccomp" in caplog.text
        watched.pool.found = GOOD
        await watched.until_told(SERVING)
        assert watched.gauge == 1


async def test_what_the_pool_finds_by_itself_is_told_before_the_next_attacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent_executor.tool_runner.sandbox_health.STATUS_SECONDS", 0.005)
    async with watching(3_600.0) as watched:
        await watched.until_told(SERVING)
        watched.pool.status = BAD
        await watched.until_told(NOT_SERVING)
        assert watched.pool.tries == 0


async def test_it_is_tried_again_after_a_try_that_failed() -> None:
    async with watching(0.005) as watched:
        watched.pool.error = OSError("no process is left")
        await until(lambda: watched.pool.tries >= 2)
        watched.pool.error = None
        watched.pool.found = BAD
        await watched.until_told(NOT_SERVING)

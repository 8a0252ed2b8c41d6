"""Tries the sandbox again and again, and tells health checks, metrics and the log what came of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from grpc_health.v1 import health, health_pb2

from agent_executor.serving.metrics import SANDBOX_AVAILABLE, Metrics
from agent_executor.tool_runner.isolation.pool import WorkerPool
from agent_executor.tool_runner.isolation.status import SandboxStatus

HEALTH_NAME: Final = "agent_executor.sandbox"
"""The name by which a gRPC health check asks for the sandbox alone."""

_LOGGER = logging.getLogger(__name__)


class SandboxHealth:
    """Watches a pool of workers.

    Args:
        pool: The pool, started.
        servicer: Answers health checks.
        metrics: Where the sandbox is a gauge.
        interval_seconds: How often it is tried.
    """

    def __init__(
        self,
        pool: WorkerPool,
        servicer: health.aio.HealthServicer,
        metrics: Metrics,
        *,
        interval_seconds: float,
    ) -> None:
        self._pool = pool
        self._servicer = servicer
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._was_available: bool | None = None

    async def watch(self) -> None:
        """Tells of the sandbox, and tries it again after each interval, without end."""
        await self._tell(self._pool.status)
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self._tell(await self._pool.check())

    async def _tell(self, status: SandboxStatus) -> None:
        served = health_pb2.HealthCheckResponse
        await self._servicer.set(
            HEALTH_NAME, served.SERVING if status.available else served.NOT_SERVING
        )
        self._metrics.set_gauge(SANDBOX_AVAILABLE, float(status.available))
        if status.available == self._was_available:
            return
        self._was_available = status.available
        if status.available:
            _LOGGER.info("custom tools run in the sandbox, tier %s", status.tier)
        else:
            _LOGGER.error("custom tools are refused: %s", status.as_error().message)

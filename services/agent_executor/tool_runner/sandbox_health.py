"""Tries the sandbox again and again, and tells health checks, metrics and the log what came of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from grpc_health.v1 import health, health_pb2

from agent_executor.serving.metric_names import SANDBOX_AVAILABLE
from agent_executor.serving.metrics import Metrics
from agent_executor.tool_runner.isolation.status import SandboxStatus

HEALTH_NAME: Final = "agent_executor.sandbox"
"""The name by which a gRPC health check asks for the sandbox alone."""

# How late it may be told of what the sandbox has found out by itself.
STATUS_SECONDS: Final = 1.0

_LOGGER = logging.getLogger(__name__)


class WatchedSandbox(Protocol):
    """What is watched; ``WorkerPool`` is one."""

    @property
    def status(self) -> SandboxStatus:
        """The state at present."""
        ...

    async def check(self) -> SandboxStatus:
        """Tries the sandbox with attacks, and returns what came of it."""
        ...


class SandboxHealth:
    """Watches a sandbox.

    Args:
        sandbox: What is watched; it has been started.
        servicer: Answers health checks.
        metrics: Where the sandbox is a gauge.
        interval_seconds: How often it is tried.
    """

    def __init__(
        self,
        sandbox: WatchedSandbox,
        servicer: health.aio.HealthServicer,
        metrics: Metrics,
        *,
        interval_seconds: float,
    ) -> None:
        self._sandbox = sandbox
        self._servicer = servicer
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._was_available: bool | None = None

    async def watch(self) -> None:
        """Tells of the sandbox, and tries it again after each interval, without end."""
        clock = asyncio.get_running_loop().time
        next_try = clock() + self._interval_seconds
        while True:
            await self._tell(self._sandbox.status)
            await asyncio.sleep(min(STATUS_SECONDS, self._interval_seconds))
            if clock() >= next_try:
                await self._try()
                next_try = clock() + self._interval_seconds

    async def _try(self) -> None:
        try:
            await self._sandbox.check()
        except Exception:
            # Whatever it was, the next try may go well; without one nobody would look any more.
            _LOGGER.exception("the sandbox could not be tried with attacks")

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

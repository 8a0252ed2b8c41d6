"""Builds the web process from its parts; the only place here that chooses them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from agent_executor.serving.metrics import Metrics, metrics_served
from agent_executor.serving.process import (
    flush,
    run_process,
    spare_the_collector,
    stop_on_signals,
)
from agent_executor.serving.process_metrics import process_told
from agent_executor.serving.telemetry import configure_telemetry
from agent_executor.web.a2a import room as a2a
from agent_executor.web.application import Room, application
from agent_executor.web.console import routes as console
from agent_executor.web.docs import routes as docs
from agent_executor.web.mcp import room as mcp
from agent_executor.web.monitor import room as monitor
from agent_executor.web.runtime import WebRuntime
from agent_executor.web.server import served
from agent_executor.web.services_grpc import Services
from agent_executor.web.settings import WebSettings

PROCESS_NAME: Final = "web"

_LOGGER = logging.getLogger(__name__)


async def rooms(runtime: WebRuntime) -> Sequence[Room]:
    """Opens every room; what a room keeps open goes to the runtime's resources."""
    return [
        docs.room(),
        console.room(),
        mcp.room(runtime),
        a2a.room(runtime),
        monitor.room(runtime),
    ]


def main() -> int:
    """Runs the process until it is told to stop, and returns its exit code."""
    return run_process(PROCESS_NAME, WebSettings.load, serve)


async def serve(settings: WebSettings) -> None:
    """Serves until the process gets SIGTERM or SIGINT.

    Raises:
        StartupError: The process cannot start.
    """
    stop = stop_on_signals()
    async with started(settings):
        spare_the_collector()
        await stop.wait()
        _LOGGER.info("stopping")
    _LOGGER.info("stopped")


@dataclass(frozen=True, slots=True)
class RunningWeb:
    """A web process that answers.

    Attributes:
        http_port: The port that it serves HTTP on.
        metrics_port: The port that it serves ``/metrics`` on.
    """

    http_port: int
    metrics_port: int


@asynccontextmanager
async def started(settings: WebSettings) -> AsyncIterator[RunningWeb]:
    """Starts the process, yields once it answers, and stops it in order.

    Raises:
        StartupError: A port is taken.
    """
    async with AsyncExitStack() as plumbing:
        metrics = Metrics(max_names=settings.metrics_max_names)
        telemetry = configure_telemetry(PROCESS_NAME, settings)
        plumbing.push_async_callback(flush, telemetry)
        metrics_port = plumbing.enter_context(
            metrics_served(metrics, settings.metrics_host or settings.host, settings.metrics_port)
        )
        plumbing.enter_context(process_told(metrics, PROCESS_NAME))
        resources = await plumbing.enter_async_context(AsyncExitStack())
        runtime = WebRuntime(
            settings=settings,
            services=await Services.connect(settings, resources),
            metrics=metrics,
            telemetry=telemetry,
            resources=resources,
            stopping=asyncio.Event(),
        )
        app = application(runtime, await rooms(runtime))
        async with served(app, settings, runtime.stopping.set) as http_port:
            yield RunningWeb(http_port, metrics_port)

"""What the rooms of the web process are built on."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from agent_executor.serving.metrics import Metrics
from agent_executor.serving.telemetry import Telemetry
from agent_executor.web.services_grpc import Services
from agent_executor.web.settings import WebSettings


@dataclass(frozen=True, slots=True)
class WebRuntime:
    """What a room may use.

    Attributes:
        settings: The settings.
        services: The three services.
        metrics: Where it counts.
        telemetry: Makes its spans.
        resources: What it opens goes here, to be closed in reverse when no request is left.
        stopping: Is set when the process is to stop; streams, which have no end of their own, are
            to end then.
    """

    settings: WebSettings
    services: Services
    metrics: Metrics
    telemetry: Telemetry
    resources: AsyncExitStack
    stopping: asyncio.Event

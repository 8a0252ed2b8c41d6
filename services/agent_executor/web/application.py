"""The web application: the rooms, each with its routes, behind what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from agent_executor.errors import UnavailableError
from agent_executor.web.error_convert import EXCEPTION_HANDLERS
from agent_executor.web.limits import BodyLimit
from agent_executor.web.observation import Observation
from agent_executor.web.runtime import WebRuntime

READINESS_PATH: Final = "/web/healthz"
"""Where the gateway asks whether this process takes requests; callers do not reach it."""


@dataclass(frozen=True, slots=True)
class Room:
    """One thing that the web process serves.

    Attributes:
        name: The first segment of its paths, which its requests are counted under.
        routes: Its routes, with their whole paths.
    """

    name: str
    routes: Sequence[BaseRoute]


def application(runtime: WebRuntime, rooms: Sequence[Room]) -> Starlette:
    """Builds the application.

    Args:
        runtime: What it is built on.
        rooms: What it serves; the first route that matches a path answers it.
    """

    async def readiness(_request: Request) -> Response:
        if runtime.stopping.is_set():
            raise UnavailableError("The process is stopping.")
        return JSONResponse({"status": "serving"})

    routes: list[BaseRoute] = [Route(READINESS_PATH, readiness, methods=["GET"])]
    for room in rooms:
        routes.extend(room.routes)
    application = Starlette(
        routes=routes,
        exception_handlers=EXCEPTION_HANDLERS,
        middleware=[
            Middleware(
                Observation,
                metrics=runtime.metrics,
                tracer=runtime.telemetry.tracer,
                rooms=[room.name for room in rooms],
            ),
            Middleware(BodyLimit, max_bytes=runtime.settings.request_max_bytes),
        ],
    )
    # A redirect would name the scheme and host that the gateway called, which are not the caller's.
    application.router.redirect_slashes = False
    return application

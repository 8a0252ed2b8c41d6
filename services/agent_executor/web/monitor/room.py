"""Serves `GET /api/v1/monitor`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from agent_executor.web.application import Room
from agent_executor.web.error_convert import error_answer
from agent_executor.web.monitor.activity_convert import ActivityTexts
from agent_executor.web.monitor.monitors_grpc import Monitors
from agent_executor.web.runtime import WebRuntime

PATH: Final = "/api/v1/monitor"


def room(runtime: WebRuntime) -> Room:
    """Returns the route of the monitor."""
    monitors = Monitors(runtime, ActivityTexts())

    async def serve(socket: WebSocket) -> None:
        await monitors.serve(socket)

    return Room(
        "api",
        [WebSocketRoute(PATH, serve), Route(PATH, _upgrade_required, methods=["GET"])],
    )


async def _upgrade_required(_request: Request) -> Response:
    return error_answer(
        HTTPStatus.UPGRADE_REQUIRED,
        "INVALID_ARGUMENT",
        "The monitor is a WebSocket; deploy/docs/monitoring.md shows how to connect.",
        headers={"upgrade": "websocket", "connection": "upgrade"},
    )

"""What is served below `/docs`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from agent_executor.web.application import Room


def room() -> Room:
    """Returns the routes of the documentation page."""
    return Room("docs", [Route("/docs", _page, methods=["GET"])])


async def _page(_request: Request) -> Response:
    return HTMLResponse("<!doctype html><title>Agent Executor</title>")

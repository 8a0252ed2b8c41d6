"""Serves `/a2a`: for each agent its card, and its tasks by JSON-RPC."""

from __future__ import annotations

import logging
from typing import Final

from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, request_response

from agent_executor.web.a2a.card_convert import agent_to_card
from agent_executor.web.a2a.request_handler import AgentContexts, AgentDispatcher, RunHandler
from agent_executor.web.agent_access import AgentAccess
from agent_executor.web.application import Room
from agent_executor.web.executor_grpc import Executor
from agent_executor.web.runtime import WebRuntime

TASKS_PATH: Final = "/a2a/agents/{agent_id}"
CARD_PATH: Final = TASKS_PATH + "/.well-known/agent-card.json"


def room(runtime: WebRuntime) -> Room:
    """Returns the routes of the agents' cards and tasks."""
    # The SDK tells of requests by what they hold; what breaks here is told by the handler.
    logging.getLogger("a2a").setLevel(logging.CRITICAL)
    dispatcher = AgentDispatcher(
        RunHandler(runtime), context_builder=AgentContexts(), enable_v0_3_compat=True
    )

    async def card(request: Request) -> Response:
        executor = Executor.of(runtime, request.headers)
        agent = await executor.get_agent(request.path_params["agent_id"])
        tools = await executor.list_agent_tools(agent.id)
        url = _base_url(runtime, request) + TASKS_PATH.format(agent_id=agent.id)
        described = agent_card_to_dict(agent_to_card(agent, tools.tools, url))
        return JSONResponse(described, headers={"cache-control": "private, no-cache"})

    settings = runtime.settings
    served = AgentAccess(
        request_response(dispatcher.handle_requests),
        settings.allowed_origins,
        settings.max_agent_requests,
    )
    cards = AgentAccess(
        request_response(card), settings.allowed_origins, settings.max_agent_requests
    )
    return Room(
        "a2a",
        [
            Route(CARD_PATH, cards, methods=["GET"]),
            Route(TASKS_PATH, served, methods=["POST"]),
        ],
    )


def _base_url(runtime: WebRuntime, request: Request) -> str:
    if runtime.settings.public_url:
        return runtime.settings.public_url
    # The gateway says how it was reached; a caller who says otherwise misleads himself alone.
    scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else "http"
    return f"{scheme}://{request.headers['host']}"

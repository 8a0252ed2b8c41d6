"""For each agent its card, and its tasks by JSON-RPC."""

from __future__ import annotations

import logging
from typing import Final

from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from agent_executor.web.a2a.card_convert import agent_to_card
from agent_executor.web.a2a.request_handler import AgentContexts, AgentDispatcher, RunHandler
from agent_executor.web.executor_grpc import Executor
from agent_executor.web.runtime import WebRuntime

_TASKS_PATH: Final = "/agents/{agent_id}"
_CARD_PATH: Final = _TASKS_PATH + "/.well-known/agent-card.json"


def application(runtime: WebRuntime, path: str) -> Router:
    """Returns the routes of the agents' cards and tasks.

    Args:
        runtime: Leads to the executor.
        path: Where they are mounted.
    """
    # The SDK tells of requests by what they hold; what breaks here is told by the handler.
    logging.getLogger("a2a").setLevel(logging.CRITICAL)
    dispatcher = AgentDispatcher(
        RunHandler(runtime), context_builder=AgentContexts(), enable_v0_3_compat=True
    )

    async def card(request: Request) -> Response:
        executor = Executor.of(runtime, request.headers)
        agent = await executor.get_agent(request.path_params["agent_id"])
        tools = await executor.list_agent_tools(agent.id)
        url = _base_url(runtime, request) + path + _TASKS_PATH.format(agent_id=agent.id)
        described = agent_card_to_dict(agent_to_card(agent, tools.tools, url))
        return JSONResponse(described, headers={"cache-control": "private, no-cache"})

    return Router(
        [
            Route(_CARD_PATH, card, methods=["GET"]),
            Route(_TASKS_PATH, dispatcher.handle_requests, methods=["POST"]),
        ]
    )


def _base_url(runtime: WebRuntime, request: Request) -> str:
    if runtime.settings.public_url:
        return runtime.settings.public_url
    # The gateway says how it was reached; a caller who says otherwise misleads himself alone.
    scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else "http"
    return f"{scheme}://{request.headers['host']}"

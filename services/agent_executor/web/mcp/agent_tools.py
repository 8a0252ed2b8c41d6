"""What the MCP server does: lists the agents of the caller's organization, and runs them.

What becomes of a run whose caller goes away is decided by the revision of the protocol. Since
2026-07-28 closing the response's stream is how a client cancels, and the run is cancelled. Before,
a client cancels by a notification, and a connection that is lost says nothing: the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, TypeAlias

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.requests import Request

from agent_executor.errors import AgentExecutorError, InvalidArgumentError
from agent_executor.web.error_convert import error_body
from agent_executor.web.executor_grpc import Executor
from agent_executor.web.mcp.answer_convert import error_to_result, run_to_result
from agent_executor.web.mcp.calls_under_way import CallId, CallsUnderWay
from agent_executor.web.mcp.progress_convert import update_to_message
from agent_executor.web.mcp.sessions import SESSION_HEADER
from agent_executor.web.mcp.tool_arguments import CallArguments, RunArguments, parse_arguments
from agent_executor.web.mcp.tool_convert import CANCEL_RUN, GET_RUN, RUN_TOOLS, agent_to_tool
from agent_executor.web.mcp.tool_names import agent_id_of
from agent_executor.web.run_following_grpc import FollowedRun, RunFollower, RunUpdate
from agent_executor.web.runtime import WebRuntime

IDEMPOTENCY_KEY: Final = "agent-executor/idempotency-key"
"""The key of a call's `_meta` under which a repeated call is the same run."""

_PAGE_SIZE: Final = 100
_KEY_MAX_LENGTH: Final = 200
_CANCELLED: Final = "notifications/cancelled"
_CANCEL_REASON: Final = "The MCP client cancelled the call."

_LOGGER = logging.getLogger(__name__)

Context: TypeAlias = ServerRequestContext[dict[str, Any], Request]


class AgentTools:
    """The handlers of the MCP server.

    Args:
        runtime: Leads to the executor.
        calls: Where calls under way are found.
    """

    def __init__(self, runtime: WebRuntime, calls: CallsUnderWay) -> None:
        self._runtime = runtime
        self._calls = calls

    async def list_tools(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        """Returns a page of the tools that are active agents; the first has those for runs, too.

        Raises:
            MCPError: The executor refuses.
        """
        cursor = (params.cursor if params else None) or ""
        try:
            page = await self._executor(context).list_agents(cursor, _PAGE_SIZE)
        except AgentExecutorError as error:
            raise _protocol_error(error) from error
        except Exception as error:
            # Its text may tell of internals.
            _LOGGER.exception("an MCP request broke")
            raise _unknown_error() from error
        agents = [agent_to_tool(agent) for agent in page.agents if agent.is_active]
        return ListToolsResult(
            tools=agents if cursor else [*RUN_TOOLS, *agents],
            next_cursor=page.next_page_token or None,
        )

    async def call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Runs an agent, or answers a tool for runs.

        Raises:
            MCPError: There is no tool of that name, by its form.
        """
        agent_id = agent_id_of(params.name)
        if agent_id is None and params.name not in {GET_RUN, CANCEL_RUN}:
            raise MCPError(code=INVALID_PARAMS, message=f"Unknown tool: {params.name[:128]}")
        try:
            if agent_id is None:
                return run_to_result(await self._run_tool(context, params))
            arguments = parse_arguments(CallArguments, params.arguments)
            return run_to_result(await self._run_agent(context, agent_id, arguments))
        except AgentExecutorError as error:
            return error_to_result(error)
        except Exception as error:
            # Its text may tell of internals.
            _LOGGER.exception("an MCP request broke")
            raise _unknown_error() from error

    async def on_message(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Sees every message, and cancels the run of a call that a notification cancels."""
        if ctx.method == _CANCELLED and ctx.request_id is None:
            request_id = (ctx.params or {}).get("requestId")
            if isinstance(request_id, str | int):
                self._cancel(ctx, request_id)
        return await call_next(ctx)

    async def _run_agent(
        self, context: Context, agent_id: str, arguments: CallArguments
    ) -> FollowedRun:
        executor = self._executor(context)
        follower = RunFollower(
            executor,
            self._runtime.stopping,
            agent_id,
            arguments.input,
            arguments.conversation_id,
        )
        told = 0

        async def tell(update: RunUpdate) -> None:
            nonlocal told
            message = update_to_message(update)
            if message:
                told += 1
                await context.session.report_progress(told, message=message)

        with self._calls.entered(_call_id(context, context.request_id), follower):
            try:
                return await follower.follow(tell)
            except asyncio.CancelledError:
                is_cancel = context.protocol_version in MODERN_PROTOCOL_VERSIONS
                if is_cancel and not self._runtime.stopping.is_set():
                    self._calls.in_background(lambda: _cancelled(follower))
                raise

    async def _run_tool(self, context: Context, params: CallToolRequestParams) -> FollowedRun:
        run_id = parse_arguments(RunArguments, params.arguments).task_id
        executor = self._executor(context)
        if params.name == CANCEL_RUN:
            await executor.cancel_run(run_id, _CANCEL_REASON)
        return FollowedRun(await executor.get_run(run_id))

    def _cancel(self, context: Context, request_id: str | int) -> None:
        call_id = _call_id(context, request_id)
        follower = self._calls.find(call_id) if call_id is not None else None
        if follower is not None:
            executor = self._executor(context)
            self._calls.in_background(lambda: _cancelled(follower, executor))

    def _executor(self, context: Context) -> Executor:
        executor = Executor.of(self._runtime, _headers(context))
        key = (context.meta or {}).get(IDEMPOTENCY_KEY)
        if key is None:
            return executor
        if not isinstance(key, str) or not 1 <= len(key) <= _KEY_MAX_LENGTH or not _is_plain(key):
            raise InvalidArgumentError(
                f"{IDEMPOTENCY_KEY} is a text of 1 to {_KEY_MAX_LENGTH} printable ASCII characters."
            )
        return executor.under(key)


def _headers(context: Context) -> Headers:
    """Returns the headers of the HTTP request, of which there is one for every message."""
    assert context.request is not None  # noqa: S101 -- true of the one transport that is served
    return context.request.headers


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


async def _cancelled(follower: RunFollower, executor: Executor | None = None) -> None:
    try:
        if executor is None:
            await follower.cancel(_CANCEL_REASON)
        else:
            await follower.cancel_for(executor, _CANCEL_REASON)
    except AgentExecutorError as error:
        _LOGGER.warning("A run whose call was cancelled could not be ended: %s", error.message)


def _call_id(context: Context, request_id: str | int | None) -> CallId | None:
    session = _headers(context).get(SESSION_HEADER)
    return (session, request_id) if session and request_id is not None else None


def _protocol_error(error: AgentExecutorError) -> MCPError:
    code = INVALID_PARAMS if error.code == "INVALID_ARGUMENT" else INTERNAL_ERROR
    body = error_body(error.reason, error.message, error.tool_name)
    return MCPError(code=code, message=error.message, data=body)


def _unknown_error() -> MCPError:
    return MCPError(code=INTERNAL_ERROR, message="Something broke inside the platform.")

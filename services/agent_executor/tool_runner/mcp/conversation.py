"""One conversation with an MCP server, in the words of the official SDK.

It is loaded at the first conversation, for the SDK takes most of a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any, Final, TypeVar

import httpx2
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.inbound import find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter

from agent_executor.egress.client import USER_AGENT
from agent_executor.egress.kept_transport import IDENTITY
from agent_executor.errors import LimitExceededError, ToolExecutionError
from agent_executor.tool_runner.mcp.listing import OfferedTool
from agent_executor.tool_runner.mcp.transport import ConversationTransport

T = TypeVar("T")

ANSWER_BYTES_MAX: Final = 2_097_152
LISTED_TOOLS_MAX: Final = 1_024
LISTED_PAGES_MAX: Final = 32

_CLIENT: Final = types.Implementation(name="agent-executor", version=version("agent-executor"))
_CALL_ANSWER: Final[TypeAdapter[Any]] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)

for _name in ("mcp", "client", "httpx2"):
    # They tell what servers say, session ids and arguments included.
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


def mode_of(protocol_version: str) -> str:
    """Returns how the SDK is to begin with a server that spoke this version last.

    Newer versions need no handshake. Empty: nothing is known, so the server is asked.
    """
    if not protocol_version:
        return "auto"
    return protocol_version if protocol_version in MODERN_PROTOCOL_VERSIONS else "legacy"


def argument_headers(
    input_schema: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, str]:
    """Returns the headers in which the protocol repeats those arguments that the schema marks."""
    if find_invalid_x_mcp_header(input_schema) is not None:
        return {}
    return mcp_param_headers(x_mcp_header_map(input_schema), arguments)


async def converse(
    answer: asyncio.Future[T],
    url: str,
    transport: ConversationTransport,
    talk: Callable[[Client], Awaitable[T]],
    *,
    mode: str,
    headers: Mapping[str, str],
) -> None:
    """Connects, talks, and says goodbye, which whoever waits for the answer need not wait for.

    Nothing that a server asks for is granted: no sampling, no elicitation, no roots.

    Args:
        answer: Gets what came of the talk.
        url: The server's endpoint.
        transport: Is closed at the end.
        talk: What is to be said.
        mode: As ``mode_of`` says.
        headers: Go with each request.
    """
    try:
        async with httpx2.AsyncClient(
            transport=transport,
            headers={"accept-encoding": IDENTITY, "user-agent": USER_AGENT, **headers},
            trust_env=False,
            follow_redirects=False,
            timeout=None,
        ) as http_client:
            streams = streamable_http_client(
                url, http_client=http_client, max_sse_event_size=ANSWER_BYTES_MAX
            )
            async with Client(streams, mode=mode, client_info=_CLIENT, cache=None) as client:
                try:
                    result = await talk(client)
                except Exception as error:  # noqa: BLE001 -- whoever waits sorts it out
                    _fail(answer, error)
                else:
                    if not answer.done():
                        answer.set_result(result)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 -- whoever waits sorts it out
        # What fails in the goodbye is of no interest any more.
        _fail(answer, error)


async def list_tools(client: Client) -> tuple[str, str, list[OfferedTool]]:
    """Asks for all tools; returns the server's title and protocol version, and them.

    Raises:
        LimitExceededError: The list does not end.
    """
    offered: list[OfferedTool] = []
    params: types.PaginatedRequestParams | None = None
    for _ in range(LISTED_PAGES_MAX):
        page = await client.session.list_tools(params=params)
        offered.extend(map(_offered, page.tools))
        if not page.next_cursor:
            info = client.server_info
            title = "" if info is None else info.title or info.name
            return title, client.protocol_version, offered
        if len(offered) >= LISTED_TOOLS_MAX:
            break
        params = types.PaginatedRequestParams(cursor=page.next_cursor)
    raise LimitExceededError(
        f"The MCP server lists more than {LISTED_TOOLS_MAX} tools or {LISTED_PAGES_MAX} pages."
    )


async def call_tool(client: Client, tool_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Calls a tool and returns the answer as the protocol writes it.

    Raises:
        ToolExecutionError: The server asks for something first.
    """
    # Not the SDK's own method, which checks the answer against a schema that the server made, for
    # as long as that takes, and lists all tools for it.
    answer = await client.session.send_request(
        types.CallToolRequest(
            params=types.CallToolRequestParams(name=tool_name, arguments=arguments)
        ),
        _CALL_ANSWER,
    )
    if isinstance(answer, types.InputRequiredResult):
        raise ToolExecutionError("The MCP server asks for further input, which it does not get.")
    written: dict[str, Any] = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
    return written


def _offered(tool: types.Tool) -> OfferedTool:
    hints = tool.annotations or types.ToolAnnotations()
    return OfferedTool(
        name=tool.name,
        description=tool.description or tool.title or hints.title or "",
        input_schema=tool.input_schema,
        read_only=hints.read_only_hint,
        idempotent=hints.idempotent_hint,
    )


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
        # Whoever waited may be gone.
        answer.exception()

"""Between MCP servers and their contract. Pure; decides nothing."""

from __future__ import annotations

from typing import cast

from agent_executor.api.tool_runner.v1 import mcp_server_service_pb2
from agent_executor.serving.timestamp_convert import timestamp
from agent_executor.tool_runner.mcp.mcp_server import McpServer
from agent_executor.tool_runner.tool_base import Effect


def server_from_proto(request: mcp_server_service_pb2.PutMcpServerRequest) -> McpServer:
    """Returns the server that a request asks for, as yet without tools."""
    return McpServer(
        name=request.name,
        url=request.url,
        credential_name=request.credential_name,
        allowed_tools=tuple(dict.fromkeys(request.allowed_tools)),
        # The contract lets no other in.
        effect=cast("Effect", request.effect or "unsafe"),
        trusts_hints=request.trusts_hints,
        requires_approval=request.requires_approval,
        timeout_seconds=request.timeout_seconds,
    )


def server_to_proto(server: McpServer) -> mcp_server_service_pb2.McpServer:
    """Returns a server with its tools."""
    return mcp_server_service_pb2.McpServer(
        name=server.name,
        url=server.url,
        credential_name=server.credential_name,
        allowed_tools=server.allowed_tools,
        effect=server.effect,
        trusts_hints=server.trusts_hints,
        requires_approval=server.requires_approval,
        timeout_seconds=server.timeout_seconds,
        server_title=server.server_title,
        tools=[
            mcp_server_service_pb2.McpTool(
                name=tool.name,
                server_tool_name=tool.server_tool_name,
                description=tool.description,
                effect=tool.effect,
            )
            for tool in server.tools
        ],
        findings=server.findings,
        refreshed_at=timestamp(server.refreshed_at_ms),
    )

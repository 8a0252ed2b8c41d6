"""MCP servers over gRPC: proto in, proto out."""

from __future__ import annotations

from agent_executor.api.tool_runner.v1 import mcp_server_service_pb2, mcp_server_service_pb2_grpc
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context
from agent_executor.tool_runner.mcp.convert import server_from_proto, server_to_proto
from agent_executor.tool_runner.mcp.mcp_servers import McpServers


class McpServerServicer(mcp_server_service_pb2_grpc.McpServerServiceServicer):
    """See ``protos/agent_executor/api/tool_runner/v1/mcp_server_service.proto``."""

    def __init__(self, servers: McpServers) -> None:
        self._servers = servers

    async def PutMcpServer(  # noqa: N802 -- the contract's name
        self, request: mcp_server_service_pb2.PutMcpServerRequest, context: Context
    ) -> mcp_server_service_pb2.McpServer:
        """Stores a server."""
        del context
        server = await self._servers.put(server_from_proto(request), current_security_context.get())
        return server_to_proto(server)

    async def ListMcpServers(  # noqa: N802 -- the contract's name
        self, request: mcp_server_service_pb2.ListMcpServersRequest, context: Context
    ) -> mcp_server_service_pb2.ListMcpServersResponse:
        """Lists the servers."""
        del context
        page = await self._servers.list_servers(
            current_security_context.get(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return mcp_server_service_pb2.ListMcpServersResponse(
            mcp_servers=map(server_to_proto, page.entries), next_page_token=page.next_page_token
        )

    async def GetMcpServer(  # noqa: N802 -- the contract's name
        self, request: mcp_server_service_pb2.GetMcpServerRequest, context: Context
    ) -> mcp_server_service_pb2.McpServer:
        """Returns a server."""
        del context
        server = await self._servers.get(request.name, current_security_context.get())
        return server_to_proto(server)

    async def RefreshMcpServer(  # noqa: N802 -- the contract's name
        self, request: mcp_server_service_pb2.RefreshMcpServerRequest, context: Context
    ) -> mcp_server_service_pb2.McpServer:
        """Asks a server for its tools again."""
        del context
        server = await self._servers.refresh(request.name, current_security_context.get())
        return server_to_proto(server)

    async def DeleteMcpServer(  # noqa: N802 -- the contract's name
        self, request: mcp_server_service_pb2.DeleteMcpServerRequest, context: Context
    ) -> mcp_server_service_pb2.DeleteMcpServerResponse:
        """Removes a server."""
        del context
        await self._servers.delete(request.name, current_security_context.get())
        return mcp_server_service_pb2.DeleteMcpServerResponse()

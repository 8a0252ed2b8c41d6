"""The port to where MCP servers are kept."""

from __future__ import annotations

from typing import Protocol

from agent_executor.tool_runner.mcp.mcp_server import McpServer, McpTool


class McpServerStore(Protocol):
    """Keeps servers with the versions of their tools. All methods see one organization only.

    A write is durable, and seen by every later read, once its method has returned. Every method
    raises UnavailableError if the storage failed.
    """

    async def put(self, organization_id: str, server: McpServer, *, servers_max: int) -> bool:
        """Stores a server with its tools, in place of the one of its name.

        A version of a tool that is known keeps its time. Versions that are not among the tools
        stay for runs that are bound to them, until the server has been stored ``GENERATIONS_KEPT``
        times without them.

        Returns:
            False, and stores nothing, if the organization has ``servers_max`` others.
        """
        ...

    async def renew(self, organization_id: str, server: McpServer) -> bool:
        """Stores what was read as ``server.generation``, with what was found out since.

        Returns:
            False, and stores nothing, if it has been stored or deleted since it was read.
        """
        ...

    async def find(self, organization_id: str, name: str) -> McpServer | None:
        """Returns a server with its tools, or None."""
        ...

    async def list_servers(
        self, organization_id: str, limit: int, after: str = ""
    ) -> list[McpServer]:
        """Returns servers with their tools, by name, by code points.

        Args:
            organization_id: Whose servers.
            limit: How many at most.
            after: Only those whose name comes after this one.
        """
        ...

    async def delete(self, organization_id: str, name: str) -> bool:
        """Deletes a server with all versions of its tools; returns False if there is none."""
        ...

    async def find_tool(
        self, organization_id: str, tool_name: str, version: str = ""
    ) -> tuple[McpServer, McpTool] | None:
        """Returns a version of a tool with its server, whose own tools are left out.

        Args:
            organization_id: Whose tool.
            tool_name: In the platform.
            version: Any version that is kept, of a tool that the server still has. Default (empty):
                the one in force.
        """
        ...

    async def list_tools(
        self, organization_id: str, limit: int, after_name: str = ""
    ) -> list[McpTool]:
        """Returns the tools in force, by name, by code points.

        Args:
            organization_id: Whose tools.
            limit: How many at most.
            after_name: Only those whose name comes after this one.
        """
        ...

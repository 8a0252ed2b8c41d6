"""MCP servers in memory, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from agent_executor.tool_runner.mcp.mcp_server import (
    GENERATIONS_KEPT,
    McpServer,
    McpTool,
    server_name_of,
)


@dataclass(slots=True)
class _Kept:
    server: McpServer
    # By name and version, each with the generation that had it last.
    versions: dict[tuple[str, str], tuple[McpTool, int]] = field(default_factory=dict)

    def replace(self, server: McpServer, generation: int) -> None:
        for tool in server.tools:
            known = self.versions.get((tool.name, tool.version))
            first = tool if known is None else known[0]
            self.versions[tool.name, tool.version] = (first, generation)
        self.versions = {
            key: kept
            for key, kept in self.versions.items()
            if kept[1] > generation - GENERATIONS_KEPT
        }
        self.server = msgspec.structs.replace(server, generation=generation, tools=())

    def in_force(self) -> list[McpTool]:
        tools = (tool for tool, last in self.versions.values() if last == self.server.generation)
        return sorted(tools, key=lambda tool: tool.name)

    def with_tools(self) -> McpServer:
        return msgspec.structs.replace(self.server, tools=tuple(self.in_force()))


class MemoryMcpServerStore:
    """``McpServerStore`` that ends with the process."""

    def __init__(self) -> None:
        self._organizations: dict[str, dict[str, _Kept]] = {}

    async def put(self, organization_id: str, server: McpServer, *, servers_max: int) -> bool:
        """See ``McpServerStore``."""
        servers = self._organizations.setdefault(organization_id, {})
        kept = servers.get(server.name)
        if kept is None:
            if len(servers) >= servers_max:
                return False
            kept = servers[server.name] = _Kept(server)
            kept.replace(server, server.refreshed_at_ms)
        else:
            kept.replace(server, kept.server.generation + 1)
        return True

    async def renew(self, organization_id: str, server: McpServer) -> bool:
        """See ``McpServerStore``."""
        kept = self._organizations.get(organization_id, {}).get(server.name)
        if kept is None or kept.server.generation != server.generation:
            return False
        kept.replace(server, server.generation + 1)
        return True

    async def find(self, organization_id: str, name: str) -> McpServer | None:
        """See ``McpServerStore``."""
        kept = self._organizations.get(organization_id, {}).get(name)
        return None if kept is None else kept.with_tools()

    async def list_servers(
        self, organization_id: str, limit: int, after: str = ""
    ) -> list[McpServer]:
        """See ``McpServerStore``."""
        servers = self._organizations.get(organization_id, {})
        names = sorted(name for name in servers if name > after)[:limit]
        return [servers[name].with_tools() for name in names]

    async def delete(self, organization_id: str, name: str) -> bool:
        """See ``McpServerStore``."""
        return self._organizations.get(organization_id, {}).pop(name, None) is not None

    async def find_tool(
        self, organization_id: str, tool_name: str, version: str = ""
    ) -> tuple[McpServer, McpTool] | None:
        """See ``McpServerStore``."""
        servers = self._organizations.get(organization_id, {})
        kept = servers.get(server_name_of(tool_name))
        if kept is None:
            return None
        current = next((tool for tool in kept.in_force() if tool.name == tool_name), None)
        if current is None:
            return None
        known = kept.versions.get((tool_name, version or current.version))
        return None if known is None else (kept.server, known[0])

    async def list_tools(
        self, organization_id: str, limit: int, after_name: str = ""
    ) -> list[McpTool]:
        """See ``McpServerStore``."""
        servers = self._organizations.get(organization_id, {}).values()
        tools = [tool for kept in servers for tool in kept.in_force() if tool.name > after_name]
        return sorted(tools, key=lambda tool: tool.name)[:limit]

"""The tools of MCP servers, as calls and lists find them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from agent_executor.errors import ToolExecutionError
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.tool_runner.calls.context import current_call
from agent_executor.tool_runner.fresh_cache import FreshCache
from agent_executor.tool_runner.mcp.client import McpClient
from agent_executor.tool_runner.mcp.mcp_server import McpServer, McpTool, server_name_of
from agent_executor.tool_runner.mcp.store import McpServerStore
from agent_executor.tool_runner.registry import RegisteredTool
from agent_executor.tool_runner.tool_base import ToolBase

# Each with its schema, compiled.
_TOOLS_CACHED_MAX: Final = 512
# Organization, name and version.
_Key: TypeAlias = tuple[str, str, str]


class McpTools:
    """Finds the tools of MCP servers.

    What another process writes is seen after a second at most, or at once if that one tells it.

    Attributes:
        on_change: Called after each write with the organization and the server, to tell others.

    Args:
        store: Where they are kept.
        client: Calls them.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        store: McpServerStore,
        client: McpClient,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._client = client
        self.on_change: Callable[[str, str], None] = lambda *_: None
        self._tools: FreshCache[_Key, RegisteredTool | None] = FreshCache(
            self._load, entries_max=_TOOLS_CACHED_MAX, clock=clock
        )

    async def find(
        self, organization_id: str, name: str, version: str = ""
    ) -> RegisteredTool | None:
        """Returns a tool at a version, or at the one in force; None if there is none.

        Raises:
            UnavailableError: The storage failed.
        """
        if not server_name_of(name):
            return None
        return await self._tools.get((organization_id, name, version))

    async def list_tools(self, organization_id: str, limit: int, after_name: str) -> list[McpTool]:
        """Returns the tools in force, by name, at most so many that come after a name.

        Raises:
            UnavailableError: The storage failed.
        """
        return await self._store.list_tools(organization_id, limit, after_name)

    async def show(self, organization_id: str, name: str, version: str) -> McpTool | None:
        """Returns a tool as it is kept; None if there is none.

        Raises:
            UnavailableError: The storage failed.
        """
        found = await self._store.find_tool(organization_id, name, version)
        return None if found is None else found[1]

    def forget(self, organization_id: str, server_name: str) -> None:
        """Makes the next ``find`` of a server's tools see what another process has just written."""
        self._tools.forget(
            lambda key: key[0] == organization_id and server_name_of(key[1]) == server_name
        )

    def forget_all(self) -> None:
        """Makes the next ``find`` of every tool see what others have written."""
        self._tools.forget_all()

    def changed(self, organization_id: str, server_name: str) -> None:
        """Makes the next ``find`` of a server's tools see what this process has just written."""
        self.forget(organization_id, server_name)
        self.on_change(organization_id, server_name)

    async def _load(self, key: _Key) -> RegisteredTool | None:
        found = await self._store.find_tool(*key)
        return None if found is None else self._registered(*found)

    def _registered(self, server: McpServer, tool: McpTool) -> RegisteredTool:
        schema = msgspec.json.decode(tool.input_schema_json)
        return RegisteredTool(
            tool=_RemoteTool(self._client, server, tool, schema),
            name=tool.name,
            description=tool.description,
            effect=tool.effect,
            schema=ArgumentSchema(schema),
            is_async=True,
            built_in=False,
            version=tool.version,
            timeout_seconds=tool.timeout_seconds or None,
            requires_approval=tool.requires_approval,
        )


class _RemoteTool(ToolBase):
    """A tool that another system runs."""

    def __init__(
        self, client: McpClient, server: McpServer, tool: McpTool, schema: dict[str, Any]
    ) -> None:
        super().__init__(
            tool.name,
            tool.description,
            input_schema=schema,
            effect=tool.effect,
            requires_approval=tool.requires_approval,
        )
        self._client = client
        self._server = server
        self._tool = tool

    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        context = current_call.get()
        if context is None:
            raise ToolExecutionError("The tool is called by the platform only.")
        return await self._client.call_tool(self._server, self._tool, arguments, context)

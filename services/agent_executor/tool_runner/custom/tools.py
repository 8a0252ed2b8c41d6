"""Every tool that an organization can call: this process's, those that it wrote, and external ones."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from cachetools import LRUCache

from agent_executor.errors import SandboxUnavailableError
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.tool_runner.custom.custom_tool import CustomTool
from agent_executor.tool_runner.custom.store import CustomToolStore
from agent_executor.tool_runner.fresh_cache import FreshCache
from agent_executor.tool_runner.mcp.mcp_server import McpTool
from agent_executor.tool_runner.registry import RegisteredTool, ToolRegistry
from agent_executor.tool_runner.tool_base import ToolBase

# Each with its source of up to 256 KiB.
CUSTOM_TOOLS_CACHED_MAX: Final = 256

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_VERSION: Final = re.compile(r"(?:[0-9a-f]{64})?", re.ASCII)
# Organization, name and version.
_Key: TypeAlias = tuple[str, str, str]


class ExternalTools(Protocol):
    """The tools that MCP servers run. Every method raises UnavailableError if the storage failed."""

    async def find(
        self, organization_id: str, name: str, version: str = ""
    ) -> RegisteredTool | None:
        """Returns a tool at a version, or at the one in force; None if there is none."""
        ...

    async def show(self, organization_id: str, name: str, version: str) -> McpTool | None:
        """Returns a tool as it is kept, or None."""
        ...

    async def list_tools(self, organization_id: str, limit: int, after_name: str) -> list[McpTool]:
        """Returns the tools in force, by name, at most so many that come after a name."""
        ...


class Tools:
    """Finds tools for calls.

    A tool of this process goes before a custom one of its name, and that before an external one.

    What another process registers or deletes is seen after a second at most, or at once if that one
    tells it.

    Attributes:
        on_change: Called after each write with the organization and the name, to tell others.
        registry: The tools of this process.
        store: The custom tools.
        external: The tools that MCP servers run; None where there are none.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        store: CustomToolStore,
        *,
        external: ExternalTools | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """See the class; ``clock`` is monotonic, in seconds."""
        self.registry: Final = registry
        self.store: Final = store
        self.external: Final = external
        self.on_change: Callable[[str, str], None] = lambda *_: None
        self._versions: FreshCache[_Key, str | None] = FreshCache(
            lambda key: store.find_version(*key), clock=clock
        )
        # A version never changes, so one that was read stays good as long as it is there.
        self._compiled: LRUCache[_Key, RegisteredTool] = LRUCache(CUSTOM_TOOLS_CACHED_MAX)

    async def find(
        self, organization_id: str, name: str, version: str = ""
    ) -> RegisteredTool | None:
        """Returns a tool, or None if there is none.

        A tool of this process is returned without giving way to other tasks.

        Args:
            organization_id: Whose custom and external tools may be found.
            name: As a model spelled it, so it may be anything.
            version: Of a custom or an external tool; empty for the newest.

        Raises:
            UnavailableError: The storage failed.
        """
        if not version and (tool := self.registry.find(name)) is not None:
            return tool
        if not is_custom_tool(name, version):
            return None
        current = await self._versions.get((organization_id, name, version))
        if current is None:
            if self.external is None:
                return None
            return await self.external.find(organization_id, name, version)
        tool = self._compiled.get((organization_id, name, current))
        if tool is not None:
            return tool
        stored = await self.store.find(organization_id, name, current)
        if stored is None:
            return None
        tool = self._compiled[organization_id, name, current] = _compiled(stored)
        return tool

    async def is_taken(self, organization_id: str, name: str) -> bool:
        """Tells whether a tool that is not external has a name, so that no external one is found.

        Raises:
            UnavailableError: The storage failed.
        """
        if self.registry.find(name) is not None:
            return True
        return await self.store.find_version(organization_id, name) is not None

    def forget(self, organization_id: str, name: str) -> None:
        """Makes the next ``find`` of a custom tool see what another process has just written."""
        self._versions.forget(lambda key: key[:2] == (organization_id, name))

    def forget_all(self) -> None:
        """Makes the next ``find`` of every custom tool see what others have written."""
        self._versions.forget_all()

    def changed(self, organization_id: str, name: str) -> None:
        """Makes the next ``find`` of a custom tool see what this process has just written."""
        self.forget(organization_id, name)
        self.on_change(organization_id, name)


def is_custom_tool(name: str, version: str = "") -> bool:
    """Tells whether a custom tool can have this name and this version."""
    return _NAME.fullmatch(name) is not None and _VERSION.fullmatch(version) is not None


class _InSandboxOnly(ToolBase):
    """What stands for a custom tool in this process. It runs nothing."""

    def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        del arguments
        raise SandboxUnavailableError(
            "A custom tool runs in the sandbox only.", tool_name=self.name
        )


def _compiled(tool: CustomTool) -> RegisteredTool:
    schema = msgspec.json.decode(tool.input_schema_json)
    stand_in = _InSandboxOnly(
        tool.name,
        tool.description,
        input_schema=schema,
        effect=tool.effect,
        cache_ttl_seconds=tool.cache_ttl_seconds,
    )
    return RegisteredTool(
        tool=stand_in,
        name=tool.name,
        description=tool.description,
        effect=tool.effect,
        schema=ArgumentSchema(schema),
        is_async=False,
        built_in=False,
        version=tool.version,
        program=tool.program,
        timeout_seconds=tool.timeout_seconds or None,
        cache_ttl_seconds=tool.cache_ttl_seconds,
        requires_approval=tool.requires_approval,
        allowed_origins=frozenset(tool.allowed_origins),
        findings=tool.findings,
    )

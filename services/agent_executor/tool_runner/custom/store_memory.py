"""Custom tools in memory, for tests and for the library."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from agent_executor.tool_runner.custom.custom_tool import CustomTool
from agent_executor.tool_runner.custom.store import ReachedLimit


@dataclass(slots=True)
class _Versions:
    newest: str = ""
    by_version: dict[str, CustomTool] = field(default_factory=dict)


class MemoryCustomToolStore:
    """``CustomToolStore`` that ends with the process."""

    def __init__(self) -> None:
        self._organizations: dict[str, dict[str, _Versions]] = {}

    async def put(
        self, tool: CustomTool, *, tools_max: int, versions_max: int
    ) -> CustomTool | ReachedLimit:
        """See ``CustomToolStore``."""
        tools = self._organizations.setdefault(tool.organization_id, {})
        versions = tools.get(tool.name, _Versions())
        if tool.name not in tools and len(tools) >= tools_max:
            return "tools"
        if tool.version not in versions.by_version and len(versions.by_version) >= versions_max:
            return "versions"
        stored = versions.by_version.setdefault(tool.version, tool)
        versions.newest = tool.version
        tools[tool.name] = versions
        return stored

    async def find(self, organization_id: str, name: str, version: str = "") -> CustomTool | None:
        """See ``CustomToolStore``."""
        versions = self._organizations.get(organization_id, {}).get(name)
        return None if versions is None else versions.by_version.get(version or versions.newest)

    async def find_version(self, organization_id: str, name: str, version: str = "") -> str | None:
        """See ``CustomToolStore``."""
        tool = await self.find(organization_id, name, version)
        return None if tool is None else tool.version

    async def list_newest(
        self, organization_id: str, limit: int, after_name: str = ""
    ) -> list[CustomTool]:
        """See ``CustomToolStore``."""
        tools = self._organizations.get(organization_id, {})
        names = sorted(name for name in tools if name > after_name)[:limit]
        newest = (tools[name].by_version[tools[name].newest] for name in names)
        return [msgspec.structs.replace(tool, source="") for tool in newest]

    async def delete(self, organization_id: str, name: str) -> bool:
        """See ``CustomToolStore``."""
        return self._organizations.get(organization_id, {}).pop(name, None) is not None

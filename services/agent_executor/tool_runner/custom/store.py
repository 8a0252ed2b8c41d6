"""The port to where custom tools are kept."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from agent_executor.tool_runner.custom.custom_tool import CustomTool

ReachedLimit: TypeAlias = Literal["tools", "versions"]


class CustomToolStore(Protocol):
    """Keeps every version of every custom tool. All methods see one organization only.

    A write is durable, and seen by every later read, once its method has returned. Every method
    raises UnavailableError if the storage failed.
    """

    async def put(
        self, tool: CustomTool, *, tools_max: int, versions_max: int
    ) -> CustomTool | ReachedLimit:
        """Stores a version, unless it is there, and makes it the newest of its tool.

        Args:
            tool: The version.
            tools_max: How many tools the organization may have.
            versions_max: How many versions the tool may have.

        Returns:
            The version as it is stored, which may have been done earlier; or the limit that does
            not let it in, and then nothing has changed.
        """
        ...

    async def find(self, organization_id: str, name: str, version: str = "") -> CustomTool | None:
        """Returns a version of a tool; the newest if none is named; None if there is none."""
        ...

    async def find_version(self, organization_id: str, name: str, version: str = "") -> str | None:
        """Returns what ``find`` would, but its version alone, which is cheaper."""
        ...

    async def list_newest(
        self, organization_id: str, limit: int, after_name: str = ""
    ) -> list[CustomTool]:
        """Returns the newest version of each tool, by name, with an empty source.

        Args:
            organization_id: Whose tools.
            limit: How many at most.
            after_name: Only tools whose name comes after this one, by code points.
        """
        ...

    async def delete(self, organization_id: str, name: str) -> bool:
        """Deletes a tool with all its versions; returns False if there is none."""
        ...

"""Which tools there are, for those who may know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from agent_executor.errors import InvalidArgumentError, ToolNotFoundError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.registry import RegisteredTool, ToolRegistry
from agent_executor.tool_runner.tool_base import Effect

READ_PERMISSION: Final = "tool:read"
DEFAULT_PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 1_000


class ToolDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as callers and models see it.

    Attributes:
        name: Unique.
        description: What it does, in a sentence for the model.
        input_schema_json: JSON Schema (draft 2020-12) of the arguments, as JSON text.
        effect: What running it again can do.
        enabled: Whether it can be called at present.
        built_in: Whether it comes with the platform.
        version: Of a custom tool, in hexadecimal; else empty, as are most fields that follow.
        class_name: The class in the source.
        source: The Python code; empty in lists and descriptions.
        timeout_seconds: How long one call may run; 0 for the tool-runner's own limit.
        cache_ttl_seconds: How long a result may be given again to an equal call; 0 for never.
        allowed_origins: What it may ask the host to reach.
        findings: What looks suspicious in the source.
        created_at_ms: When the version was registered, in milliseconds since 1970-01-01 UTC.
    """

    name: str
    description: str
    input_schema_json: str
    effect: Effect
    enabled: bool
    built_in: bool
    version: str = ""
    class_name: str = ""
    source: str = ""
    timeout_seconds: float = 0.0
    cache_ttl_seconds: int = 0
    allowed_origins: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    created_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class ToolPage:
    """Some tools, by name, and the token of the next page; empty on the last one."""

    tools: list[ToolDefinition]
    next_page_token: str


class ToolCatalog:
    """Shows the registry. Every method raises PermissionDeniedError without ``tool:read``."""

    def __init__(self, registry: ToolRegistry) -> None:
        self._registry = registry

    def list_tools(
        self, security: SecurityContext, *, page_size: int = 0, page_token: str = ""
    ) -> ToolPage:
        """Returns a page of the tools of the caller's organization.

        Args:
            security: The caller.
            page_size: How many tools at most, up to 1000; 0 for 100.
            page_token: The ``next_page_token`` of the page before; empty for the first page.

        Raises:
            InvalidArgumentError: The page's size is out of range.
        """
        security.require(READ_PERMISSION)
        if not 0 <= page_size <= PAGE_SIZE_MAX:
            raise InvalidArgumentError(f"page_size must be from 0 to {PAGE_SIZE_MAX}.")
        # The token is the last name of the page before, so a tool that is added moves no other.
        tools = [tool for tool in self._registry.list() if tool.name > page_token]
        limit = page_size or DEFAULT_PAGE_SIZE
        page = [definition_of(tool) for tool in tools[:limit]]
        return ToolPage(page, page[-1].name if len(tools) > limit else "")

    def get_tool(self, tool_name: str, security: SecurityContext) -> ToolDefinition:
        """Returns one tool.

        Raises:
            ToolNotFoundError: There is none of that name.
        """
        security.require(READ_PERMISSION)
        tool = self._registry.find(tool_name)
        if tool is None:
            raise ToolNotFoundError(f'There is no tool named "{tool_name}".', tool_name=tool_name)
        return definition_of(tool)

    def describe_tools(
        self, tool_names: Sequence[str], security: SecurityContext
    ) -> list[ToolDefinition]:
        """Returns the tools that are registered, of those named, in that order."""
        security.require(READ_PERMISSION)
        tools = map(self._registry.find, tool_names)
        return [definition_of(tool) for tool in tools if tool is not None]


def definition_of(tool: RegisteredTool) -> ToolDefinition:
    """Returns what models need to know of a tool."""
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        input_schema_json=tool.schema.json_text,
        effect=tool.effect,
        enabled=True,
        built_in=tool.built_in,
        version=tool.version,
        cache_ttl_seconds=tool.cache_ttl_seconds,
    )

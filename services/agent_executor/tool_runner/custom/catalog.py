"""Which tools an organization has, its own and those of the platform, for those who may know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from agent_executor.errors import ToolNotFoundError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.custom.custom_tool import CustomTool
from agent_executor.tool_runner.custom.tools import Tools, is_custom_tool
from agent_executor.tool_runner.mcp.mcp_server import McpTool, server_name_of
from agent_executor.tool_runner.paging import decode_page_token, encode_page_token, entries_of_page
from agent_executor.tool_runner.registry import RegisteredTool
from agent_executor.tool_runner.tool_base import Effect, is_tool_name

READ_PERMISSION: Final = "tool:read"
# Of JSON text, so that a page of large schemas is still one message.
PAGE_BYTES_MAX: Final = 1_048_576


class ToolDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as callers and models see it.

    Attributes:
        name: Unique.
        description: What it does, in a sentence for the model.
        input_schema_json: JSON Schema (draft 2020-12) of the arguments, as JSON text.
        effect: What running it again can do.
        enabled: Whether it can be called at present.
        built_in: Whether it comes with the platform.
        version: Of a custom tool or one of an MCP server, in hexadecimal; else empty, as are most
            fields that follow.
        class_name: The class in the source.
        source: The Python code; empty in lists and descriptions.
        timeout_seconds: How long one call may run; 0 for the tool-runner's own limit.
        cache_ttl_seconds: How long a result may be given again to an equal call; 0 for never.
        allowed_origins: What it may ask the host to reach.
        findings: What looks suspicious in the source.
        created_at_ms: When the version was registered, in milliseconds since 1970-01-01 UTC.
        requires_approval: Whether each call waits for a person's decision.
        mcp_server: The MCP server that it is a tool of; empty for any other tool.
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
    requires_approval: bool = False
    mcp_server: str = ""


@dataclass(frozen=True, slots=True)
class ToolPage:
    """Some tools, by name, and the token of the next page; empty on the last one."""

    tools: list[ToolDefinition]
    next_page_token: str


class ToolCatalog:
    """Shows tools. Every method raises PermissionDeniedError without ``tool:read``."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def list_tools(
        self, security: SecurityContext, *, page_size: int = 0, page_token: str = ""
    ) -> ToolPage:
        """Returns a page of the tools of the caller's organization, without sources.

        A page ends early where its schemas come to more than 1 MiB.

        Args:
            security: The caller.
            page_size: How many tools at most, up to 1000; 0 for 100.
            page_token: The ``next_page_token`` of the page before; empty for the first page.

        Raises:
            InvalidArgumentError: The page's size is out of range, or the token is none.
            UnavailableError: The storage failed.
        """
        security.require(READ_PERMISSION)
        limit = entries_of_page(page_size)
        # The token is the last name of the page before, so a tool that is added moves no other.
        after = decode_page_token(page_token, is_tool_name)
        custom = await self._tools.store.list_newest(security.organization_id, limit + 1, after)
        tools = await self._external(security.organization_id, limit + 1, after)
        tools |= {tool.name: definition_of_own(tool) for tool in custom}
        tools |= {
            tool.name: definition_of(tool)
            for tool in self._tools.registry.list()
            if tool.name > after
        }
        page = _cut([tools[name] for name in sorted(tools)], limit)
        has_more = len(page) < len(tools)
        return ToolPage(page, encode_page_token(page[-1].name) if has_more else "")

    async def get_tool(
        self, tool_name: str, security: SecurityContext, version: str = ""
    ) -> ToolDefinition:
        """Returns one tool, a custom one with its source.

        Raises:
            ToolNotFoundError: There is none of that name and version.
            UnavailableError: The storage failed.
        """
        security.require(READ_PERMISSION)
        tool = None if version else self._tools.registry.find(tool_name)
        if tool is not None:
            return definition_of(tool)
        # External tools have such names and versions, too.
        if is_custom_tool(tool_name, version):
            custom = await self._tools.store.find(security.organization_id, tool_name, version)
            if custom is not None:
                return definition_of_own(custom)
            if self._tools.external is not None:
                external = await self._tools.external.show(
                    security.organization_id, tool_name, version
                )
                if external is not None:
                    return definition_of_external(external)
        raise ToolNotFoundError(f'There is no tool named "{tool_name}".', tool_name=tool_name)

    async def describe_tools(
        self,
        tool_names: Sequence[str],
        security: SecurityContext,
        tool_versions: Mapping[str, str] | None = None,
    ) -> list[ToolDefinition]:
        """Returns the tools that are registered, of those named, in that order.

        Args:
            tool_names: The names.
            security: The caller.
            tool_versions: The versions to describe, by name. Default: the newest ones.

        Raises:
            UnavailableError: The storage failed.
        """
        security.require(READ_PERMISSION)
        versions = tool_versions or {}
        tools = [
            await self._tools.find(security.organization_id, name, versions.get(name, ""))
            for name in tool_names
        ]
        return [definition_of(tool) for tool in tools if tool is not None]

    async def _external(
        self, organization_id: str, limit: int, after_name: str
    ) -> dict[str, ToolDefinition]:
        if self._tools.external is None:
            return {}
        found = await self._tools.external.list_tools(organization_id, limit, after_name)
        return {tool.name: definition_of_external(tool) for tool in found}


def _cut(tools: list[ToolDefinition], limit: int) -> list[ToolDefinition]:
    size_bytes = 0
    for count, tool in enumerate(tools[:limit]):
        size_bytes += len(tool.input_schema_json) + sum(map(len, tool.findings))
        if count and size_bytes > PAGE_BYTES_MAX:
            return tools[:count]
    return tools[:limit]


def definition_of_own(tool: CustomTool) -> ToolDefinition:
    """Returns a custom tool as people see it, with its source."""
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        input_schema_json=tool.input_schema_json,
        effect=tool.effect,
        enabled=True,
        built_in=False,
        version=tool.version,
        class_name=tool.class_name,
        source=tool.source,
        timeout_seconds=tool.timeout_seconds,
        cache_ttl_seconds=tool.cache_ttl_seconds,
        allowed_origins=tool.allowed_origins,
        findings=tool.findings,
        created_at_ms=tool.created_at_ms,
        requires_approval=tool.requires_approval,
    )


def definition_of_external(tool: McpTool) -> ToolDefinition:
    """Returns a tool of an MCP server as people see it."""
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        input_schema_json=tool.input_schema_json,
        effect=tool.effect,
        enabled=True,
        built_in=False,
        version=tool.version,
        timeout_seconds=tool.timeout_seconds,
        created_at_ms=tool.created_at_ms,
        requires_approval=tool.requires_approval,
        mcp_server=server_name_of(tool.name),
    )


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
        requires_approval=tool.requires_approval,
    )

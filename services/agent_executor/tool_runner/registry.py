"""The tools that can be called, each with its schema compiled."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agent_executor.errors import ConflictError, InvalidArgumentError
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.tool_runner.tool_base import Effect, ToolBase
from agent_executor.tool_runner.tool_program import ToolProgram

# The permissions "tool:read" and "tool:write" are those to list and to register tools; tools of
# these names would come with them.
RESERVED_NAMES: Final = frozenset({"read", "write"})


@dataclass(frozen=True, slots=True)
class RegisteredTool:
    """A tool as it was when it was registered.

    Attributes:
        tool: The tool itself; of a custom tool, what stands for it outside of the sandbox.
        schema: Of its arguments.
        is_async: Its ``_execute_impl`` is a coroutine function.
        built_in: It comes with the platform.
        version: Of a custom tool or one of an MCP server, in hexadecimal; else empty.
        program: What the sandbox runs; None for a tool that runs in this process.
        timeout_seconds: How long one call may run; None for the tool-runner's own limit.
        cache_ttl_seconds: How long a result of a ``read_only`` tool may be given again to an
            equal call; 0 for never.
        allowed_origins: What it may ask the host to reach; None for every allowed domain.
        findings: What looks suspicious in the source of a custom tool.
        requires_approval: Whether each call waits for a person's decision.
    """

    tool: ToolBase
    name: str
    description: str
    effect: Effect
    schema: ArgumentSchema
    is_async: bool
    built_in: bool
    version: str = ""
    program: ToolProgram | None = None
    timeout_seconds: float | None = None
    cache_ttl_seconds: int = 0
    allowed_origins: frozenset[str] | None = None
    findings: tuple[str, ...] = ()
    requires_approval: bool = False


class ToolRegistry:
    """Tools by name. What is registered stays as it is."""

    def __init__(self, built_in: Iterable[ToolBase] = ()) -> None:
        """Registers the tools that come with the platform.

        Raises:
            AgentExecutorError: As ``register``.
        """
        self._tools: dict[str, RegisteredTool] = {}
        for tool in built_in:
            self._add(tool, built_in=True)

    def register(self, tool: ToolBase) -> None:
        """Adds a tool that the program itself defines.

        Raises:
            InvalidArgumentError: It is no tool, or its name is reserved, or its schema is none.
            LimitExceededError: Its schema is too large.
            ConflictError: A tool of that name is registered.
        """
        self._add(tool, built_in=False)

    def find(self, name: str) -> RegisteredTool | None:
        """Returns the tool of that name, or None."""
        return self._tools.get(name)

    def list(self) -> list[RegisteredTool]:
        """Returns all tools, by name."""
        return sorted(self._tools.values(), key=lambda tool: tool.name)

    def _add(self, tool: ToolBase, *, built_in: bool) -> None:
        if not isinstance(tool, ToolBase):
            raise InvalidArgumentError("A tool is an instance of a subclass of ToolBase.")
        name = getattr(tool, "name", None)
        if name is None:
            raise InvalidArgumentError(
                f"{type(tool).__name__}.__init__ must call super().__init__(name, description)."
            )
        if name in RESERVED_NAMES:
            raise InvalidArgumentError(f'The tool name "{name}" is reserved.', tool_name=name)
        if name in self._tools:
            raise ConflictError(f'A tool named "{name}" is registered already.', tool_name=name)
        is_async = inspect.iscoroutinefunction(tool._execute_impl)  # noqa: SLF001 -- the method by which a tool is run
        if is_async and tool.runs_inline:
            raise InvalidArgumentError("A coroutine function does not run inline.", tool_name=name)
        self._tools[name] = RegisteredTool(
            tool=tool,
            name=name,
            description=tool.description,
            effect=tool.effect,
            schema=ArgumentSchema(tool.input_schema),
            is_async=is_async,
            built_in=built_in,
            cache_ttl_seconds=tool.cache_ttl_seconds,
            requires_approval=tool.requires_approval,
        )

"""Sources of custom tools, and what loads them in a test's own process, which is no sandbox."""

from __future__ import annotations

from typing import Any

from agent_executor.errors import InvalidArgumentError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.tool_base import ToolBase
from agent_executor.tool_runner.tool_program import ToolDescription, ToolProgram

WRITER = SecurityContext("acme", "ada", frozenset({"tool:write", "tool:read"}))
STRANGER = SecurityContext("other", "eve", frozenset({"*"}))

GREETER = """
from agent_executor import ToolBase


class Greeter(ToolBase):
    def __init__(self):
        super().__init__(
            "greeter",
            "Greets somebody.",
            input_schema={"type": "object", "properties": {"name": {"type": "string"}}},
            effect="read_only",
            cache_ttl_seconds=30,
        )

    def _execute_impl(self, arguments):
        return {"greeting": f"Hello, {arguments['name']}!"}
"""


class FakeInspector:
    """``SourceInspector`` that runs the source here and now."""

    def __init__(self) -> None:
        self.programs: list[ToolProgram] = []
        self.forged: dict[str, Any] = {}

    async def inspect(self, program: ToolProgram, *, timeout_seconds: float) -> ToolDescription:
        """See ``SourceInspector``."""
        assert timeout_seconds > 0
        self.programs.append(program)
        namespace: dict[str, Any] = {"__name__": "tool"}
        try:
            exec(compile(program.source, "tool", "exec"), namespace)
        except SyntaxError as error:
            raise InvalidArgumentError(f"line {error.lineno}: {error.msg}") from None
        tool = namespace[program.class_name]()
        assert isinstance(tool, ToolBase)
        fields: dict[str, Any] = {
            "name": tool.name,
            "description": tool.description,
            "input_schema": dict(tool.input_schema),
            "effect": tool.effect,
            "cache_ttl_seconds": tool.cache_ttl_seconds,
            "requires_approval": tool.requires_approval,
        }
        return ToolDescription(**fields | self.forged)

"""The tools that come with the platform."""

from __future__ import annotations

from agent_executor.tool_runner.builtin.calculator import CalculatorTool
from agent_executor.tool_runner.tool_base import ToolBase


def built_in_tools() -> tuple[ToolBase, ...]:
    """Returns a new instance of every built-in tool, by name."""
    return (CalculatorTool(),)

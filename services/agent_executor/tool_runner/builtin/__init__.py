"""The tools that come with the platform."""

from __future__ import annotations

from agent_executor.tool_runner.builtin.calculator import CalculatorTool
from agent_executor.tool_runner.builtin.email import EmailTool
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.builtin.slack import SlackTool
from agent_executor.tool_runner.tool_base import ToolBase


def built_in_tools(http_request: HTTPRequestTool | None = None) -> tuple[ToolBase, ...]:
    """Returns a new instance of every built-in tool, by name.

    Args:
        http_request: The tool that makes requests. Default: one that may reach no host until a
            domain is allowed.
    """
    return (CalculatorTool(), EmailTool(), http_request or HTTPRequestTool(), SlackTool())

"""The tools that come with the platform."""

from __future__ import annotations

from agent_executor.tool_runner.builtin.calculator import CalculatorTool
from agent_executor.tool_runner.builtin.email import EmailTool
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.builtin.slack import SlackTool
from agent_executor.tool_runner.tool_base import ToolBase


def built_in_tools(
    http_request: HTTPRequestTool | None = None,
    *,
    email: EmailTool | None = None,
    slack: SlackTool | None = None,
) -> tuple[ToolBase, ...]:
    """Returns every built-in tool, by name.

    Args:
        http_request: Makes requests. Default: a new one, which may reach no host until a domain is
            allowed.
        email: Writes e-mails. Default: a new one, which the environment configures at its first
            call.
        slack: Posts messages. Default: the same.
    """
    return (
        CalculatorTool(),
        email or EmailTool(),
        http_request or HTTPRequestTool(),
        slack or SlackTool(),
    )

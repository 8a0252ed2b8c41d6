"""The tools that write to people, as the platform's settings configure them."""

from __future__ import annotations

from agent_executor.tool_runner.builtin.email import EmailTool
from agent_executor.tool_runner.builtin.slack import SlackTool
from agent_executor.tool_runner.messaging_settings import MessagingSettings
from agent_executor.tool_runner.tool_base import ToolBase


def configured_tools(settings: MessagingSettings) -> tuple[ToolBase, ...]:
    """Returns the e-mail and Slack tools; one that lacks its settings says so when it is called."""
    return (
        EmailTool(settings.smtp_server, allowed_recipients=settings.email_allowed_recipients),
        SlackTool(settings.slack_workspace, allowed_channels=settings.slack_allowed_channels),
    )

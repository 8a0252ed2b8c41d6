"""Agent Executor: runs LLM agents, their tools and their costs.

The names below are the library's public API. They are loaded at their first use, so that
importing any part of the package costs only that part.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agent_executor.client import AgentExecutorClient, AsyncAgentExecutorClient
    from agent_executor.embedded import AgentExecutor, AsyncAgentExecutor
    from agent_executor.errors import (
        AgentExecutorError,
        ContextLengthExceededError,
        RateLimitExceededError,
        ToolExecutionError,
        ToolNotFoundError,
    )
    from agent_executor.executor.models.catalog import LLMModel
    from agent_executor.tool_runner.builtin.calculator import CalculatorTool
    from agent_executor.tool_runner.builtin.email import EmailTool
    from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
    from agent_executor.tool_runner.builtin.slack import SlackTool
    from agent_executor.tool_runner.policy.sandbox import ToolSandbox
    from agent_executor.tool_runner.tool_base import ToolBase

__version__: Final = "0.1.0"

__all__ = [
    "AgentExecutor",
    "AgentExecutorClient",
    "AgentExecutorError",
    "AsyncAgentExecutor",
    "AsyncAgentExecutorClient",
    "CalculatorTool",
    "ContextLengthExceededError",
    "EmailTool",
    "HTTPRequestTool",
    "LLMModel",
    "RateLimitExceededError",
    "SlackTool",
    "ToolBase",
    "ToolExecutionError",
    "ToolNotFoundError",
    "ToolSandbox",
]

_MODULE_OF_NAME: Final = {
    "AgentExecutor": "agent_executor.embedded",
    "AgentExecutorClient": "agent_executor.client",
    "AgentExecutorError": "agent_executor.errors",
    "AsyncAgentExecutor": "agent_executor.embedded",
    "AsyncAgentExecutorClient": "agent_executor.client",
    "CalculatorTool": "agent_executor.tool_runner.builtin.calculator",
    "ContextLengthExceededError": "agent_executor.errors",
    "EmailTool": "agent_executor.tool_runner.builtin.email",
    "HTTPRequestTool": "agent_executor.tool_runner.builtin.http_request",
    "LLMModel": "agent_executor.executor.models.catalog",
    "RateLimitExceededError": "agent_executor.errors",
    "SlackTool": "agent_executor.tool_runner.builtin.slack",
    "ToolBase": "agent_executor.tool_runner.tool_base",
    "ToolExecutionError": "agent_executor.errors",
    "ToolNotFoundError": "agent_executor.errors",
    "ToolSandbox": "agent_executor.tool_runner.policy.sandbox",
}


def __getattr__(name: str) -> Any:
    """Loads a public name at its first use (PEP 562)."""
    module = _MODULE_OF_NAME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

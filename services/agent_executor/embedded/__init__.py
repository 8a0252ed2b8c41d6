"""The library: the platform's own engine, tools and prices in one process, with nothing started.

This is the only package that wires the three services together. What it adds to them is the
adapters by which the executor calls the other two directly.
"""

from __future__ import annotations

from agent_executor.embedded.executor import AsyncAgentExecutor
from agent_executor.embedded.waiting_executor import AgentExecutor

__all__ = ["AgentExecutor", "AsyncAgentExecutor"]

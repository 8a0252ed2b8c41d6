"""The port to the tool-runner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from agent_executor.executor.models.model import ToolSpecification
from agent_executor.serving.security import SecurityContext


class ToolRequest(msgspec.Struct, frozen=True):
    """One tool call that is to be run.

    Attributes:
        tool_call_id: The idempotency key of the call.
        arguments_json: The arguments as JSON text.
        is_test: Whether the run is a test.
    """

    tool_call_id: str
    tool_name: str
    arguments_json: str
    run_id: str
    agent_id: str
    is_test: bool = False


class ToolOutcome(msgspec.Struct, frozen=True):
    """What became of a tool call; ``result_json`` is ``null`` unless ``success``."""

    success: bool
    result_json: str
    error: str
    code: str
    timestamp_ms: int


class ToolRunner(Protocol):
    """Runs tool calls and says which tools there are."""

    async def describe(
        self, tool_names: Sequence[str], security: SecurityContext
    ) -> tuple[ToolSpecification, ...]:
        """Returns the tools that can be called, of those named, in that order.

        Raises:
            UnavailableError: The tool-runner is away.
        """
        ...

    async def execute(
        self,
        request: ToolRequest,
        security: SecurityContext,
        *,
        timeout_seconds: float,
        traceparent: str = "",
    ) -> ToolOutcome:
        """Runs a tool call; a repeat of its id is answered from the record.

        A failure of the tool is an outcome. While the tool-runner is away the call is repeated
        under its id until ``timeout_seconds`` have passed.

        Raises:
            AgentExecutorError: The tool-runner gave no outcome; it may have run the tool.
        """
        ...

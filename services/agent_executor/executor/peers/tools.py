"""The port to the tool-runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from agent_executor.errors import ToolNotFoundError
from agent_executor.executor.models.model import ToolSpecification
from agent_executor.serving.cancellation import StopSignal
from agent_executor.serving.security import SecurityContext


class ToolRequest(msgspec.Struct, frozen=True):
    """One tool call that is to be run.

    Attributes:
        tool_call_id: The idempotency key of the call.
        arguments_json: The arguments as JSON text.
        is_test: Whether the run is a test.
        tool_version: The version of a custom tool that the run is bound to; empty for a built-in
            tool.
    """

    tool_call_id: str
    tool_name: str
    arguments_json: str
    run_id: str
    agent_id: str
    is_test: bool = False
    tool_version: str = ""


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
        self, tool_names: Sequence[str], security: SecurityContext, versions: Mapping[str, str]
    ) -> tuple[ToolSpecification, ...]:
        """Returns the tools that can be called, of those named, in that order.

        Args:
            tool_names: The tools.
            security: On whose behalf.
            versions: The versions of custom tools that are meant, by name. A tool whose version is
                gone is left out; one that is not named here is described at its newest version.

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
        stop: StopSignal | None = None,
    ) -> ToolOutcome:
        """Runs a tool call in the running task's trace; a repeat is answered from its record.

        A failure of the tool is an outcome. While the tool-runner is away the call is repeated
        under its id until ``timeout_seconds`` have passed. When ``stop`` is given the tool ends, and
        what the tool-runner then says of the call is the outcome, also that it ended just before.

        Raises:
            CancelledRunError: It was stopped, and a repeat would do no harm; ``WAS_BEGUN_KEY`` in the
                metadata tells if it never began.
            OutcomeUnknownError: It was stopped, and the tool-runner did not say what came of it.
            AgentExecutorError: The tool-runner gave no outcome; it may have run the tool.
        """
        ...

    async def stop(self, request: ToolRequest, security: SecurityContext) -> ToolOutcome | None:
        """Stops a tool call that a driver of the run before this one may have sent.

        Returns:
            What came of it; None if nothing is known of it.

        Raises:
            CancelledRunError: It was stopped, and a repeat would do no harm.
            AgentExecutorError: The tool-runner did not say what came of it.
        """
        ...


def require_all(
    tool_names: Sequence[str], described: Sequence[ToolSpecification], versions: Mapping[str, str]
) -> None:
    """Checks that every tool that was asked for is described.

    Raises:
        ToolNotFoundError: The tool, or the version of it that is meant, is not there.
    """
    missing = set(tool_names).difference(tool.name for tool in described)
    if not missing:
        return
    name = min(missing)
    message = f'There is no tool named "{name}".'
    if version := versions.get(name):
        message = f'There is no version {version} of the tool "{name}".'
    raise ToolNotFoundError(message, tool_name=name)

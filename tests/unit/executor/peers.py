"""A tool-runner in memory that does what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_executor.errors import CancelledRunError, UnavailableError
from agent_executor.executor.models.model import ToolSpecification
from agent_executor.executor.peers.tools import ToolOutcome, ToolRequest
from agent_executor.serving.cancellation import StopSignal
from agent_executor.serving.security import SecurityContext


def answer(result_json: str = "42") -> ToolOutcome:
    """Returns the outcome of a tool that worked."""
    return ToolOutcome(success=True, result_json=result_json, error="", code="", timestamp_ms=1_000)


def stop_harmlessly(request: ToolRequest) -> ToolOutcome:
    """Says of a call that it was stopped without a trace."""
    raise CancelledRunError("The tool was stopped.", tool_name=request.tool_name)


@dataclass
class RecordingToolRunner:
    """A ``ToolRunner`` whose tools are a function; it records what it was asked.

    Attributes:
        newest: The newest version of each custom tool, by name.
        retired: Versions that are gone.
        stopped: What is said of a call that was stopped while it waited for ``gate``.
        effect: What every tool can do.
        asked_versions: The versions that each description was asked for.
        effects: What tools are declared, by name; ``unsafe`` is what is not named.
        demanding: Tools each of whose calls needs a decision.
        schema: The arguments that they take.
        is_away: Whether the tool-runner cannot be asked.
        stops: The calls that an heir has stopped.
        left: What is said of such a call.
    """

    tool_names: tuple[str, ...] = ("calculator",)
    run: Callable[[ToolRequest], ToolOutcome] = lambda request: answer()
    newest: dict[str, str] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    stopped: Callable[[ToolRequest], ToolOutcome] = stop_harmlessly
    effect: str = "read_only"
    asked_versions: list[dict[str, str]] = field(default_factory=list)
    effects: dict[str, str] = field(default_factory=dict)
    demanding: set[str] = field(default_factory=set)
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "object"})
    is_away: bool = False
    requests: list[ToolRequest] = field(default_factory=list)
    stops: list[ToolRequest] = field(default_factory=list)
    left: Callable[[ToolRequest], ToolOutcome | None] = lambda request: None
    gate: asyncio.Event | None = None
    asked: asyncio.Condition = field(default_factory=asyncio.Condition)
    running: int = 0
    running_max: int = 0

    async def describe(
        self, tool_names: Sequence[str], security: SecurityContext, versions: Mapping[str, str]
    ) -> tuple[ToolSpecification, ...]:
        """See ``ToolRunner``."""
        del security
        if self.is_away:
            raise UnavailableError("The tool-runner is away.")
        self.asked_versions.append(dict(versions))
        meant = {name: versions.get(name) or self.newest.get(name, "") for name in tool_names}
        return tuple(
            ToolSpecification(
                name,
                f"The {name}.",
                self.schema,
                version,
                effect=self.effects.get(name, self.effect),
                requires_approval=name in self.demanding,
            )
            for name, version in meant.items()
            if name in self.tool_names and version not in self.retired
        )

    async def execute(
        self,
        request: ToolRequest,
        security: SecurityContext,
        *,
        timeout_seconds: float,
        stop: StopSignal | None = None,
    ) -> ToolOutcome:
        """See ``ToolRunner``."""
        del security, timeout_seconds
        async with self.asked:
            self.requests.append(request)
            self.asked.notify_all()
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            if self.gate is not None and not await (stop or StopSignal()).bound(self.gate.wait()):
                return self.stopped(request)
            return self.run(request)
        finally:
            self.running -= 1

    async def stop(self, request: ToolRequest, security: SecurityContext) -> ToolOutcome | None:
        """See ``ToolRunner``."""
        del security
        self.stops.append(request)
        return self.left(request)

    async def wait_until_asked(self, times: int = 1) -> None:
        """Returns once ``execute`` was called so often."""
        async with self.asked:
            await self.asked.wait_for(lambda: len(self.requests) >= times)

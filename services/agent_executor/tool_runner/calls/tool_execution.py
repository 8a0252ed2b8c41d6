"""Runs the tool of a call that was admitted, unless an equal call has had its result."""

from __future__ import annotations

import asyncio
from typing import Final

from agent_executor.errors import DeadlineExceededError
from agent_executor.tool_runner.calls.attempt import Attempt
from agent_executor.tool_runner.calls.dispatch import Dispatcher
from agent_executor.tool_runner.calls.result_cache import ResultCache, cache_key
from agent_executor.tool_runner.calls.telemetry import CallTelemetry
from agent_executor.tool_runner.policy.call_policy import Admitted

DEFAULT_TIMEOUT_SECONDS: Final = 60.0

_FROM_CACHE: Final = "cache:hit"


class ToolExecution:
    """Runs tools, each within its time.

    Args:
        dispatcher: Runs a tool in the way that it needs.
        cache: Results of tools that only read.
        telemetry: Tells how often a result was there. Default: nobody is told.
        timeout_seconds: How long a tool may run; a tool's own limit and a caller may ask for less.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        cache: ResultCache,
        *,
        telemetry: CallTelemetry | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._dispatcher = dispatcher
        self._cache = cache
        self._telemetry = telemetry
        self._timeout_seconds = timeout_seconds

    async def run(self, attempt: Attempt, admitted: Admitted) -> str:
        """Returns the result as JSON text.

        Raises:
            DeadlineExceededError: The tool did not end in time.
            AgentExecutorError: The tool failed, or could not be run.
        """
        call, tool = attempt.call, admitted.tool
        tool_seconds = min(tool.timeout_seconds or self._timeout_seconds, self._timeout_seconds)
        seconds = tool_seconds
        if call.timeout_seconds is not None:
            seconds = min(call.timeout_seconds, seconds)
        if not tool.cache_ttl_seconds or admitted.effect != "read_only":
            return await self._dispatcher.run(admitted, seconds)
        key = cache_key(admitted.context, tool.version, admitted.arguments)
        cached = self._cache.get(key)
        if self._telemetry is not None:
            self._telemetry.looked_up(is_hit=cached is not None)
        if cached is not None:
            attempt.facts.append(_FROM_CACHE)
            return cached
        # The run is shared, so it has the tool's whole time; each caller waits for its own.
        timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                return await self._cache.run(
                    key,
                    tool.cache_ttl_seconds,
                    lambda: self._dispatcher.run(admitted, tool_seconds),
                    on_shared=lambda: attempt.facts.append(_FROM_CACHE),
                )
        except TimeoutError:
            if not timeout.expired():
                raise
            raise DeadlineExceededError(
                f"The tool did not end within {seconds:g} s.", tool_name=tool.name
            ) from None

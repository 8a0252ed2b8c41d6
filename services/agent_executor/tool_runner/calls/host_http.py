"""The network of tools that run in this process: requests under the policy of ``http_request``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from agent_executor.errors import PermissionDeniedError, ToolExecutionError
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.calls.context import CallContext
from agent_executor.tool_runner.tool_base import Effect
from agent_executor.tool_runner.tool_http import DEFAULT_TIMEOUT_SECONDS

Broker: TypeAlias = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Makes a request on behalf of one call; its arguments and its result are ``http_request``'s."""

_STRENGTH: Final[Mapping[Effect, int]] = MappingProxyType(
    {"read_only": 0, "idempotent": 1, "unsafe": 2}
)


def broker_of(tool: HTTPRequestTool, context: CallContext, effect: Effect) -> Broker:
    """Returns what makes the requests of a call.

    Args:
        tool: Makes them.
        context: The call.
        effect: What the call may do. A tool that says it only reads may not post.
    """
    sequence = count()

    async def make(arguments: dict[str, Any]) -> dict[str, Any]:
        needed = tool.effect_of(arguments)
        if _STRENGTH[needed] > _STRENGTH[effect]:
            raise PermissionDeniedError(
                f"The tool is declared {effect}, and a request of this method is {needed}.",
                metadata={"rule": "effect", "effect": effect},
                tool_name=context.tool_name,
            )
        return await tool.perform(arguments, context, sequence=next(sequence))

    return make


class HostHttp:
    """``ToolHttp`` for a tool in a thread, which waits while the event loop makes the request.

    A thread goes on when its call has ended, but makes no more requests.
    """

    def __init__(self, broker: Broker, tool_name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._broker = broker
        self._tool_name = tool_name
        self._loop = loop
        self._requests: set[asyncio.Task[Any]] = set()
        self._closed = False

    def close(self) -> None:
        """Stops the requests that are under way and refuses others; in the event loop."""
        self._closed = True
        for request in self._requests:
            request.cancel()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | str | None = None,
        json: Any = None,
        timeout: int = DEFAULT_TIMEOUT_SECONDS,
        credential: str = "",
    ) -> dict[str, Any]:
        """See ``ToolHttp``."""
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001 -- documented, for event loops' code
            raise ToolExecutionError(
                "A coroutine cannot wait for self.http; let _execute_impl be a plain def.",
                tool_name=self._tool_name,
            )
        arguments = request_arguments(
            method=method,
            url=url,
            headers=headers,
            params=params,
            data=data,
            json=json,
            timeout=timeout,
            credential=credential,
        )
        return asyncio.run_coroutine_threadsafe(self._make(arguments), self._loop).result()

    async def _make(self, arguments: dict[str, Any]) -> dict[str, Any]:
        request = asyncio.current_task()
        if self._closed or request is None:
            raise ToolExecutionError("The call has ended.", tool_name=self._tool_name)
        self._requests.add(request)
        try:
            return await self._broker(arguments)
        finally:
            self._requests.discard(request)


def request_arguments(**given: Any) -> dict[str, Any]:
    """Returns the arguments of ``http_request`` that a tool has set."""
    return {name: value for name, value in given.items() if value not in (None, "")}

"""The network of tools that run in this process: requests under the policy of ``http_request``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from agent_executor.errors import ToolExecutionError
from agent_executor.tool_runner.call_context import CallContext
from agent_executor.tool_runner.tool_http import DEFAULT_TIMEOUT_SECONDS

PerformRequest: TypeAlias = Callable[[dict[str, Any], CallContext], Awaitable[dict[str, Any]]]
"""Makes a request on behalf of a call; its arguments are those of ``http_request``."""


class HostHttp:
    """``ToolHttp`` for a tool in a thread, which waits while the event loop makes the request."""

    def __init__(
        self, perform: PerformRequest, context: CallContext, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._perform = perform
        self._context = context
        self._loop = loop

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
                tool_name=self._context.tool_name,
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
        return await self._perform(arguments, self._context)


def request_arguments(**given: Any) -> dict[str, Any]:
    """Returns the arguments of ``http_request`` that a tool has set."""
    return {name: value for name, value in given.items() if value not in (None, "")}

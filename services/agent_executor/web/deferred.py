"""What is built when it is first asked for, since most processes never are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send


class Deferred:
    """An application that is built at its first request, once; requests of that time wait for it.

    Where that fails, they do, and the next request builds it anew.

    Args:
        build: Builds it.
    """

    def __init__(self, build: Callable[[], Coroutine[Any, Any, ASGIApp]]) -> None:
        self._build = build
        self._building: asyncio.Task[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if self._building is None:
            self._building = asyncio.create_task(self._build())
            self._building.add_done_callback(self._forget_failure)
        # A caller who goes away must not end what others wait for.
        application = await asyncio.shield(self._building)
        await application(scope, receive, send)

    def _forget_failure(self, building: asyncio.Task[ASGIApp]) -> None:
        if building.cancelled() or building.exception() is not None:
            self._building = None

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_executor.web.deferred import Deferred


async def receive() -> Message:
    return {"type": "http.request"}


async def send(_message: Message) -> None:
    """Nobody listens."""


async def test_it_is_built_once_and_again_after_it_failed() -> None:
    outcomes: list[Exception | None] = [OSError("Too many open files."), None]
    served: list[Any] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        served.append(scope["path"])

    async def build() -> ASGIApp:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return application

    deferred = Deferred(build)
    with pytest.raises(OSError, match="open files"):
        await deferred({"path": "/1"}, receive, send)
    await asyncio.gather(*(deferred({"path": f"/{n}"}, receive, send) for n in (2, 3)))
    assert (served, outcomes) == (["/2", "/3"], [])

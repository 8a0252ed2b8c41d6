from __future__ import annotations

import asyncio

import pytest

from agent_executor.tool_runner.calls import runner_presence
from agent_executor.tool_runner.calls.runner_presence import RunnerPresence


async def test_the_lock_is_tried_for_again_whatever_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    presence, is_held = RunnerPresence("postgresql://nowhere.test/d"), asyncio.Event()
    failures = [OSError("away"), RuntimeError("the handler is closed")]

    async def hold() -> None:
        if failures:
            raise failures.pop()
        is_held.set()

    monkeypatch.setattr(runner_presence, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(presence, "_hold", hold)
    await presence.start()
    async with asyncio.timeout(60):
        await is_held.wait()
    await presence.close()

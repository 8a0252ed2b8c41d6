"""Ending a run of the library, from another thread or another task."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent_executor import AgentExecutor, AsyncAgentExecutor, LLMModel, ToolBase
from agent_executor.errors import RunNotFoundError
from agent_executor.tool_runner.tool_base import Effect

MODEL = LLMModel.CLAUDE_SONNET_4


class HangingTool(ToolBase):
    """Hangs until it is cancelled."""

    begun = threading.Event()
    ended = threading.Event()
    tool_effect: Effect = "read_only"

    def __init__(self) -> None:
        super().__init__(name="hang", description="Hangs.", effect=self.tool_effect)

    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


class UnsafeHangingTool(HangingTool):
    """The same, with effects."""

    tool_effect = "unsafe"


def config(tool: type[HangingTool]) -> dict[str, Any]:
    tool.begun, tool.ended = threading.Event(), threading.Event()
    return {"name": "Agent", "custom_tools": {"hang": {"class": tool, "enabled": True}}}


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("tool", [HangingTool, UnsafeHangingTool])
def test_another_thread_ends_a_run(
    tool: type[HangingTool], tmp_path: Path, *, is_kept: bool
) -> None:
    folder = tmp_path if is_kept else None
    with (
        AgentExecutor(config(tool), MODEL, data_dir=folder) as agent,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(agent.execute, "Test the hang tool")
        assert tool.begun.wait(10)
        (run_id,) = agent.run_ids()
        receipt = agent.cancel(run_id, "enough")
        assert tool.ended.is_set()
        assert (receipt["state"], receipt["was_stopped"]) == ("cancelled", True)
        assert receipt["stopped_call_ids"] == [f"{run_id}_1_0"]
        is_unknown = tool is UnsafeHangingTool
        assert receipt["unknown_call_ids"] == receipt["stopped_call_ids"] * is_unknown
        answer = waiting.result(10)
        assert (answer["task_id"], answer["state"]) == (run_id, "cancelled")
        assert agent.run_ids() == []
        assert agent.cancel(run_id) == receipt
        with pytest.raises(RunNotFoundError):
            agent.cancel("nope")


async def test_another_task_ends_a_run() -> None:
    async with AsyncAgentExecutor(config(HangingTool), MODEL) as agent:
        waiting = asyncio.create_task(agent.execute("Test the hang tool"))
        assert await asyncio.to_thread(HangingTool.begun.wait, 10)
        (run_id,) = await agent.run_ids()
        receipt = await agent.cancel(run_id)
        assert receipt["was_stopped"]
        assert (await waiting)["state"] == "cancelled"

"""The library's own part: the event loop that all agents of a process share, and its input."""

from __future__ import annotations

import contextlib
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agent_executor import AgentExecutor, LLMModel, ToolBase
from agent_executor.embedded import event_loop
from agent_executor.errors import InvalidArgumentError, RunFinishedError, RunNotFoundError

MODEL = LLMModel.CLAUDE_SONNET_4


def test_input_that_cannot_be_written_down_is_refused() -> None:
    with AgentExecutor({"name": "Agent"}, MODEL) as agent:
        with pytest.raises(InvalidArgumentError, match="surrogate"):
            agent.execute("hello \ud800")
        assert agent.execute("hello \U0001f600")["state"] == "completed"


def test_threads_that_come_first_together_share_one_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = threading.Barrier(2, timeout=0.2)

    def start_slowly() -> object:
        # With two starting at once both would come here; alone, one waits in vain.
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait()
        return object()

    monkeypatch.setattr(event_loop, "_started_event_loop", functools.cache(start_slowly))
    with ThreadPoolExecutor(2) as threads:
        first, second = (threads.submit(event_loop._event_loop) for _ in range(2))
    assert first.result() is second.result()


class AskingTool(ToolBase):
    """Asks an agent of its own, on the event loop of all agents."""

    def __init__(self) -> None:
        super().__init__(name="ask", description="Asks.")

    async def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        return AgentExecutor({"name": "Inner"}, MODEL).execute("hello")


def test_a_coroutine_tool_that_would_wait_for_its_own_event_loop_fails() -> None:
    config = {"name": "Outer", "custom_tools": {"ask": {"class": AskingTool, "enabled": True}}}
    with AgentExecutor(config, MODEL) as agent:
        (result,) = agent.execute("Test the ask tool")["tool_results"]
    assert not result["success"]


def test_a_run_with_a_limit_ends_at_it() -> None:
    with AgentExecutor({"name": "Agent", "max_cost_usd": 0.01}, MODEL) as agent:
        ended = agent.execute("hello")
        assert (ended["state"], ended["code"]) == ("budget_exceeded", "BUDGET_EXCEEDED")
    with AgentExecutor({"name": "Agent"}, MODEL) as agent:
        assert agent.execute("hello", max_cost_usd=0.01)["state"] == "budget_exceeded"
        assert agent.execute("hello", max_cost_usd=1)["state"] == "completed"


def test_a_limit_leaves_some_output_if_the_agent_can_do_with_less() -> None:
    config = {"name": "Agent", "max_cost_usd": 0.03, "min_output_tokens": 100}
    with AgentExecutor(config, MODEL) as agent:
        assert agent.execute("hello")["state"] == "completed"


def test_a_run_that_has_ended_starts_no_other_one() -> None:
    with AgentExecutor({"name": "Agent"}, MODEL) as agent:
        parent = agent.execute("hello")["task_id"]
        with pytest.raises(RunFinishedError):
            agent.execute("hello", parent_run_id=parent)
        with pytest.raises(RunNotFoundError):
            agent.execute("hello", parent_run_id="nobody's")


@pytest.mark.parametrize(
    "config",
    [
        {"max_cost_usd": -1},
        {"max_cost_usd": "a lot"},
        {"on_budget_exceeded": "shrug"},
        {"min_output_tokens": -1},
        {"min_output_tokens": 5_000, "max_output_tokens": 4_000},
    ],
)
def test_a_configuration_of_limits_that_cannot_be_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        AgentExecutor({"name": "Agent", **config}, MODEL)

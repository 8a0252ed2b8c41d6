"""Tool calls of a program's own agents that wait for a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent_executor import AgentExecutor, AsyncAgentExecutor, LLMModel, ToolBase
from agent_executor.errors import (
    ApprovalNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
    LimitExceededError,
)

MODEL = LLMModel.CLAUDE_SONNET_4
SUM = "What is 15 + 27?"
ASKS = {
    "name": "Agent",
    "tools": {"calculator": True},
    "approval_policy": {"rules": [{"tool": "calculator", "reason": "It counts."}]},
}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def waiting(agent: AgentExecutor, executing: Future[Any]) -> list[dict[str, Any]]:
    """Returns what waits for a person, as soon as anything does."""
    ends_at = time.monotonic() + 30
    while not (found := agent.list_approvals()):
        assert not executing.done(), executing.result()
        assert time.monotonic() < ends_at
        time.sleep(0.001)
    return found


@pytest.mark.parametrize("is_durable", [False, True], ids=["memory", "files"])
def test_a_program_lets_a_call_pass(
    pool: ThreadPoolExecutor, tmp_path: Path, is_durable: bool
) -> None:
    with AgentExecutor(ASKS, MODEL, data_dir=tmp_path if is_durable else None) as agent:
        executing = pool.submit(agent.execute, SUM)
        [approval] = waiting(agent, executing)
        assert (approval["state"], approval["reason"]) == ("pending", "It counts.")
        decided = agent.resolve_approval(approval, "approve", reason="fine")
        assert (decided["state"], decided["decision_reason"]) == ("approved", "fine")
        result = executing.result(30)
        assert (result["state"], result["response"]) == ("completed", "15 + 27 = 42")
        assert agent.list_approvals(result["task_id"]) == []
        assert agent.resolve_approval(approval, "approve") == decided
        with pytest.raises(FailedPreconditionError):
            agent.resolve_approval(approval, "deny")


def test_a_program_denies_a_call(pool: ThreadPoolExecutor) -> None:
    with AgentExecutor(ASKS, MODEL) as agent:
        executing = pool.submit(agent.execute, SUM)
        agent.resolve_approval(waiting(agent, executing)[0], "deny", reason="No.")
        [result] = executing.result(30)["tool_results"]
        assert (result["success"], result["code"]) == (False, "PERMISSION_DENIED")
        assert result["error"] == "A person denied this call: No."


class PayTool(ToolBase):
    """Demands a person's decision for each of its calls."""

    paid: list[Any] = []  # noqa: RUF012 -- what all of a test have paid

    def __init__(self) -> None:
        super().__init__(
            name="pay",
            description="Pays.",
            input_schema={"type": "object", "properties": {"amount": {"type": "integer"}}},
            requires_approval=True,
        )

    def _execute_impl(self, arguments: dict[str, Any]) -> Any:
        self.paid.append(arguments)
        return "paid"


def test_a_tool_demands_it_and_its_arguments_are_edited(pool: ThreadPoolExecutor) -> None:
    PayTool.paid.clear()
    config = {"name": "Agent", "custom_tools": {"pay": {"class": PayTool}}}
    with AgentExecutor(config, MODEL) as agent:
        executing = pool.submit(agent.execute, "Test the pay tool")
        [approval] = waiting(agent, executing)
        assert approval["reason"] == 'Every call of "pay" needs a decision.'
        for wrong in ({"amount": "much"}, {"amount": {1, 2}}, {"amount": float("nan")}):
            with pytest.raises(InvalidArgumentError):
                agent.resolve_approval(approval, "approve", arguments=wrong)
        assert PayTool.paid == []
        agent.resolve_approval(approval, "approve", arguments={"amount": 7})
        assert executing.result(30)["state"] == "completed"
    assert PayTool.paid == [{"amount": 7}]


def test_what_nobody_decides_expires_by_itself(pool: ThreadPoolExecutor) -> None:
    policy = {**ASKS["approval_policy"], "timeout_seconds": 1}  # type: ignore[dict-item]  # it is a mapping
    with AgentExecutor({**ASKS, "approval_policy": policy}, MODEL) as agent:
        result = pool.submit(agent.execute, SUM).result(30)
        assert "in time" in result["tool_results"][0]["error"]


def test_a_stream_tells_of_it(pool: ThreadPoolExecutor) -> None:
    with AgentExecutor(ASKS, MODEL) as agent:
        told: dict[str, Any] = {}
        for update in agent.stream(SUM):
            told[update["type"]] = update[update["type"]]
            if update["type"] == "approval_requested":
                approval = {**told["approval_requested"], "run_id": update["run_id"]}
                pool.submit(agent.resolve_approval, approval, "approve")
        assert told["approval_requested"]["expires_at"].endswith("Z")
        assert told["approval_resolved"]["decision"] == "approved"
        assert told["done"]["response"] == "15 + 27 = 42"


async def test_it_is_the_same_with_await() -> None:
    async with AsyncAgentExecutor(ASKS, MODEL) as agent:
        executing = asyncio.create_task(agent.execute(SUM))
        while not (found := await agent.list_approvals()):  # noqa: ASYNC110 -- nothing else tells
            await asyncio.sleep(0.001)
        await agent.resolve_approval(found[0], "approve")
        assert (await executing)["state"] == "completed"


def test_what_is_none_is_refused() -> None:
    with AgentExecutor(ASKS, MODEL) as agent:
        run_id = agent.execute("Hello!")["task_id"]
        approval = {"run_id": run_id, "tool_call_id": "none"}
        with pytest.raises(ApprovalNotFoundError):
            agent.resolve_approval(approval, "approve")
        for wrong, decision in (({}, "approve"), (approval, "perhaps")):
            with pytest.raises(InvalidArgumentError):
                agent.resolve_approval(wrong, decision)


@pytest.mark.parametrize(
    "policy",
    [
        {"rules": [{"tool": "effect:none"}]},
        {"rules": [{"tool": "a", "arguments_schema_json": "{"}]},
        {"rules": [{"reason": "no tool"}]},
        {"rules": "calculator"},
        {"timeout_seconds": "long"},
    ],
)
def test_a_policy_that_is_none_makes_no_agent(policy: dict[str, Any]) -> None:
    with pytest.raises((InvalidArgumentError, LimitExceededError)):
        AgentExecutor({**ASKS, "approval_policy": policy}, MODEL)


@pytest.mark.parametrize("demand", ["yes", 1, None])
def test_a_tool_demands_or_does_not(demand: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="requires_approval"):
        ToolBase.__init__(PayTool(), "pay", "Pays.", requires_approval=demand)

"""The examples of the product's documentation that concern the library, word for word.

The package's name in the imports and ``AsyncAgentExecutor`` in the concurrency example are the
only differences; what is asserted beyond an example's own assertions is what its text promises.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cachetools import TTLCache

from agent_executor import (
    AgentExecutor,
    AsyncAgentExecutor,
    CalculatorTool,
    LLMModel,
    ToolBase,
    ToolSandbox,
)

agent_config = {
    "name": "Math Assistant",
    "role": "math expert",
    "instructions": "You are a math expert. Use the calculator tool for arithmetic operations.",
    "tools": {"calculator": True},
    "custom_tools": {},
}


@pytest.fixture
def executor() -> AgentExecutor:
    return AgentExecutor(agent_config, LLMModel.CLAUDE_SONNET_4)


def assert_is_recent(timestamp: str) -> None:
    assert timestamp.endswith("Z")
    age = datetime.now(UTC) - datetime.fromisoformat(timestamp)
    assert -timedelta(seconds=1) < age < timedelta(minutes=5)


def test_basic_usage(capsys: pytest.CaptureFixture[str]) -> None:
    # Initialize executor
    executor = AgentExecutor(agent_config, LLMModel.CLAUDE_SONNET_4)

    # Execute agent
    result = executor.execute("What is 15 + 27?")

    print(f"Result: {result['response']}")  # noqa: T201 -- the example prints
    print(f"Tokens used: {result['tokens_used']}")  # noqa: T201 -- the example prints
    print(f"Cost: ${result['cost_usd']:.4f}")  # noqa: T201 -- the example prints

    response, tokens, cost = capsys.readouterr().out.splitlines()
    assert response == "Result: 15 + 27 = 42"
    assert int(tokens.removeprefix("Tokens used: ")) > 0
    assert float(cost.removeprefix("Cost: $")) > 0


def test_the_output_has_the_documented_fields(executor: AgentExecutor) -> None:
    result = executor.execute("What is 15 + 27?")
    assert isinstance(result["response"], str)
    assert isinstance(result["tokens_used"], int)
    assert isinstance(result["cost_usd"], float)
    assert result["state"] == "completed"
    (tool_result,) = result["tool_results"]
    assert set(tool_result) == {
        *("tool_call_id", "tool_name", "success", "result", "error", "code", "timestamp")
    }
    assert tool_result["tool_name"] == "calculator"
    assert tool_result["success"] is True
    assert tool_result["result"]["result"] == 42
    assert (tool_result["error"], tool_result["code"]) == ("", "")
    assert_is_recent(tool_result["timestamp"])
    roles = [message["role"] for message in result["conversation_history"]]
    assert roles == ["user", "assistant", "user", "assistant"]
    # The whole mapping is JSON, as the REST API answers it.
    assert json.loads(json.dumps(result)) == result


def test_the_execute_endpoint_s_example_without_tools() -> None:
    executor = AgentExecutor({"name": "Test Agent"}, LLMModel.CLAUDE_SONNET_4)
    result = executor.execute("What is 2 + 2?")
    assert result["response"] == "The answer is 4"
    assert result["tool_results"] == []
    assert result["state"] == "completed"


def test_the_test_endpoint_s_example(executor: AgentExecutor) -> None:
    result = executor.execute("Test the calculator tool")
    assert result["response"].startswith("Test successful")
    assert [item["success"] for item in result["tool_results"]] == [True]


def test_agent_executor_initialization() -> None:
    agent_config = {
        "name": "Test Agent",
        "role": "test assistant",
        "instructions": "Help the user with their request.",
        "tools": {"calculator": True},
        "custom_tools": {},
    }

    executor = AgentExecutor(agent_config, LLMModel.CLAUDE_SONNET_4)
    assert executor.model == LLMModel.CLAUDE_SONNET_4
    assert len(executor.tools) == 1


def test_token_tracking(executor: AgentExecutor, capsys: pytest.CaptureFixture[str]) -> None:
    result = executor.execute("Test message")
    print(f"Tokens used: {result['tokens_used']}")  # noqa: T201 -- the example prints
    print(f"Cost: ${result['cost_usd']:.4f}")  # noqa: T201 -- the example prints

    assert result["state"] == "completed"
    assert result["tokens_used"] > 0
    assert result["cost_usd"] > 0
    assert "Cost: $0.0" in capsys.readouterr().out


def test_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logger = logging.getLogger(__name__)

    executor = AgentExecutor(agent_config, LLMModel.CLAUDE_SONNET_4)
    result = executor.execute("Test")

    logger.info(f"Execution completed: {result['state']}")  # noqa: G004 -- the example's own words
    logger.info(f"Tokens used: {result['tokens_used']}")  # noqa: G004 -- the example's own words
    logger.info(f"Cost: ${result['cost_usd']:.4f}")  # noqa: G004 -- the example's own words

    messages = [record.message for record in caplog.records if record.name == __name__]
    assert messages[0] == "Execution completed: completed"
    assert messages[1] == f"Tokens used: {result['tokens_used']}"


def test_the_calculator_s_example() -> None:
    result = CalculatorTool().execute({"operation": "add", "a": 15, "b": 27, "precision": 5})
    assert result["success"] is True
    assert result["tool_name"] == "calculator"
    assert result["result"]["result"] == 42
    assert_is_recent(result["timestamp"])


@pytest.mark.parametrize(
    ("operation", "operands", "expected"),
    [
        ("add", {"a": 15, "b": 27}, 42),
        ("subtract", {"a": 15, "b": 27}, -12),
        ("multiply", {"a": 6, "b": 7}, 42),
        ("divide", {"a": 10, "b": 4}, 2.5),
        ("power", {"a": 2, "b": 10}, 1024),
        ("sqrt", {"a": 144}, 12),
        ("percent", {"a": 15}, 0.15),
    ],
)
def test_every_operation_of_the_calculator(
    operation: str, operands: dict[str, int], expected: float
) -> None:
    result = CalculatorTool().execute({"operation": operation, **operands})
    assert result["result"]["result"] == expected


def test_the_error_response_format() -> None:
    result = CalculatorTool().execute({"operation": "divide", "a": 1, "b": 0})
    assert set(result) == {"success", "error", "tool_name", "code", "timestamp"}
    assert result["success"] is False
    assert result["error"]
    assert result["tool_name"] == "calculator"
    assert result["code"]
    assert_is_recent(result["timestamp"])


def test_rate_limiting() -> None:
    sandbox = ToolSandbox()
    sandbox.set_rate_limit("calculator", max_calls=100, window_seconds=60)
    sandbox.set_rate_limit("http_request", max_calls=50, window_seconds=60)

    executor = AgentExecutor(agent_config, LLMModel.CLAUDE_SONNET_4, sandbox=sandbox)
    assert executor.execute("What is 15 + 27?")["tool_results"][0]["success"] is True


def test_a_rate_limit_that_is_reached() -> None:
    sandbox = ToolSandbox()
    sandbox.set_rate_limit("calculator", max_calls=1, window_seconds=3600)

    executor = AgentExecutor(agent_config, LLMModel.CLAUDE_SONNET_4, sandbox=sandbox)
    assert executor.execute("What is 15 + 27?")["tool_results"][0]["success"] is True
    result = executor.execute("What is 15 + 27?")
    (tool_result,) = result["tool_results"]
    assert tool_result["success"] is False
    assert tool_result["code"] == "RATE_LIMIT_EXCEEDED"
    assert result["state"] == "completed"
    assert "failed" in result["response"]


def test_domain_whitelisting() -> None:
    sandbox = ToolSandbox()
    sandbox.add_allowed_domain("api.example.com")
    sandbox.add_allowed_domain("jsonplaceholder.typicode.com")

    assert sandbox.allows_domain("api.example.com")
    assert sandbox.allows_domain("jsonplaceholder.typicode.com")
    assert not sandbox.allows_domain("example.com")
    assert not sandbox.allows_domain("api.example.com.attacker.test")


def test_security_context() -> None:
    security_context = {
        "user_id": "user-uuid",
        "organization_id": "org-uuid",
        "permissions": ["tool:calculator", "tool:http_request"],
        "rate_limit": {"calculator": 100, "http_request": 50},
        "sandbox": True,
    }

    executor = AgentExecutor(
        agent_config, LLMModel.CLAUDE_SONNET_4, security_context=security_context
    )
    assert executor.execute("What is 15 + 27?")["response"] == "15 + 27 = 42"


def test_a_security_context_without_the_tool_s_permission() -> None:
    executor = AgentExecutor(
        agent_config,
        LLMModel.CLAUDE_SONNET_4,
        security_context={
            "user_id": "user-uuid",
            "organization_id": "org-uuid",
            "permissions": ["tool:http_request"],
        },
    )
    (tool_result,) = executor.execute("What is 15 + 27?")["tool_results"]
    assert tool_result["success"] is False
    assert tool_result["code"] == "PERMISSION_DENIED"


def test_a_custom_tool() -> None:
    class CustomTool(ToolBase):
        def __init__(self) -> None:
            super().__init__(name="custom_tool", description="Custom tool description")

        def _execute_impl(self, arguments: dict[str, Any]) -> Any:
            # Implement tool logic here
            return {"result": "success"}

    # Add to agent configuration
    agent_config = {
        "name": "Custom Agent",
        "tools": {"custom_tool": True},
        "custom_tools": {"custom_tool": {"class": "CustomTool", "enabled": True}},
    }

    executor = AgentExecutor(agent_config, LLMModel.CLAUDE_SONNET_4)
    result = executor.execute("Test the custom_tool tool")
    (tool_result,) = result["tool_results"]
    assert tool_result["tool_name"] == "custom_tool"
    assert tool_result["result"] == {"result": "success"}
    assert result["response"].startswith("Test successful")
    assert isinstance(executor.tools["custom_tool"], CustomTool)


async def test_concurrency() -> None:
    config1, config2, config3 = ({**agent_config, "name": f"Agent {n}"} for n in (1, 2, 3))

    async def execute_agents_concurrently() -> list[dict[str, Any]]:
        agent_configs = [config1, config2, config3]

        tasks = []
        for config in agent_configs:
            executor = AsyncAgentExecutor(config, LLMModel.CLAUDE_SONNET_4)
            task = asyncio.create_task(executor.execute("Concurrent test"))
            tasks.append(task)

        results = await asyncio.gather(*tasks)
        return results  # noqa: RET504 -- the example's own words

    results = await execute_agents_concurrently()
    assert [result["state"] for result in results] == ["completed"] * 3
    assert [f"Agent {n}" in result["response"] for n, result in enumerate(results, 1)] == [True] * 3


def test_caching_strategy() -> None:
    calls: list[str] = []

    def execute_tool(tool_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        calls.append(tool_name)
        return CalculatorTool().execute(arguments)

    # Cache for tool results
    cache: TTLCache[str, dict[str, Any]] = TTLCache(maxsize=1000, ttl=3600)

    def get_cached_tool_result(tool_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        key = f"{tool_name}:{json.dumps(arguments)}"
        if key in cache:
            return cache[key]

        result = execute_tool(tool_name, arguments)
        cache[key] = result
        return result

    arguments = {"operation": "add", "a": 15, "b": 27}
    first = get_cached_tool_result("calculator", arguments)
    assert get_cached_tool_result("calculator", arguments) is first
    assert calls == ["calculator"]


@pytest.mark.parametrize(
    "make_executor", [AgentExecutor, AsyncAgentExecutor], ids=["sync", "async"]
)
def test_both_executors_are_made_in_the_same_way(make_executor: Callable[..., Any]) -> None:
    executor = make_executor(agent_config, "claude-sonnet-4-20250514")
    assert executor.model is LLMModel.CLAUDE_SONNET_4
    assert list(executor.tools) == ["calculator"]

"""The documented REST calls, with their field names and types."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.e2e.agents_and_runs import create_agent
from tests.e2e.error_shape import assert_is_timestamp
from tests.platforms import Client

MODEL = "claude-sonnet-4-20250514"
UUID = "uuid"
TIME = "2026-02-23T10:00:00Z"

OUTPUT = {
    "response": "The answer is 4",
    "tool_results": [],
    "conversation_history": [...],
    "tokens_used": 123,
    "cost_usd": 0.0001,
    "state": "completed",
}
EXECUTION = {
    "task_id": UUID,
    "agent_id": UUID,
    "model": MODEL,
    "input": "What is 2 + 2?",
    "output": OUTPUT,
    "tokens_used": 123,
    "cost_usd": 0.0001,
    "state": "completed",
    "created_at": TIME,
}
TOOLS = {
    "agent_id": UUID,
    "tools": [
        {"name": "calculator", "description": "Performs arithmetic operations", "enabled": True}
    ],
    "total_tools": 1,
}
TEST = {
    "agent_id": UUID,
    "model": MODEL,
    "test_input": "Test the calculator tool",
    "test_output": {**OUTPUT, "response": "Test successful", "tool_results": [...]},
    "success": True,
    "timestamp": TIME,
    "tokens_used": 123,
    "cost_usd": 0.0001,
    "conversation_history": [...],
}
SEED_AGENT = {
    "name": "Test Agent",
    "description": "Test agent",
    "agent_type": "llm",
    "model": MODEL,
    "api_key": "test-key",
    "is_active": True,
}


def assert_has_shape(actual: Any, example: Any) -> None:
    """Holds an answer to have the fields of the documented example, each of the same JSON type.

    Where the example says so, it is a UUID, a time, or a list that is not empty.
    """
    if example == UUID:
        assert str(uuid.UUID(actual)) == actual
    elif example == TIME:
        assert_is_timestamp(actual)
    elif example == [...]:
        assert isinstance(actual, list)
        assert actual
    elif isinstance(example, dict):
        assert example.keys() <= actual.keys(), example.keys() - actual.keys()
        for name, value in example.items():
            assert_has_shape(actual[name], value)
    elif isinstance(example, bool | str | list):
        assert type(actual) is type(example), (actual, example)
    else:
        # A number, whole for a count; never a string, and never true or false.
        assert type(actual) is int or (isinstance(example, float) and type(actual) is float)


def test_execute(client: Client) -> None:
    agent_id = client.post("/api/v1/agents", SEED_AGENT).body["id"]
    answer = client.post(f"/api/v1/agents/{agent_id}/execute", {"input": "What is 2 + 2?"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.body
    assert_has_shape(body, EXECUTION)
    assert body["agent_id"] == agent_id
    assert body["model"] == MODEL
    assert body["input"] == "What is 2 + 2?"
    assert body["output"]["response"] == "The answer is 4"
    assert body["output"]["tool_results"] == []
    assert body["state"] == body["output"]["state"] == "completed"
    assert body["tokens_used"] == body["output"]["tokens_used"] > 0
    assert body["cost_usd"] == body["output"]["cost_usd"] > 0
    assert "error" not in body


def test_numbers_are_written_as_numbers(client: Client) -> None:
    # The text itself, since a parser might be lenient.
    agent_id = create_agent(client)
    content = client.post(f"/api/v1/agents/{agent_id}/execute", {"input": "What is 2 + 2?"}).content
    body = json.loads(content)
    assert f'"tokens_used":{body["tokens_used"]},'.encode() in content
    assert f'"cost_usd":{body["cost_usd"]},'.encode() in content


def test_the_conversation_has_the_form_of_the_messages_api(client: Client) -> None:
    agent_id = create_agent(client)
    body = client.post(f"/api/v1/agents/{agent_id}/execute", {"input": "What is 15 + 27?"}).body
    question, call, result, answer = body["output"]["conversation_history"]
    assert question == {
        "role": "user",
        "content": [{"type": "text", "text": "What is 15 + 27?"}],
    }
    assert call["role"] == "assistant"
    (tool_use,) = call["content"]
    assert tool_use.keys() == {"type", "id", "name", "input"}
    assert tool_use["type"] == "tool_use"
    assert tool_use["name"] == "calculator"
    assert tool_use["input"] == {"operation": "add", "a": 15, "b": 27}
    assert result["role"] == "user"
    (tool_result,) = result["content"]
    assert tool_result.keys() == {"type", "tool_use_id", "content", "is_error"}
    assert tool_result["type"] == "tool_result"
    assert tool_result["tool_use_id"] == tool_use["id"]
    assert tool_result["is_error"] is False
    assert answer == {"role": "assistant", "content": [{"type": "text", "text": "15 + 27 = 42"}]}


def test_a_tool_result_says_what_the_tool_said(client: Client) -> None:
    agent_id = create_agent(client)
    body = client.post(f"/api/v1/agents/{agent_id}/execute", {"input": "What is 15 + 27?"}).body
    (result,) = body["output"]["tool_results"]
    assert_is_timestamp(result.pop("timestamp"))
    assert isinstance(result.pop("tool_call_id"), str)
    assert result == {
        "tool_name": "calculator",
        "success": True,
        "result": {"operation": "add", "result": 42},
        "error": "",
        "code": "",
    }


def test_tools(client: Client) -> None:
    agent_id = create_agent(client)
    answer = client.get(f"/api/v1/agents/{agent_id}/tools")
    assert answer.status == 200
    assert answer.body == {**TOOLS, "agent_id": agent_id}


def test_test(client: Client) -> None:
    agent_id = create_agent(client)
    answer = client.post(f"/api/v1/agents/{agent_id}/test", {"input": "Test the calculator tool"})
    assert answer.status == 200
    body = answer.body
    assert_has_shape(body, TEST)
    assert body["agent_id"] == agent_id
    assert body["test_input"] == "Test the calculator tool"
    assert body["success"] is True
    assert body["test_output"]["response"].startswith("Test successful")
    assert [result["tool_name"] for result in body["test_output"]["tool_results"]] == ["calculator"]
    assert body["conversation_history"] == body["test_output"]["conversation_history"]
    assert body["tokens_used"] == body["test_output"]["tokens_used"] > 0
    assert body["cost_usd"] == body["test_output"]["cost_usd"] > 0


def test_a_failed_tool_result_fails_the_test_and_not_the_run(client: Client) -> None:
    agent_id = create_agent(client)
    answer = client.post(f"/api/v1/agents/{agent_id}/test", {"input": "What is 1 / 0?"})
    assert answer.status == 200
    assert answer.body["success"] is False
    assert answer.body["test_output"]["state"] == "completed"
    (result,) = answer.body["test_output"]["tool_results"]
    assert result["success"] is False
    assert result["result"] is None
    assert result["error"]
    assert result["code"] == "INVALID_ARGUMENT"
    assert result["tool_name"] == "calculator"
    assert_is_timestamp(result["timestamp"])


def test_agent_execution_endpoint(client: Client) -> None:
    # The documented integration test, with HTTP through the gateway for its TestClient.
    create_response = client.post("/api/v1/agents", SEED_AGENT)

    assert create_response.status == 200
    agent_id = create_response.body["id"]

    # Test execution
    execute_response = client.post(
        f"/api/v1/agents/{agent_id}/execute", {"input": "Test execution"}
    )

    assert execute_response.status == 200
    assert "task_id" in execute_response.body

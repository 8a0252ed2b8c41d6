"""The body of a Chat Completions request."""

from __future__ import annotations

from typing import Any

import pytest

from agent_executor.executor.models.mock_http.chat_request import read_chat_request
from agent_executor.executor.models.model import (
    Message,
    ModelRequest,
    ProviderBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolSpecification,
    ToolUseBlock,
)
from agent_executor.executor.models.openai.request import request_body

HOST = "localhost"
ADD = ToolSpecification("add", "It adds.", {"type": "object"})
CONVERSATION = (
    Message("user", (TextBlock("Add."),)),
    Message(
        "assistant",
        (
            ThinkingBlock("Hm.", ""),
            RedactedThinkingBlock("x"),
            ProviderBlock({"type": "server_tool_use"}),
            TextBlock("Both at once."),
            ToolUseBlock("call_1", "add", {"a": "ü"}),
            ToolUseBlock("call_2", "add", {}),
        ),
    ),
    Message(
        "user", (ToolResultBlock("call_1", "3"), ToolResultBlock("call_2", "4", is_error=True))
    ),
    Message("assistant", (TextBlock(""),)),
    Message("user", (TextBlock("And?"), TextBlock("Well?"))),
)


def request_of(**changes: Any) -> ModelRequest:
    fields: dict[str, Any] = {
        "model": "gpt-5.5-mini",
        "system": "Be brief.",
        "messages": CONVERSATION,
        "tools": (ADD,),
        "max_tokens": 100,
    }
    return ModelRequest(**fields | changes)


def test_a_conversation() -> None:
    body = request_body(request_of(), HOST)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Add."},
        {
            "role": "assistant",
            "content": "Both at once.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a":"ü"}'},
                },
                {
                    "id": "call_2",
                    "type": "function",
                    "function": {"name": "add", "arguments": "{}"},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
        {"role": "tool", "tool_call_id": "call_2", "content": "4"},
        {"role": "user", "content": "And?\n\nWell?"},
    ]
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "add",
                "description": "It adds.",
                "parameters": {"type": "object"},
            },
        }
    ]
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_what_is_not_there_is_not_sent() -> None:
    body = request_body(request_of(system="", tools=()), HOST)
    assert body["messages"][0]["role"] == "user"
    assert "tools" not in body
    assert "reasoning_effort" not in body
    only_call = Message("assistant", (ToolUseBlock("call_1", "add", {}),))
    body = request_body(request_of(messages=(CONVERSATION[0], only_call)), HOST)
    assert body["messages"][-1]["content"] is None


@pytest.mark.parametrize(
    ("host", "model", "limit"),
    [
        ("api.openai.com", "gpt-5.5", {"max_completion_tokens": 999_999}),
        # ollama/ollama#7125: it ignores the newer name, and then nothing limits the answer.
        ("localhost", "gpt-5.5", {"max_tokens": 999_999}),
        ("localhost", "claude-haiku-4-5-20251001", {"max_tokens": 64_000}),
    ],
)
def test_the_limit_has_the_name_that_the_endpoint_knows(
    host: str, model: str, limit: dict[str, int]
) -> None:
    body = request_body(request_of(model=model, max_tokens=999_999), host)
    assert {name: body[name] for name in body if name.startswith("max_")} == limit


@pytest.mark.parametrize(
    ("thinking", "budget", "effort"),
    [
        ("default", 0, None),
        ("off", 0, None),
        ("on", 1_024, "low"),
        ("on", 4_096, "medium"),
        ("on", 16_384, "high"),
    ],
)
def test_a_thinking_budget_is_an_effort(thinking: str, budget: int, effort: str | None) -> None:
    request = request_of(thinking=thinking, thinking_budget_tokens=budget)
    assert request_body(request, HOST).get("reasoning_effort") == effort


def test_the_mock_reads_what_is_sent() -> None:
    import msgspec

    received = read_chat_request(msgspec.json.encode(request_body(request_of(), HOST)))
    assert (received.is_streamed, received.shows_usage, received.thinks) == (True, True, False)
    assert received.request.system == "Be brief."
    assert received.request.tools == (ADD,)
    assert received.request.messages[2].content == (
        ToolResultBlock("call_1", "3"),
        ToolResultBlock("call_2", "4"),
    )

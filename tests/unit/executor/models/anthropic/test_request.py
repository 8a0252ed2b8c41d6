"""What is sent is what the Messages API takes, with its breakpoints where they help."""

from __future__ import annotations

from typing import Any

import pytest

from agent_executor.executor.models.anthropic.request import CACHE_CONTROL, request_body
from agent_executor.executor.models.catalog import LLMModel
from agent_executor.executor.models.model import (
    ContentBlock,
    Message,
    ModelRequest,
    ProviderBlock,
    RedactedThinkingBlock,
    Role,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolResultBlock,
    ToolSpecification,
    ToolUseBlock,
)

CALCULATOR = ToolSpecification("calculator", "It calculates.", {"type": "object"}, "ab12")
CLOCK = ToolSpecification("clock", "It tells the time.", {"type": "object"})


def message(role: Role, *content: ContentBlock) -> Message:
    return Message(role, content)


def body(
    *messages: Message,
    system: str = "Be brief.",
    tools: tuple[ToolSpecification, ...] = (CALCULATOR, CLOCK),
    model: str = LLMModel.CLAUDE_SONNET_4_5,
    max_tokens: int = 4_096,
    thinking: Thinking = "default",
) -> dict[str, Any]:
    asked = messages or (message("user", TextBlock("Hello")),)
    return request_body(ModelRequest(model, system, asked, tools, max_tokens, thinking))


def breakpoints(value: object) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(breakpoints, value.values()))
    return sum(map(breakpoints, value)) if isinstance(value, list) else 0


def test_the_plain_shape() -> None:
    assert body() == {
        "model": "claude-sonnet-4-5-20250929",
        "max_tokens": 4_096,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": CACHE_CONTROL}],
        "tools": [
            {
                "name": "calculator",
                "description": "It calculates.",
                "input_schema": {"type": "object"},
            },
            {
                "name": "clock",
                "description": "It tells the time.",
                "input_schema": {"type": "object"},
            },
        ],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hello", "cache_control": CACHE_CONTROL}],
            }
        ],
    }


def test_without_a_system_prompt_the_tools_end_the_stable_prefix() -> None:
    sent = body(system="")
    assert "system" not in sent
    assert sent["tools"][-1]["cache_control"] == CACHE_CONTROL
    assert "cache_control" not in sent["tools"][0]


def test_without_either_there_is_nothing_to_cache_but_the_conversation() -> None:
    sent = body(system="", tools=())
    assert set(sent) == {"model", "max_tokens", "messages"}
    assert breakpoints(sent) == 1


def test_the_last_two_of_the_users_messages_end_with_a_breakpoint() -> None:
    turns = []
    for number in range(4):
        turns += [
            message("user", *(ToolResultBlock(f"toolu_{number}", "1") for _ in range(30))),
            message("assistant", ToolUseBlock(f"toolu_{number + 1}", "clock", {})),
        ]
    sent = body(*turns, message("user", ToolResultBlock("toolu_4", "x", is_error=True)))
    assert breakpoints(sent) == 3
    marked = [at for at, turn in enumerate(sent["messages"]) if breakpoints(turn)]
    assert marked == [6, 8]
    last = sent["messages"][-1]["content"][-1]
    assert (last["is_error"], last["cache_control"]) == (True, CACHE_CONTROL)
    assert "cache_control" in sent["messages"][6]["content"][-1]


def test_what_only_the_provider_reads_goes_back_as_it_came() -> None:
    server_tool = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "s", "input": {"q": 1}}
    sent = body(
        message("user", TextBlock("Hello")),
        message(
            "assistant",
            ThinkingBlock("Hm.", "signed"),
            RedactedThinkingBlock("secret"),
            ProviderBlock(server_tool),
            ToolUseBlock("toolu_1", "calculator", {"b": 2, "a": 1.5}),
        ),
        message("user", ToolResultBlock("toolu_1", "42")),
    )
    assert sent["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "signed"},
        {"type": "redacted_thinking", "data": "secret"},
        server_tool,
        {"type": "tool_use", "id": "toolu_1", "name": "calculator", "input": {"b": 2, "a": 1.5}},
    ]
    assert "cache_control" not in server_tool


def test_what_the_api_does_not_take_is_left_out() -> None:
    sent = body(
        message("user", TextBlock("Hello")),
        message("assistant", TextBlock("")),
        message("user", TextBlock(""), TextBlock("Again")),
    )
    texts = [[block["text"] for block in turn["content"]] for turn in sent["messages"]]
    assert texts == [["Hello"], ["Again"]]


def test_no_more_output_is_asked_for_than_there_can_be() -> None:
    assert body(max_tokens=1_000_000)["max_tokens"] == 64_000
    assert body(model="claude-of-my-own", max_tokens=1_000_000)["max_tokens"] == 1_000_000


@pytest.mark.parametrize(
    ("model", "thinking", "sent"),
    [
        (LLMModel.CLAUDE_SONNET_4_5, "on", {"type": "enabled", "budget_tokens": 2_048}),
        (LLMModel.CLAUDE_SONNET_4_5, "off", {"type": "disabled"}),
        (LLMModel.CLAUDE_OPUS_4_7, "on", {"type": "adaptive"}),
        (LLMModel.CLAUDE_SONNET_5_5, "off", {"type": "between_tools"}),
        (LLMModel.CLAUDE_OPUS_5_5, "off", None),
        (LLMModel.CLAUDE_OPUS_5_5, "on", {"type": "adaptive"}),
        (LLMModel.CLAUDE_OPUS_5_5, "default", None),
        (LLMModel.CLAUDE_HAIKU_3_5, "on", None),
        ("claude-of-my-own", "on", None),
    ],
)
def test_thinking_is_switched_as_the_model_takes_it(
    model: str, thinking: Thinking, sent: dict[str, Any] | None
) -> None:
    assert body(model=model, thinking=thinking).get("thinking") == sent


def test_there_is_no_thinking_without_room_for_an_answer() -> None:
    assert "thinking" not in body(thinking="on", max_tokens=1_024)
    assert body(thinking="on", max_tokens=1_025)["thinking"]["budget_tokens"] == 1_024

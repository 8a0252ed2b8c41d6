from __future__ import annotations

import json

from agent_executor.executor.driving.message_content import (
    MESSAGES_MAX_CHARS,
    input_messages,
    output_messages,
    system_instructions,
)
from agent_executor.executor.models.model import (
    Message,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ProviderBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from agent_executor.serving.redaction import CONTENT_MAX_CHARS, REDACTED

ASKED = Message("user", (TextBlock("Add, with Bearer abcdefgh12345678 only"),))
CALLED = Message(
    "assistant", (TextBlock("I add."), ToolUseBlock("u1", "calculator", {"a": 1, "api_key": "x"}))
)
ANSWERED = Message("user", (ToolResultBlock("u1", '{"sum": 42, "token": "x"}'),))


def request(*messages: Message, system: str = "") -> ModelRequest:
    return ModelRequest("claude", system, messages, (), 100)


def test_messages_have_the_form_of_the_conventions_and_no_credentials() -> None:
    assert json.loads(input_messages(request(ASKED, CALLED, ANSWERED))) == [
        {"role": "user", "parts": [{"type": "text", "content": f"Add, with {REDACTED} only"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "I add."},
                {
                    "type": "tool_call",
                    "id": "u1",
                    "name": "calculator",
                    "arguments": f'{{"a":1,"api_key":"{REDACTED}"}}',
                },
            ],
        },
        {
            "role": "tool",
            "parts": [
                {
                    "type": "tool_call_response",
                    "id": "u1",
                    "response": f'{{"sum":42,"token":"{REDACTED}"}}',
                }
            ],
        },
    ]


def test_an_answer_says_why_it_ended_and_leaves_out_what_only_its_provider_reads() -> None:
    content = (ThinkingBlock("Hm.", "signed"), ProviderBlock({"type": "x"}), TextBlock("42"))
    response = ModelResponse("m1", "claude", content, "end_turn", ModelUsage(1, 1))
    assert json.loads(output_messages(response)) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm."},
                {"type": "text", "content": "42"},
            ],
            "finish_reason": "end_turn",
        }
    ]


def test_long_texts_are_cut_and_the_oldest_messages_left_out() -> None:
    long = "x" * (CONTENT_MAX_CHARS + 1)
    messages = [Message("user", (TextBlock(f"{number}{long}"),)) for number in range(20)]
    shown = input_messages(request(*messages))
    assert len(shown) <= MESSAGES_MAX_CHARS + 2
    told = json.loads(shown)
    assert 0 < len(told) < len(messages)
    assert told[-1]["parts"][0]["content"].startswith("19x")
    assert told[-1]["parts"][0]["content"].endswith("more characters]")
    assert len(system_instructions(request(system=long))) < CONTENT_MAX_CHARS + 100


def test_half_a_character_of_a_model_is_shown_as_json_has_it() -> None:
    content = (TextBlock("a\ud800"), ToolUseBlock("u1", "calculator", {"a": "\ud800"}))
    shown = output_messages(ModelResponse("m1", "claude", content, "tool_use", ModelUsage(1, 1)))
    assert json.loads(shown)[0]["parts"][0] == {"type": "text", "content": "a\ud800"}
    shown.encode()

"""The blocks of the model port are the Messages API's own JSON."""

from __future__ import annotations

import json

import msgspec
import pytest

from agent_executor.executor.models.model import (
    Message,
    ModelResponse,
    ModelUsage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)

MESSAGE = Message(
    "user",
    (
        TextBlock("hello"),
        ToolUseBlock("toolu_1", "calculator", {"a": 1, "big": 10**30}),
        ToolResultBlock("toolu_1", '{"result": 42}'),
        ToolResultBlock("toolu_2", '{"success": false}', is_error=True),
    ),
)


def test_a_message_is_written_as_the_messages_api_writes_it() -> None:
    assert json.loads(msgspec.json.encode(MESSAGE)) == {
        "role": "user",
        "content": [
            {"type": "text", "text": "hello"},
            {
                "type": "tool_use",
                "id": "toolu_1",
                "name": "calculator",
                "input": {"a": 1, "big": 10**30},
            },
            {
                "type": "tool_result",
                "tool_use_id": "toolu_1",
                "content": '{"result": 42}',
                "is_error": False,
            },
            {
                "type": "tool_result",
                "tool_use_id": "toolu_2",
                "content": '{"success": false}',
                "is_error": True,
            },
        ],
    }


def test_a_message_is_read_back_as_it_was() -> None:
    assert msgspec.json.decode(msgspec.json.encode(MESSAGE), type=Message) == MESSAGE


def test_a_result_without_is_error_is_a_success() -> None:
    block = b'{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}'
    assert msgspec.json.decode(block, type=ToolResultBlock).is_error is False


@pytest.mark.parametrize(
    "text",
    [
        b'{"role": "system", "content": []}',
        b'{"role": "user", "content": [{"type": "image"}]}',
        b'{"role": "user", "content": [{"text": "no type"}]}',
    ],
)
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Message)


def test_a_response_holds_no_tool_results() -> None:
    encoded = msgspec.json.encode(
        ModelResponse("msg_1", "m", (TextBlock("x"),), "end_turn", ModelUsage(1, 1))
    )
    with_result = encoded.replace(b'"type":"text","text"', b'"type":"tool_result","content"')
    assert msgspec.json.decode(encoded, type=ModelResponse).stop_reason == "end_turn"
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(with_result, type=ModelResponse)


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        MESSAGE.role = "assistant"  # type: ignore[misc]  # what the test is about

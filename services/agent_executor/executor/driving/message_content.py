"""What a model is told and what it answers, as spans show it where an operator has switched that on.

Credentials are hidden as in the log, and what is long is cut: a span is no archive. The run's own
events are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agent_executor.executor.models.model import (
    ContentBlock,
    Message,
    ModelRequest,
    ModelResponse,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from agent_executor.serving.redaction import (
    CONTENT_MAX_CHARS,
    cut,
    json_text,
    redacted_json,
    redacted_names,
    redacted_text,
)

MESSAGES_MAX_CHARS: Final = 4 * CONTENT_MAX_CHARS
"""How long the text of an attribute with messages may be; the oldest are left out first."""


def system_instructions(request: ModelRequest) -> str:
    """Returns the system prompt in the form of the conventions."""
    return json_text([_text(request.system)])


def input_messages(request: ModelRequest) -> str:
    """Returns the newest messages of a request that fit, in the form of the conventions."""
    shown: list[str] = []
    size = 0
    for message in reversed(request.messages):
        text = json_text({"role": _role(message), "parts": _parts(message.content)})
        size += len(text) + 1
        if size > MESSAGES_MAX_CHARS:
            break
        shown.append(text)
    return f"[{','.join(reversed(shown))}]"


def output_messages(response: ModelResponse) -> str:
    """Returns an answer in the form of the conventions; empty if it is too long to be shown."""
    message = {
        "role": "assistant",
        "parts": _parts(response.content),
        "finish_reason": response.stop_reason,
    }
    text = json_text([message])
    return text if len(text) <= MESSAGES_MAX_CHARS else "[]"


def _role(message: Message) -> str:
    is_answer = any(isinstance(block, ToolResultBlock) for block in message.content)
    return "tool" if is_answer else message.role


def _parts(content: Sequence[ContentBlock]) -> list[dict[str, Any]]:
    return [part for block in content if (part := _part(block))]


def _part(block: ContentBlock) -> dict[str, Any]:
    match block:
        case TextBlock():
            return _text(block.text)
        case ThinkingBlock():
            return {"type": "reasoning", "content": cut(redacted_text(block.thinking))}
        case ToolUseBlock():
            arguments = json_text(redacted_names(block.input))
            return {
                "type": "tool_call",
                "id": block.id,
                "name": block.name,
                "arguments": cut(redacted_text(arguments)),
            }
        case ToolResultBlock():
            return {
                "type": "tool_call_response",
                "id": block.tool_use_id,
                "response": cut(redacted_json(block.content)),
            }
    # What only its provider can read is of no use here.
    return {}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": cut(redacted_text(text))}

"""Makes the body of a Chat Completions request."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agent_executor.executor.models.catalog import find_model
from agent_executor.executor.models.model import (
    Message,
    ModelRequest,
    TextBlock,
    ToolResultBlock,
    ToolSpecification,
    ToolUseBlock,
)

# Who calls the limit of the answer ``max_completion_tokens``; its reasoning models refuse the old
# name. Everybody else understands ``max_tokens``, and some ignore the new name without a word
# (ollama/ollama#7125), so that nothing would limit what the answer costs.
OPENAI_HOST: Final = "api.openai.com"
# From how many tokens of thinking on which effort is asked for.
_EFFORTS: Final = ((16_384, "high"), (4_096, "medium"), (0, "low"))


def request_body(request: ModelRequest, host: str) -> dict[str, Any]:
    """Returns the request in the API's terms.

    What only Claude reads, such as its thinking, is left out. A thinking budget becomes the nearest
    ``reasoning_effort``, since the API takes no tokens.

    Args:
        request: The request.
        host: Of the endpoint.
    """
    known = find_model(request.model)
    max_tokens = request.max_tokens
    if known is not None:
        # Claude behind a gateway, which refuses more than the model has.
        max_tokens = min(max_tokens, known.max_output_tokens)
    limit = "max_completion_tokens" if host == OPENAI_HOST else "max_tokens"
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _messages(request),
        limit: max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.thinking == "on":
        budget = request.thinking_budget_tokens
        body["reasoning_effort"] = next(word for least, word in _EFFORTS if budget >= least)
    return body


def _messages(request: ModelRequest) -> list[dict[str, Any]]:
    sent = [{"role": "system", "content": request.system}] if request.system else []
    for message in request.messages:
        sent.extend(_assistant(message) if message.role == "assistant" else _user(message))
    return sent


def _user(message: Message) -> list[dict[str, Any]]:
    """Returns a user's message as the results that the API wants first, and what is said."""
    results = [
        {"role": "tool", "tool_call_id": block.tool_use_id, "content": block.content}
        for block in message.content
        if isinstance(block, ToolResultBlock)
    ]
    text = _text(message)
    return [*results, {"role": "user", "content": text}] if text else results


def _assistant(message: Message) -> list[dict[str, Any]]:
    text = _text(message)
    calls = [
        {
            "id": block.id,
            "type": "function",
            "function": {
                "name": block.name,
                "arguments": msgspec.json.encode(block.input).decode(),
            },
        }
        for block in message.content
        if isinstance(block, ToolUseBlock)
    ]
    if calls:
        return [{"role": "assistant", "content": text or None, "tool_calls": calls}]
    return [{"role": "assistant", "content": text}] if text else []


def _text(message: Message) -> str:
    return "\n\n".join(
        block.text for block in message.content if isinstance(block, TextBlock) and block.text
    )


def _tool(tool: ToolSpecification) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema,
        },
    }

"""Makes the body of a Messages API request."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agent_executor.executor.models.catalog import find_model
from agent_executor.executor.models.model import (
    ContentBlock,
    Message,
    ModelRequest,
    ProviderBlock,
    TextBlock,
    ThinkingBlock,
    ToolSpecification,
)

CACHE_CONTROL: Final = {"type": "ephemeral"}
# The provider's least; it must also leave room for an answer.
THINKING_TOKENS_MIN: Final = 1_024
# How many of the last user's messages end with a breakpoint. The provider looks for the longest
# cached prefix at the breakpoints and a few blocks before them. The one of the turn before makes
# sure that it is found, however many tool results this turn has.
CACHED_MESSAGES: Final = 2


def request_body(request: ModelRequest) -> dict[str, Any]:
    """Returns the request in the Messages API's terms.

    Cache breakpoints stand at the end of what stays the same for an agent, its tools and its
    system prompt, and at the end of the conversation. A prefix that is too short to be cached is
    no error. More output than the model has is not asked for.
    """
    known = find_model(request.model)
    max_tokens = request.max_tokens
    if known is not None:
        max_tokens = min(max_tokens, known.max_output_tokens)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": max_tokens,
        "messages": _messages(request.messages),
    }
    tools = [_tool(tool) for tool in request.tools]
    # Tools come before the system prompt in the prefix, so that one breakpoint covers both.
    if request.system:
        body["system"] = [{"type": "text", "text": request.system, "cache_control": CACHE_CONTROL}]
    elif tools:
        tools[-1]["cache_control"] = CACHE_CONTROL
    if tools:
        body["tools"] = tools
    thinking = _thinking(request, max_tokens)
    if thinking is not None:
        body["thinking"] = thinking
    return body


def _messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    sent = []
    for message in messages:
        content = [_block(block) for block in message.content if not _is_empty(block)]
        # The API takes no message without content; two of one role in a row it joins.
        if content:
            sent.append((message.role, content))
    of_user = [content for role, content in sent if role == "user"]
    for content in of_user[-CACHED_MESSAGES:]:
        content[-1]["cache_control"] = CACHE_CONTROL
    return [{"role": role, "content": content} for role, content in sent]


def _is_empty(block: ContentBlock) -> bool:
    """Tells whether the API takes no such block: nor does it take another provider's thinking."""
    match block:
        case TextBlock():
            return not block.text
        case ThinkingBlock():
            return not block.signature
    return False


def _block(block: ContentBlock) -> dict[str, Any]:
    if isinstance(block, ProviderBlock):
        return dict(block.block)
    built: dict[str, Any] = msgspec.to_builtins(block)
    return built


def _tool(tool: ToolSpecification) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
    }


def _thinking(request: ModelRequest, max_tokens: int) -> dict[str, Any] | None:
    """Returns what is said about thinking, or None to leave it to the model."""
    known = find_model(request.model)
    if known is None or request.thinking == "default":
        return None
    if request.thinking == "off":
        return {"type": known.thinking.off} if known.thinking.off else None
    if known.thinking.on != "enabled":
        return {"type": known.thinking.on} if known.thinking.on else None
    if max_tokens <= THINKING_TOKENS_MIN:
        return None
    budget = request.thinking_budget_tokens
    if not 0 < budget < max_tokens:
        # None was given, or the money covers less output than the agent may have.
        budget = max_tokens // 2
    return {"type": "enabled", "budget_tokens": max(THINKING_TOKENS_MIN, budget)}

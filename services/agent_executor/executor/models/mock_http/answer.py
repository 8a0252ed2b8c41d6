"""Writes an answer as the Messages API does: as one message, or as the events of a stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agent_executor.executor.models.mock_http.faults import Fault
from agent_executor.executor.models.mock_http.request import signature_of
from agent_executor.executor.models.model import (
    ModelRequest,
    ModelResponse,
    ModelUsage,
    ProviderBlock,
    RedactedThinkingBlock,
    ResponseBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)

# How much of a text or of arguments one event carries.
PIECE_CHARACTERS: Final = 12
_THINKING: Final = "The person asks me something; I look at what I have, and answer."
_SECRET_BYTES: Final = 32
BAD_JSON: Final = '{"operation": "add", "a": '


def altered(response: ModelResponse, fault: Fault | None) -> ModelResponse:
    """Returns the answer of a model to which a fault happened."""
    half = max(1, response.usage.output_tokens // 2)
    match fault:
        case Fault.REFUSAL:
            usage = msgspec.structs.replace(response.usage, output_tokens=1)
            return msgspec.structs.replace(response, content=(), stop_reason="refusal", usage=usage)
        case Fault.MAX_TOKENS:
            usage = msgspec.structs.replace(response.usage, output_tokens=half)
            return msgspec.structs.replace(
                response, content=_half(response.content), stop_reason="max_tokens", usage=usage
            )
        case Fault.PAUSE_TURN:
            call = {
                "type": "server_tool_use",
                "id": f"srvtoolu_{response.id[-22:]}",
                "name": "web_search",
                "input": {"query": "the weather"},
            }
            return msgspec.structs.replace(
                response,
                content=(TextBlock("I look that up."), ProviderBlock(call)),
                stop_reason="pause_turn",
                usage=msgspec.structs.replace(response.usage, web_search_requests=1),
            )
    return response


def with_thinking(request: ModelRequest, response: ModelResponse) -> ModelResponse:
    """Returns the answer with thinking before it, the second block of which is encrypted."""
    secret = hashlib.blake2b(response.id.encode(), digest_size=_SECRET_BYTES).hexdigest()
    thought = f"{_THINKING} ({len(request.messages)})"
    blocks = (ThinkingBlock(thought, signature_of(thought)), RedactedThinkingBlock(secret))
    return msgspec.structs.replace(response, content=blocks + response.content)


def message(response: ModelResponse) -> dict[str, Any]:
    """Returns the answer as one message."""
    return {
        "id": response.id,
        "type": "message",
        "role": "assistant",
        "model": response.model,
        "content": [_block(block) for block in response.content],
        "stop_reason": response.stop_reason,
        "stop_sequence": None,
        "stop_details": _stop_details(response),
        "usage": _usage(response.usage),
    }


def events(response: ModelResponse, fault: Fault | None = None) -> Iterator[dict[str, Any]]:
    """Yields the answer as the events of a stream."""
    start = {**message(response), "content": [], "stop_reason": None, "stop_details": None}
    start["usage"] = {**start["usage"], "output_tokens": 1, "server_tool_use": None}
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(response.content):
        empty, deltas = _pieces(block, fault)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    usage = _usage(response.usage)
    # The stream's last event has sums alone, and no lifetimes.
    del usage["cache_creation"], usage["service_tier"]
    yield {
        "type": "message_delta",
        "delta": {
            "stop_reason": response.stop_reason,
            "stop_sequence": None,
            "stop_details": _stop_details(response),
        },
        "usage": usage,
    }
    yield {"type": "message_stop"}


def server_sent_event(event: dict[str, Any]) -> bytes:
    """Returns an event as it is sent."""
    name: str = event["type"]
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(event))


def cut(text: str) -> list[str]:
    """Returns a text in the pieces in which it is streamed."""
    return [
        text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS)
    ]


def _pieces(
    block: ResponseBlock, fault: Fault | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns a block as it begins, and what is then added to it."""
    built = _block(block)
    match block:
        case TextBlock():
            deltas = [{"type": "text_delta", "text": piece} for piece in cut(block.text)]
            return {"type": "text", "text": ""}, deltas
        case ThinkingBlock():
            deltas = [
                {"type": "thinking_delta", "thinking": piece} for piece in cut(block.thinking)
            ]
            deltas.append({"type": "signature_delta", "signature": block.signature})
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
        case RedactedThinkingBlock():
            return built, []
    text = msgspec.json.encode(built["input"]).decode()
    if fault is Fault.BAD_JSON and isinstance(block, ToolUseBlock):
        text = BAD_JSON
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *cut(text))]
    return {**built, "input": {}}, deltas


def _half(content: tuple[ResponseBlock, ...]) -> tuple[ResponseBlock, ...]:
    if len(content) > 1:
        return content[: len(content) // 2]
    return tuple(
        TextBlock(block.text[: len(block.text) // 2])
        for block in content
        if isinstance(block, TextBlock)
    )


def _block(block: ResponseBlock) -> dict[str, Any]:
    if isinstance(block, ProviderBlock):
        return block.block
    built: dict[str, Any] = msgspec.to_builtins(block)
    return built


def _stop_details(response: ModelResponse) -> dict[str, Any] | None:
    if response.stop_reason != "refusal":
        return None
    return {
        "type": "refusal",
        "category": "general_harms",
        "explanation": "The request may be harmful.",
    }


def _usage(usage: ModelUsage) -> dict[str, Any]:
    five_minutes, one_hour = (
        usage.cache_creation_input_tokens_5m,
        usage.cache_creation_input_tokens_1h,
    )
    server_tool_use = None
    if usage.web_search_requests or usage.web_fetch_requests:
        server_tool_use = {
            "web_search_requests": usage.web_search_requests,
            "web_fetch_requests": usage.web_fetch_requests,
        }
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": five_minutes + one_hour,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": five_minutes,
            "ephemeral_1h_input_tokens": one_hour,
        },
        "output_tokens": usage.output_tokens,
        "server_tool_use": server_tool_use,
        "service_tier": "standard",
    }

"""Reads a Messages API request as the port's own, and refuses what the API refuses."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from agent_executor.executor.models.mock_http.api_error import ApiError, invalid_request
from agent_executor.executor.models.mock_http.wire_format import ReceivedRequest
from agent_executor.executor.models.model import (
    ContentBlock,
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

REQUEST_BYTES_MAX: Final = 32 * 1024 * 1024
BREAKPOINTS_MAX: Final = 4
_SIGNATURE_BYTES: Final = 24


def signature_of(thinking: str) -> str:
    """Returns the signature of a thinking block, by which an altered one is found out."""
    digest = hashlib.blake2b(thinking.encode(), digest_size=_SIGNATURE_BYTES, person=b"mock")
    return digest.hexdigest()


def read_request(body: bytes, *, needs_max_tokens: bool = True) -> ReceivedRequest:
    """Returns the request of a body.

    Raises:
        ApiError: The API would refuse it.
    """
    if len(body) > REQUEST_BYTES_MAX:
        raise ApiError(413, "request_too_large", "Request exceeds the maximum size")
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise invalid_request("The request body is not valid JSON") from None
    if needs_max_tokens and "max_tokens" not in fields:
        raise invalid_request("max_tokens: Field required")
    for name in ("model", "messages"):
        if name not in fields:
            raise invalid_request(f"{name}: Field required")
    try:
        request = ModelRequest(
            model=str(fields["model"]),
            system=_text(fields.get("system") or ""),
            messages=tuple(_message(message) for message in fields["messages"]),
            tools=tuple(_tool(tool) for tool in fields.get("tools") or ()),
            max_tokens=int(fields.get("max_tokens", 1)),
        )
        thinking = (fields.get("thinking") or {}).get("type")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise invalid_request("The request does not have the shape of a message") from None
    if body.count(b'"cache_control"') > BREAKPOINTS_MAX and _breakpoints(fields) > BREAKPOINTS_MAX:
        raise invalid_request(
            f"A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided"
        )
    return ReceivedRequest(
        request, bool(fields.get("stream")), thinks=thinking in ("enabled", "adaptive")
    )


def _breakpoints(value: object) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(_breakpoints, value.values()))
    return sum(map(_breakpoints, value)) if isinstance(value, list) else 0


def _text(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(block["text"] for block in content)


def _message(message: dict[str, Any]) -> Message:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if message["role"] not in ("user", "assistant"):
        raise invalid_request("messages: role must be user or assistant")
    if not blocks:
        raise invalid_request("messages: all messages must have non-empty content")
    return Message(message["role"], tuple(_block(block) for block in blocks))


def _block(block: dict[str, Any]) -> ContentBlock:
    match block["type"]:
        case "text":
            if not block["text"]:
                raise invalid_request("messages: text content blocks must be non-empty")
            return TextBlock(block["text"])
        case "tool_use":
            return ToolUseBlock(block["id"], block["name"], dict(block["input"]))
        case "tool_result":
            content = _text(block.get("content") or "")
            return ToolResultBlock(block["tool_use_id"], content, bool(block.get("is_error")))
        case "thinking":
            if block["signature"] != signature_of(block["thinking"]):
                raise invalid_request("messages: Invalid `signature` in `thinking` block")
            return ThinkingBlock(block["thinking"], block["signature"])
        case "redacted_thinking":
            return RedactedThinkingBlock(block["data"])
    return ProviderBlock({name: value for name, value in block.items() if name != "cache_control"})


def _tool(tool: dict[str, Any]) -> ToolSpecification:
    return ToolSpecification(tool["name"], tool.get("description", ""), tool["input_schema"])

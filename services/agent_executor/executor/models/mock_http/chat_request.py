"""Reads a Chat Completions request as the port's own, and refuses what the API refuses."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

import msgspec

from agent_executor.executor.models.mock_http.api_error import ApiError, invalid_request
from agent_executor.executor.models.mock_http.request import REQUEST_BYTES_MAX
from agent_executor.executor.models.mock_http.wire_format import ReceivedRequest
from agent_executor.executor.models.model import (
    ContentBlock,
    Message,
    ModelRequest,
    TextBlock,
    ToolResultBlock,
    ToolSpecification,
    ToolUseBlock,
)

DEFAULT_MAX_TOKENS: Final = 4_096
_SYSTEM: Final = ("system", "developer")


def read_chat_request(body: bytes) -> ReceivedRequest:
    """Returns the request of a body.

    Raises:
        ApiError: The API would refuse it.
    """
    if len(body) > REQUEST_BYTES_MAX:
        raise ApiError(413, "request_too_large", "Request exceeds the maximum size")
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise invalid_request("We could not parse the JSON body of your request.") from None
    for name in ("model", "messages"):
        if name not in fields:
            raise invalid_request(f"Missing required parameter: '{name}'.")
    limits = [fields[name] for name in ("max_completion_tokens", "max_tokens") if name in fields]
    if len(limits) > 1:
        raise invalid_request("Setting 'max_tokens' and 'max_completion_tokens' is not supported.")
    try:
        messages = fields["messages"]
        request = ModelRequest(
            model=str(fields["model"]),
            system="\n\n".join(_text(one) for one in messages if one["role"] in _SYSTEM),
            messages=_messages([one for one in messages if one["role"] not in _SYSTEM]),
            tools=tuple(_tool(tool["function"]) for tool in fields.get("tools") or ()),
            max_tokens=int(limits[0]) if limits else DEFAULT_MAX_TOKENS,
        )
        shows_usage = bool((fields.get("stream_options") or {}).get("include_usage"))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise invalid_request("The request does not have the shape of a chat") from None
    return ReceivedRequest(
        request,
        bool(fields.get("stream")),
        thinks=fields.get("reasoning_effort", "none") != "none",
        shows_usage=shows_usage,
    )


def _messages(messages: list[dict[str, Any]]) -> tuple[Message, ...]:
    """Returns the conversation; the results of parallel tool calls are one message."""
    read: list[Message] = []
    for role, group in groupby(messages, key=lambda message: str(message["role"])):
        match role:
            case "tool":
                read.append(Message("user", tuple(_result(message) for message in group)))
            case "user":
                read.extend(Message("user", (TextBlock(_text(message)),)) for message in group)
            case "assistant":
                read.extend(Message("assistant", _said(message)) for message in group)
            case _:
                raise invalid_request(f"Invalid value: '{role}'.")
    return tuple(read)


def _result(message: dict[str, Any]) -> ToolResultBlock:
    # The API has no place to say that a result is an error; its text does.
    return ToolResultBlock(message["tool_call_id"], _text(message))


def _said(message: dict[str, Any]) -> tuple[ContentBlock, ...]:
    text = _text(message)
    calls = tuple(
        ToolUseBlock(
            call["id"],
            call["function"]["name"],
            msgspec.json.decode(call["function"]["arguments"], type=dict[str, Any]),
        )
        for call in message.get("tool_calls") or ()
    )
    return (TextBlock(text), *calls) if text else calls


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n\n".join(part["text"] for part in content)


def _tool(function: dict[str, Any]) -> ToolSpecification:
    return ToolSpecification(
        function["name"], function.get("description", ""), function["parameters"]
    )

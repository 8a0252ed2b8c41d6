"""The Chat Completions API's format, as OpenAI, vLLM and Ollama speak it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from agent_executor.executor.models.mock_http.answer import BAD_JSON, cut
from agent_executor.executor.models.mock_http.api_error import ApiError
from agent_executor.executor.models.mock_http.chat_request import read_chat_request
from agent_executor.executor.models.mock_http.faults import Fault
from agent_executor.executor.models.mock_http.wire_format import ReceivedRequest, StreamedEvent
from agent_executor.executor.models.model import (
    ModelResponse,
    ModelUsage,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)

_DONE: Final = b"data: [DONE]\n\n"
_FINISH_REASONS: Final = {"tool_use": "tool_calls", "max_tokens": "length"}
_REFUSAL: Final = "I cannot help with that."
# What the Messages API's words are here: status, type and code.
_ERRORS: Final[dict[str, tuple[int, str, str | None]]] = {
    "rate_limit_error": (429, "requests", "rate_limit_exceeded"),
    "overloaded_error": (503, "server_error", None),
    "api_error": (500, "server_error", None),
    "billing_error": (429, "insufficient_quota", "insufficient_quota"),
    "authentication_error": (401, "invalid_request_error", "invalid_api_key"),
    "permission_error": (403, "invalid_request_error", "model_not_available"),
    "request_too_large": (413, "invalid_request_error", None),
}
_TOO_LONG: Final = re.compile(r"prompt is too long: (\d+) tokens > (\d+) maximum")


class ChatFormat:
    """See ``WireFormat``."""

    request_id_header = "x-request-id"

    def key_of(self, headers: Mapping[str, str]) -> str:
        """See ``WireFormat``."""
        key = headers.get("authorization", "").removeprefix("Bearer ")
        if not key:
            raise ApiError(401, "authentication_error", "You didn't provide an API key.")
        return key

    def read(self, body: bytes) -> ReceivedRequest:
        """See ``WireFormat``."""
        return read_chat_request(body)

    def whole(self, response: ModelResponse) -> dict[str, Any]:
        """See ``WireFormat``."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": _joined(response, TextBlock) or None,
            "refusal": _REFUSAL if response.stop_reason == "refusal" else None,
        }
        calls = [_call(call) for call in _calls(response)]
        if calls:
            message["tool_calls"] = calls
        thinking = _joined(response, ThinkingBlock)
        if thinking:
            message["reasoning_content"] = thinking
        choice = {"index": 0, "message": message, "finish_reason": _finish_reason(response)}
        return {
            **_head(response, "chat.completion"),
            "choices": [{**choice, "logprobs": None}],
            "usage": _usage(response.usage),
        }

    def stream(
        self, received: ReceivedRequest, response: ModelResponse, fault: Fault | None
    ) -> list[StreamedEvent]:
        """See ``WireFormat``."""
        head = _head(response, "chat.completion.chunk")
        if received.shows_usage:
            head["usage"] = None
        choices = [(delta, None) for delta in _deltas(response, fault)]
        chunks = [
            {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            for delta, reason in (*choices, ({}, _finish_reason(response)))
        ]
        if received.shows_usage:
            chunks.append({**head, "choices": [], "usage": _usage(response.usage)})
        events = [StreamedEvent(_event(chunk), is_piece=True) for chunk in chunks]
        return [*events, StreamedEvent(_DONE, is_piece=False)]

    def failure_in_stream(self) -> bytes:
        """See ``WireFormat``."""
        status_code, error_type, _ = _ERRORS["overloaded_error"]
        return _event({"error": {"message": "Busy", "type": error_type, "code": status_code}})

    def error(self, error: ApiError, request_id: str) -> tuple[int, dict[str, Any]]:
        """See ``WireFormat``."""
        del request_id
        status_code, error_type, code = _ERRORS.get(
            error.error_type, (error.status_code, error.error_type, None)
        )
        message = error.message
        too_long = _TOO_LONG.search(message)
        if too_long is not None:
            code = "context_length_exceeded"
            message = (
                f"This model's maximum context length is {too_long[2]} tokens. However, your "
                f"messages resulted in {too_long[1]} tokens."
            )
        return status_code, {
            "error": {"message": message, "type": error_type, "param": None, "code": code}
        }


def _deltas(response: ModelResponse, fault: Fault | None) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": "", "refusal": None}
    for piece in cut(_joined(response, ThinkingBlock)):
        yield {"reasoning_content": piece}
    for piece in cut(_joined(response, TextBlock)):
        yield {"content": piece}
    if response.stop_reason == "refusal":
        for piece in cut(_REFUSAL):
            yield {"refusal": piece}
    for index, call in enumerate(_calls(response)):
        whole = _call(call)
        arguments = whole["function"]["arguments"] if fault is not Fault.BAD_JSON else BAD_JSON
        function = {**whole["function"], "arguments": ""}
        yield {"tool_calls": [{**whole, "index": index, "function": function}]}
        for piece in cut(arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(chunk)


def _head(response: ModelResponse, kind: str) -> dict[str, Any]:
    return {"id": response.id, "object": kind, "created": 0, "model": response.model}


def _finish_reason(response: ModelResponse) -> str:
    return _FINISH_REASONS.get(response.stop_reason, "stop")


def _calls(response: ModelResponse) -> list[ToolUseBlock]:
    return [block for block in response.content if isinstance(block, ToolUseBlock)]


def _call(call: ToolUseBlock) -> dict[str, Any]:
    arguments = msgspec.json.encode(call.input).decode()
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _joined(response: ModelResponse, kind: type[TextBlock | ThinkingBlock]) -> str:
    return "".join(
        block.text if isinstance(block, TextBlock) else block.thinking
        for block in response.content
        if isinstance(block, TextBlock | ThinkingBlock) and isinstance(block, kind)
    )


def _usage(usage: ModelUsage) -> dict[str, Any]:
    written = usage.cache_creation_input_tokens_5m + usage.cache_creation_input_tokens_1h
    prompt_tokens = usage.input_tokens + usage.cache_read_input_tokens + written
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_input_tokens,
            "cache_write_tokens": written,
        },
    }

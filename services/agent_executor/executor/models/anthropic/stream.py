"""Puts an answer together from the events of its stream. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.models.anthropic.errors import ERRORS, stream_error
from agent_executor.executor.models.anthropic.usage import merge_usage, read_usage
from agent_executor.executor.models.model import (
    DeltaListener,
    ModelDelta,
    ModelResponse,
    ModelUsage,
    ProviderBlock,
    RedactedThinkingBlock,
    ResponseBlock,
    StopReason,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from agent_executor.executor.models.provider_answers import (
    ANSWER_BYTES_MAX,
    BLOCKS_MAX,
    TOO_LONG,
    TOO_MANY_BLOCKS,
    checked_content,
)
from agent_executor.executor.models.provider_errors import (
    BYTES_PER_ESTIMATED_TOKEN,
    MALFORMED,
    TRUNCATED,
)
from agent_executor.executor.models.provider_text import whole_text

_KINDS: Final = {"text_delta": "text", "thinking_delta": "thinking"}


@dataclass(slots=True)
class _OpenBlock:
    """A block that is still coming; the pieces are joined once, at its end."""

    block: dict[str, Any]
    pieces: dict[str, list[str]] = field(default_factory=dict)
    is_complete: bool = False

    def add(self, name: str, piece: str) -> None:
        self.pieces.setdefault(name, []).append(piece)

    def joined(self, name: str) -> str:
        return whole_text((str(self.block.get(name) or ""), *self.pieces.get(name, ())))


class AnswerAssembly:
    """The answer of one call, as far as its stream has come.

    Args:
        request_id: The provider's id of the request.
        on_delta: Is told of each piece of text and thinking.
    """

    def __init__(self, request_id: str = "", on_delta: DeltaListener | None = None) -> None:
        self._request_id = request_id
        self._on_delta = on_delta
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _OpenBlock] = {}
        self._bytes = 0
        self._stop_reason = ""
        self._stop_detail = ""

    def feed(self, data: str) -> None:
        """Takes the JSON text of one event. Kinds of events that are not known are skipped.

        Raises:
            ModelError: The provider reports a failure, or the event cannot be read.
        """
        try:
            event = msgspec.json.decode(data)
            match event["type"]:
                case "message_start":
                    self._message = event["message"]
                    self._usage = merge_usage({}, self._message["usage"])
                case "content_block_start":
                    self._start_block(event["index"], event["content_block"])
                case "content_block_delta":
                    self._extend_block(event["index"], event["delta"])
                case "content_block_stop":
                    self._blocks[event["index"]].is_complete = True
                case "message_delta":
                    self._end_message(event["delta"], event.get("usage") or {})
                case "error":
                    raise stream_error(event["error"], self._request_id, self.delivered_usage())
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, RecursionError):
            raise self.broken(MALFORMED) from None
        if self._bytes > ANSWER_BYTES_MAX:
            raise self.broken(TOO_LONG)

    def take(self, message: dict[str, Any]) -> None:
        """Takes a whole message in place of events.

        Raises:
            KeyError, TypeError, AttributeError: It is none.
        """
        self._message, self._usage = message, merge_usage({}, message["usage"])
        self._blocks = {
            index: _OpenBlock(block, is_complete=bool(block["type"]))
            for index, block in enumerate(message["content"])
        }
        self._end_message(message, {})

    @property
    def is_complete(self) -> bool:
        """Whether the answer has come to its end."""
        blocks = self._blocks.values()
        return bool(self._stop_reason) and all(block.is_complete for block in blocks)

    def response(self) -> ModelResponse:
        """Returns the answer, once the stream has ended.

        Raises:
            ModelError: The stream ended too early, or a tool call's arguments are no JSON.
        """
        if not self.is_complete:
            raise self.broken()
        content: list[ResponseBlock] = []
        for _, block in sorted(self._blocks.items()):
            try:
                content.extend(checked_content((_response_block(block),)))
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError, RecursionError):
                # At the limit the last tool call may be cut, and then it is no call.
                if self._stop_reason != "max_tokens":
                    raise self.broken(MALFORMED) from None
        return ModelResponse(
            id=str(self._message.get("id", "")),
            model=str(self._message.get("model", "")),
            content=tuple(content),
            stop_reason=cast("StopReason", self._stop_reason),
            usage=read_usage(self._usage),
            request_id=self._request_id,
            stop_detail=self._stop_detail,
        )

    def delivered_usage(self) -> ModelUsage | None:
        """Returns what the answer is taken to have cost so far; None if it has not begun."""
        if not self._message:
            return None
        usage = read_usage(self._usage)
        generated = -(-self._bytes // BYTES_PER_ESTIMATED_TOKEN)
        if self._stop_reason or generated <= usage.output_tokens:
            return usage
        return msgspec.structs.replace(usage, output_tokens=generated)

    def broken(self, message: str = TRUNCATED) -> AgentExecutorError:
        """Returns the error of an answer that cannot be used, with what it has cost."""
        return ERRORS.broken_answer(message, self._request_id, self.delivered_usage())

    def _start_block(self, index: int, block: dict[str, Any]) -> None:
        if not isinstance(index, int):
            raise TypeError("An index is no integer.")
        if len(self._blocks) >= BLOCKS_MAX:
            raise self.broken(TOO_MANY_BLOCKS)
        self._blocks[index] = _OpenBlock(block)
        kind = block["type"]
        if kind in ("text", "thinking"):
            self._tell(kind, index, block.get(kind) or "")

    def _extend_block(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks[index]
        match delta["type"]:
            case "text_delta" | "thinking_delta" as kind:
                name = _KINDS[kind]
                block.add(name, delta[name])
                self._tell(name, index, delta[name])
            case "input_json_delta":
                block.add("partial_json", delta["partial_json"])
                self._bytes += len(delta["partial_json"])
            case "signature_delta":
                block.add("signature", delta["signature"])

    def _end_message(self, delta: dict[str, Any], usage: dict[str, Any]) -> None:
        self._usage = merge_usage(self._usage, usage)
        self._stop_reason = str(delta.get("stop_reason") or self._stop_reason)
        details = delta.get("stop_details") or {}
        parts = (details.get("category"), details.get("explanation"))
        self._stop_detail = ": ".join(part for part in parts if part) or self._stop_detail

    def _tell(self, kind: str, index: int, text: str) -> None:
        self._bytes += len(text.encode(errors="replace"))
        if self._on_delta is not None and text:
            self._on_delta(ModelDelta("text" if kind == "text" else "thinking", index, text))


def whole_answer(message: dict[str, Any]) -> ModelResponse:
    """Returns an answer that came whole, as the API's own message.

    Raises:
        ModelError: It is no such message; what it is taken to have cost is in the metadata.
    """
    assembly = AnswerAssembly()
    try:
        assembly.take(message)
    except (KeyError, TypeError, AttributeError):
        raise assembly.broken(MALFORMED) from None
    return assembly.response()


def _response_block(open_block: _OpenBlock) -> ResponseBlock:
    """Returns a block that has ended.

    Raises:
        msgspec.DecodeError: The arguments of a tool call are no JSON object.
    """
    block = open_block.block
    match block["type"]:
        case "text":
            return TextBlock(open_block.joined("text"))
        case "thinking":
            return ThinkingBlock(open_block.joined("thinking"), open_block.joined("signature"))
        case "redacted_thinking":
            return RedactedThinkingBlock(block["data"])
        case "tool_use":
            return ToolUseBlock(block["id"], block["name"], _input(open_block))
    if "input" in block:
        block = {**block, "input": _input(open_block)}
    return ProviderBlock(block)


def _input(open_block: _OpenBlock) -> dict[str, Any]:
    """Returns the arguments of a tool call, which come as JSON text unless there are none."""
    text = "".join(open_block.pieces.get("partial_json", ()))
    source = text.encode() if text else msgspec.json.encode(open_block.block.get("input") or {})
    return msgspec.json.decode(source, type=dict[str, Any])

"""Puts an answer together from the chunks of its stream. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.models.model import (
    DeltaListener,
    ModelDelta,
    ModelResponse,
    ModelUsage,
    ResponseBlock,
    StopReason,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from agent_executor.executor.models.openai.errors import ERRORS
from agent_executor.executor.models.openai.usage import read_usage
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

_STOP_REASONS: Final[dict[str, StopReason]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
# Where the model's reasoning is: vLLM and Ollama say ``reasoning``, others ``reasoning_content``.
_REASONING: Final = ("reasoning_content", "reasoning")
_FILTERED: Final = "The provider's content filter stopped the answer."


@dataclass(slots=True)
class _OpenCall:
    """A tool call that is still coming."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class AnswerAssembly:
    """The answer of one call, as far as its stream has come.

    Args:
        estimated_input_tokens: Of the request; what the answer cost if its stream does not say.
        request_id: The provider's id of the request.
        on_delta: Is told of each piece of text and reasoning.
    """

    def __init__(
        self,
        estimated_input_tokens: int,
        request_id: str = "",
        on_delta: DeltaListener | None = None,
    ) -> None:
        self._estimated_input_tokens = estimated_input_tokens
        self._request_id = request_id
        self._on_delta = on_delta
        self._id = ""
        self._model = ""
        self._usage: dict[str, Any] = {}
        # The texts by kind, in the order in which they began, and then the tool calls.
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, _OpenCall] = {}
        self._refusal: list[str] = []
        self._bytes = 0
        self._finish_reason = ""
        self._has_begun = False

    def feed(self, chunk: Any) -> None:
        """Takes one chunk. What is not known of it is skipped.

        Raises:
            ModelError: The chunk cannot be read.
        """
        try:
            choices = chunk["choices"]
            self._has_begun = True
            self._id = self._id or str(chunk.get("id") or "")
            self._model = self._model or str(chunk.get("model") or "")
            self._usage = dict(chunk.get("usage") or self._usage)
            for choice in choices[:1]:
                self._extend(choice.get("delta") or {})
                self._finish_reason = str(choice.get("finish_reason") or self._finish_reason)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self.broken(MALFORMED) from None
        if self._bytes > ANSWER_BYTES_MAX:
            raise self.broken(TOO_LONG)

    @property
    def is_complete(self) -> bool:
        """Whether the answer has come to its end; only what it cost may be missing."""
        return bool(self._finish_reason)

    def response(self) -> ModelResponse:
        """Returns the answer, once the stream has ended.

        Raises:
            ModelError: The stream ended too early, for a reason that is not known, or a tool
                call's arguments are no JSON.
        """
        if not self.is_complete:
            raise self.broken()
        stop_reason = _STOP_REASONS.get(self._finish_reason)
        if stop_reason is None:
            raise self.broken(MALFORMED)
        try:
            calls = checked_content(self._tool_calls())
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
            # A call that the limit cut has no end, and is none.
            if stop_reason != "max_tokens":
                raise self.broken(MALFORMED) from None
            calls = ()
        if calls and stop_reason == "end_turn":
            # Some endpoints say "stop" whatever the model asked for.
            stop_reason = "tool_use"
        elif not calls and stop_reason == "tool_use":
            raise self.broken(MALFORMED)
        stop_detail = whole_text(self._refusal)
        if stop_detail:
            stop_reason = "refusal"
        elif stop_reason == "refusal":
            stop_detail = _FILTERED
        return ModelResponse(
            id=self._id,
            model=self._model,
            content=(*self._spoken(), *calls),
            stop_reason=stop_reason,
            usage=self._used(),
            request_id=self._request_id,
            stop_detail=stop_detail,
            is_usage_estimated=not self._usage,
        )

    def delivered_usage(self) -> ModelUsage | None:
        """Returns what an answer has cost that broke off, or None if it had not begun.

        The API tells the usage at the very end, so it is estimated from what can be seen.
        """
        return self._used() if self._has_begun else None

    def broken(self, message: str = TRUNCATED) -> AgentExecutorError:
        """Returns the error of an answer that cannot be used, with what it has cost."""
        return ERRORS.broken_answer(message, self._request_id, self.delivered_usage())

    def _used(self) -> ModelUsage:
        if self._usage:
            return read_usage(self._usage)
        generated = -(-self._bytes // BYTES_PER_ESTIMATED_TOKEN)
        return ModelUsage(self._estimated_input_tokens, generated)

    def _extend(self, delta: dict[str, Any]) -> None:
        reasoning = next((delta[key] for key in _REASONING if delta.get(key)), None)
        if reasoning:
            self._add_text("thinking", reasoning)
        if delta.get("content"):
            self._add_text("text", delta["content"])
        if delta.get("refusal"):
            self._refusal.append(delta["refusal"])
            self._bytes += len(delta["refusal"].encode(errors="replace"))
        for position, call in enumerate(delta.get("tool_calls") or ()):
            self._add_call(call, position)

    def _add_text(self, kind: str, text: str) -> None:
        self._bytes += len(text.encode(errors="replace"))
        pieces = self._texts.setdefault(kind, [])
        pieces.append(text)
        if self._on_delta is not None:
            block = list(self._texts).index(kind)
            told = whole_text((text,))
            self._on_delta(ModelDelta("text" if kind == "text" else "thinking", block, told))

    def _add_call(self, call: dict[str, Any], position: int) -> None:
        index = call.get("index")
        opened = self._calls.setdefault(position if index is None else index, _OpenCall())
        if len(self._calls) > BLOCKS_MAX:
            raise self.broken(TOO_MANY_BLOCKS)
        function = call.get("function") or {}
        opened.id = opened.id or str(call.get("id") or "")
        opened.name = opened.name or str(function.get("name") or "")
        arguments = function.get("arguments") or ""
        self._bytes += len(arguments.encode(errors="replace"))
        opened.arguments.append(arguments)

    def _spoken(self) -> list[ResponseBlock]:
        return [
            TextBlock(whole_text(pieces))
            if kind == "text"
            else ThinkingBlock(whole_text(pieces), "")
            for kind, pieces in self._texts.items()
        ]

    def _tool_calls(self) -> list[ToolUseBlock]:
        """Returns the tool calls.

        Raises:
            msgspec.DecodeError: The arguments of one are no JSON object.
        """
        return [
            ToolUseBlock(
                # Some endpoints give none, and the results of parallel calls need one.
                call.id or f"call_{self._id}_{index}",
                call.name,
                msgspec.json.decode(whole_text(call.arguments) or "{}", type=dict[str, Any]),
            )
            for index, call in sorted(self._calls.items())
        ]

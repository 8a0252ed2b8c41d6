"""Mock Claude: a model that is offline, free, deterministic and bounded in time.

It behaves as the Messages API does (content blocks, tool_use with ids, stop reasons, usage with
cache fields, its refusals) and understands arithmetic, HTTP requests, e-mails, Slack messages,
"test the X tool", "use the X tool with …" and small talk, so that a person can play with it. The
same request always gets the same answer.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from agent_executor.errors import ContextLengthExceededError
from agent_executor.executor.models.catalog import find_model
from agent_executor.executor.models.mock_chat import chat
from agent_executor.executor.models.mock_conversation import (
    Conversation,
    last_number,
    read_conversation,
)
from agent_executor.executor.models.mock_goals import PlannedCall, call_key
from agent_executor.executor.models.mock_language import attend, understand
from agent_executor.executor.models.mock_script import (
    Script,
    ScriptedFailure,
    ScriptedReply,
    ScriptEntry,
)
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelDelta,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    StopReason,
    TextBlock,
    ToolUseBlock,
)

# It does not think, and it has no tools of its own.
_Block: TypeAlias = TextBlock | ToolUseBlock

_BYTES_PER_TOKEN = 4
_TOOL_USE_TOKENS = 8
_CACHEABLE_TOKENS_MIN = 1_024
_UNCACHED_TOKENS = 3
# How much of a text is told at once to who listens to its being written.
_DELTA_CHARACTERS = 12


class MockClaude:
    """A ``ModelProvider`` that needs no network.

    Args:
        script: What to answer instead of understanding the text; see ``mock_script``.
        latency_seconds: How long every call takes.
    """

    def __init__(self, script: Sequence[ScriptEntry] = (), *, latency_seconds: float = 0.0) -> None:
        self._script = Script(script) if script else None
        self._latency_seconds = latency_seconds

    @property
    def name(self) -> str:
        """The provider's name."""
        return "mock"

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        """Answers the conversation with the model's next message.

        It needs no key. A text comes in pieces, all at once.

        Raises:
            ModelError: The request breaks the Messages API's rules, or the script says so.
            ContextLengthExceededError: The request is larger than the model's context window.
        """
        del access
        # It thinks of nothing, whatever it is told.
        encoded = _encode(
            msgspec.structs.replace(request, thinking="default", thinking_budget_tokens=0)
        )
        digest = hashlib.blake2b(encoded, digest_size=11).hexdigest()
        conversation = read_conversation(request)
        entry = None
        if self._script is not None:
            entry = self._script.next_entry(request, conversation.turns, digest)
        latency_seconds = self._latency_seconds + (entry.latency_seconds if entry else 0.0)
        if latency_seconds > 0:
            await asyncio.sleep(latency_seconds)
        if isinstance(entry, ScriptedFailure):
            raise entry.to_error()
        input_tokens = _tokens(len(encoded))
        _check_context_window(request.model, input_tokens)
        if entry is not None:
            content = _scripted_content(entry, digest)
        else:
            content = _answer(request, conversation, digest)
        content, output_tokens, stop_reason = _limit(content, request.max_tokens)
        usage = _usage(request, input_tokens, output_tokens)
        if entry is not None:
            usage = entry.usage or usage
            stop_reason = entry.stop_reason or stop_reason
        if on_delta is not None:
            for delta in _deltas(content):
                on_delta(delta)
        return ModelResponse(f"msg_01{digest}", request.model, content, stop_reason, usage)


def _deltas(content: Sequence[_Block]) -> Iterator[ModelDelta]:
    for index, block in enumerate(content):
        if isinstance(block, TextBlock):
            for start in range(0, len(block.text), _DELTA_CHARACTERS):
                piece = block.text[start : start + _DELTA_CHARACTERS]
                yield ModelDelta("text", index, piece)


def _answer(request: ModelRequest, conversation: Conversation, digest: str) -> tuple[_Block, ...]:
    text = attend(conversation.task)
    previous = None
    if conversation.task_index:
        previous = last_number(request.messages[: conversation.task_index])
    calls: list[PlannedCall] = []
    sentences: list[str] = []
    for goal in understand(text, request.tools, previous):
        step = goal.advance(conversation.outcomes)
        if isinstance(step, str):
            sentences.append(step)
        else:
            calls += step
    if calls:
        return _tool_uses(calls, digest)
    if sentences:
        return (TextBlock("\n".join(sentences)),)
    return (TextBlock(chat(text, request.system, request.tools)),)


def _tool_uses(calls: Sequence[PlannedCall], digest: str) -> tuple[ToolUseBlock, ...]:
    # Two questions may need one and the same call; it is made once.
    distinct = {call_key(*call): call for call in calls}
    return tuple(
        ToolUseBlock(_tool_use_id(digest, index), call.tool_name, call.arguments)
        for index, call in enumerate(distinct.values())
    )


def _scripted_content(reply: ScriptedReply, digest: str) -> tuple[_Block, ...]:
    text = (TextBlock(reply.text),) if reply.text else ()
    return text + tuple(
        ToolUseBlock(_tool_use_id(digest, index), call.name, call.arguments)
        for index, call in enumerate(reply.tool_calls)
    )


def _tool_use_id(digest: str, index: int) -> str:
    return f"toolu_01{digest[:-2]}{index:02x}"


def _limit(
    content: tuple[_Block, ...], max_tokens: int
) -> tuple[tuple[_Block, ...], int, StopReason]:
    """Cuts the content at the limit, a text in its midst and a tool call as a whole."""
    kept: list[_Block] = []
    output_tokens = 0
    stop_reason: StopReason = "end_turn"
    for block in content:
        if isinstance(block, TextBlock):
            tokens = _tokens(len(block.text.encode()))
        else:
            stop_reason = "tool_use"
            tokens = _TOOL_USE_TOKENS + _tokens(len(_encode(block.input)))
        left = max_tokens - output_tokens
        if tokens > left:
            if isinstance(block, TextBlock) and left:
                cut = block.text.encode()[: left * _BYTES_PER_TOKEN]
                kept.append(TextBlock(cut.decode(errors="ignore")))
            return tuple(kept), max_tokens, "max_tokens"
        output_tokens += tokens
        kept.append(block)
    return tuple(kept), max(output_tokens, 1), stop_reason


def _usage(request: ModelRequest, input_tokens: int, output_tokens: int) -> ModelUsage:
    """Counts as if the caller cached the conversation so far, as its provider would for it.

    What the previous turn of the conversation sent is read from the cache, the rest is written
    to it, provided that it is long enough to be cached at all.
    """
    if input_tokens < _CACHEABLE_TOKENS_MIN:
        return ModelUsage(input_tokens, output_tokens)
    earlier = msgspec.structs.replace(request, messages=request.messages[:-2])
    read = _tokens(len(_encode(earlier))) if earlier.messages else 0
    if read < _CACHEABLE_TOKENS_MIN:
        read = 0
    return ModelUsage(
        input_tokens=_UNCACHED_TOKENS,
        output_tokens=output_tokens,
        cache_read_input_tokens=read,
        cache_creation_input_tokens_5m=input_tokens - _UNCACHED_TOKENS - read,
    )


def _tokens(byte_count: int) -> int:
    """Tokens of a text of this length in UTF-8, rounded up, at least 1."""
    return max(1, -(-byte_count // _BYTES_PER_TOKEN))


def _encode(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # Half a surrogate pair, which JSON cannot hold.
        return repr(value).encode()


def _check_context_window(model: str, input_tokens: int) -> None:
    known = find_model(model)
    if known is not None and input_tokens > known.context_window_tokens:
        raise ContextLengthExceededError(
            f"The prompt is {input_tokens} tokens long; "
            f"{model} takes at most {known.context_window_tokens}.",
            metadata={
                "input_tokens": str(input_tokens),
                "context_window_tokens": str(known.context_window_tokens),
            },
        )

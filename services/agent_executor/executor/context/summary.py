"""The model call that sums up what is left out of a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from agent_executor.executor.model_calls.prompts import PreparedCall
from agent_executor.executor.model_calls.purpose import (
    CallPurpose,
    estimated_tokens,
    prefix_digest_of,
)
from agent_executor.executor.models.model import (
    Message,
    ModelRequest,
    ResponseBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)

SUMMARY_TOKENS_MAX: Final = 1_024
# A shorter one says nothing.
SUMMARY_TOKENS_MIN: Final = 32
# A summary takes one part in so many of what the request may hold, at most.
SUMMARY_PARTS: Final = 8
# Of one text, call or result in what is summed up.
PART_CHARACTERS_MAX: Final = 8_000

SYSTEM: Final = (
    "You are given the beginning of a conversation between a user and an assistant that uses tools. "
    "It is about to be left out, and your summary takes its place. Write down, briefly and without "
    "comment, what the assistant must know to go on: what the user wants, what was decided, what "
    "was done by tools and what came of it, and every name, number and identifier that may be "
    "needed again. Do not answer the user."
)

_ENCODER: Final = msgspec.json.Encoder()


def summary_tokens(input_tokens_max: int | None, output_tokens_max: int) -> int:
    """Returns how long a summary may be; 0 if there is no room for one."""
    tokens = min(SUMMARY_TOKENS_MAX, output_tokens_max)
    if input_tokens_max is not None:
        tokens = min(tokens, input_tokens_max // SUMMARY_PARTS)
    return tokens if tokens >= SUMMARY_TOKENS_MIN else 0


def summary_call(
    model: str,
    left_out: Sequence[Message],
    summary: str,
    *,
    max_bytes: int | None,
    max_tokens: int,
    is_background: bool,
) -> PreparedCall:
    """Returns the call that sums up messages.

    Args:
        model: Who does it.
        left_out: The messages.
        summary: What was left out before them, summed up; empty if nothing was.
        max_bytes: Of the request; if it would be longer, the oldest messages are not in it. None:
            any length.
        max_tokens: Of the summary.
        is_background: Nobody waits for the run.
    """
    parts = [f"Summary of what was said before: {summary}"] if summary else []
    parts.extend(part for message in left_out for part in _parts(message))
    base = ModelRequest(model, SYSTEM, (), (), max_tokens)
    base_bytes = len(_ENCODER.encode(base))
    text = "\n\n".join(_newest(parts, None if max_bytes is None else max_bytes - base_bytes))
    message = Message("user", (TextBlock(text or "Nothing was said."),))
    request = msgspec.structs.replace(base, messages=(message,))
    size_bytes = len(_ENCODER.encode(request))
    purpose = CallPurpose(
        prefix_digest=prefix_digest_of(base),
        prefix_tokens=estimated_tokens(base_bytes),
        history_tokens=estimated_tokens(size_bytes - base_bytes),
        is_background=is_background,
    )
    return PreparedCall(request, size_bytes, purpose)


def summary_of(content: Iterable[ResponseBlock], max_bytes: int) -> str:
    """Returns the summary in an answer, cut at a length; empty if there is none."""
    text = "".join(block.text for block in content if isinstance(block, TextBlock)).strip()
    return text.encode()[:max_bytes].decode(errors="ignore")


def _parts(message: Message) -> list[str]:
    parts = []
    for block in message.content:
        match block:
            case TextBlock(text=text) if text:
                parts.append(f"{message.role.capitalize()}: {_short(text)}")
            case ToolUseBlock(name=name):
                arguments = _ENCODER.encode(block.input).decode()
                parts.append(f"Assistant calls {name}: {_short(arguments)}")
            case ToolResultBlock(content=content):
                parts.append(f"{'Error' if block.is_error else 'Result'}: {_short(content)}")
    return parts


def _short(text: str) -> str:
    return text if len(text) <= PART_CHARACTERS_MAX else f"{text[:PART_CHARACTERS_MAX]} …"


def _newest(parts: list[str], max_bytes: int | None) -> list[str]:
    """Returns the last parts that are not longer together, as they stand in a request."""
    if max_bytes is None:
        return parts
    kept, size_bytes = 0, 0
    for part in reversed(parts):
        size_bytes += len(_ENCODER.encode(part)) + 4
        if size_bytes > max_bytes:
            break
        kept += 1
    return parts[len(parts) - kept :]

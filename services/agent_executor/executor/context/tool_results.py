"""What the model is given of a tool's result that is too large for it, or too old.

The whole result stays in the run's log, and callers read it among the run's tool results.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent_executor.executor.models.model import ContentBlock, Message, ToolResultBlock

DEFAULT_MAX_TOOL_RESULT_BYTES: Final = 65_536

_ENCODER: Final = msgspec.json.Encoder()


class CutResult(msgspec.Struct, frozen=True):
    """Stands for a result that is kept apart.

    Attributes:
        note: Says so.
        size_bytes: The length of the result's JSON text.
        tool_call_id: Where the whole of it is kept: the tool call among the run's results.
        beginning: Of that text.
    """

    note: str
    size_bytes: int
    tool_call_id: str
    beginning: str


class EmptiedResult(msgspec.Struct, frozen=True):
    """Stands for a result that the model has been given before."""

    note: str
    size_bytes: int


def given_content(content: str, tool_call_id: str, max_bytes: int) -> str:
    """Returns the content of a result block: the result, or its first ``max_bytes`` and a reference.

    Args:
        content: The result as JSON text.
        tool_call_id: The call.
        max_bytes: The length above which it is cut; 0: never.
    """
    # A character is a byte at least and four at most, so that most lengths need no copy.
    if not max_bytes or len(content) * 4 <= max_bytes:
        return content
    encoded = content.encode()
    if len(encoded) <= max_bytes:
        return content
    cut = CutResult(
        note=f"This result is too long. Here are its first {max_bytes} bytes.",
        size_bytes=len(encoded),
        tool_call_id=tool_call_id,
        beginning=encoded[:max_bytes].decode(errors="ignore"),
    )
    return _ENCODER.encode(cut).decode()


def emptied(message: Message) -> Message:
    """Returns a message with the lengths of its results in place of them.

    What would not be shorter stays as it is, errors too: they are short, and say what was done.
    """
    content = tuple(map(_emptied_block, message.content))
    if content == message.content:
        return message
    return msgspec.structs.replace(message, content=content)


def _emptied_block(block: ContentBlock) -> ContentBlock:
    if not isinstance(block, ToolResultBlock) or block.is_error:
        return block
    size_bytes = len(block.content.encode())
    mark = EmptiedResult("This result is left out, since the conversation is long.", size_bytes)
    content = _ENCODER.encode(mark).decode()
    return block if size_bytes <= len(content) else msgspec.structs.replace(block, content=content)

"""Checks what a provider answered, which nobody has checked, before it becomes part of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agent_executor.executor.models.model import ProviderBlock, ResponseBlock, ToolUseBlock

# Deeper than any tool takes arguments. JSON that is read at one depth of the stack and written at
# another must never meet the stack's end.
DEPTH_MAX: Final = 100

# Of one answer. No model asks for as many calls at once, and each is work for the whole executor.
BLOCKS_MAX: Final = 1_000
TOO_MANY_BLOCKS: Final = f"The model's answer has more than {BLOCKS_MAX:,} blocks."
# Of its text, thinking and arguments. More than any model's longest answer; an answer is shown twice
# where a run is shown, and that must fit into one message.
ANSWER_BYTES_MAX: Final = 3 * 1024 * 1024
TOO_LONG: Final = f"The model's answer is longer than {ANSWER_BYTES_MAX:,} bytes."

_DECODER: Final = msgspec.json.Decoder(tuple[ResponseBlock, ...])


def checked_content(content: Sequence[ResponseBlock]) -> tuple[ResponseBlock, ...]:
    """Returns an answer's content, if it can be recorded, read again and shown.

    Raises:
        ValueError: It cannot: something in it has another type than the API says, is no text, or
            is nested too deep.
    """
    if any(_is_too_deep(_json_of(block)) for block in content):
        raise ValueError("nested too deep")
    try:
        return _DECODER.decode(msgspec.json.encode(content))
    except (msgspec.MsgspecError, TypeError) as error:
        raise ValueError("not as the API says") from error


def _json_of(block: ResponseBlock) -> Any:
    """Returns the part of a block whose shape is the provider's."""
    match block:
        case ToolUseBlock():
            return block.input
        case ProviderBlock():
            return block.block
    return None


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [it for it in level if isinstance(it, dict | list)]
        if not level:
            return False
        level = [item for it in level for item in (it.values() if isinstance(it, dict) else it)]
    return True

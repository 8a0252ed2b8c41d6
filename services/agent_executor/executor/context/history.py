"""What was said in a conversation before a run, as the run is given it."""

from __future__ import annotations

from typing import Final

import msgspec

from agent_executor.executor.models.model import (
    ContentBlock,
    Message,
    ProviderBlock,
    RedactedThinkingBlock,
    ThinkingBlock,
)


class History(msgspec.Struct, frozen=True):
    """The messages of a conversation's earlier runs.

    Attributes:
        first: The conversation's first message; None if the run begins the conversation.
        messages: Those from ``first_index`` on.
        first_index: Counted from the conversation's first message, which is 0.
    """

    first: Message | None = None
    messages: tuple[Message, ...] = ()
    first_index: int = 1

    @property
    def end_index(self) -> int:
        """The index of the first message that is the run's own."""
        return 0 if self.first is None else self.first_index + len(self.messages)


NO_HISTORY: Final = History()


def for_any_model(message: Message) -> Message:
    """Returns a message without what only the model that wrote it can read."""
    content: tuple[ContentBlock, ...] = tuple(
        block
        for block in message.content
        if not isinstance(block, ThinkingBlock | RedactedThinkingBlock | ProviderBlock)
    )
    if len(content) == len(message.content):
        return message
    return msgspec.structs.replace(message, content=content)

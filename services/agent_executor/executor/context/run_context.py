"""The conversation of one run as its driver holds it, measured, and trimmed as the log says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agent_executor.executor.context.history import NO_HISTORY, History
from agent_executor.executor.context.token_scale import TokenScale
from agent_executor.executor.context.tool_results import emptied
from agent_executor.executor.context.trimming import Cut, Limits, Measured, trimmed
from agent_executor.executor.log.run_event import HistoryTrimmed
from agent_executor.executor.model_calls.purpose import estimated_tokens
from agent_executor.executor.models.model import Message, TextBlock, ToolResultBlock

_ENCODER: Final = msgspec.json.Encoder()
_COMMA_BYTES: Final = 1
BRACKETS_BYTES: Final = 2


class GivenMessages(msgspec.Struct, frozen=True):
    """What the model is given of a conversation.

    Attributes:
        messages: Oldest first.
        size_bytes: The length of their JSON.
        last_bytes: That of the last one.
    """

    messages: tuple[Message, ...]
    size_bytes: int
    last_bytes: int


class RunContext:
    """The messages of a run and of the conversation before it.

    A message is measured once, so that each step of a run takes the same time, however long the run
    has been going on.

    Attributes:
        scale: How many bytes of it are a token.
        summary_bytes: The length of the message in which the summary is given; 0 if there is none.
    """

    def __init__(self, history: History = NO_HISTORY) -> None:
        self.scale = TokenScale()
        self.summary_bytes = 0
        first = () if history.first is None else (history.first,)
        # How many messages after the first one are not here, since nobody is given them any more.
        self._skipped = history.first_index - 1
        self._own_start = len(first) + len(history.messages)
        self._messages: list[Message] = []
        self._ends: list[int] = []
        self._starts: list[int] = []
        self._saved: list[int] = [0]
        self._trimmed: HistoryTrimmed | None = None
        self._cut = Cut()
        self._given: list[Message] = []
        for message in (*first, *history.messages):
            self._take(message)

    def update(self, own_messages: Sequence[Message], changed: HistoryTrimmed | None) -> None:
        """Takes in what was said and left out since the last time."""
        for index in range(len(self._messages) - self._own_start, len(own_messages)):
            self._take(own_messages[index])
        if changed is not self._trimmed:
            self._trimmed = changed
            self._cut = Cut() if changed is None else self._cut_of(changed)
            self.summary_bytes = 0
            if self.summary:
                self.summary_bytes = _size_bytes(summary_message(self.summary))
            self._given = self._trimmed_messages()

    def given(self) -> GivenMessages:
        """Returns what the model is given."""
        # Between the messages there is one comma less than there are messages.
        size_bytes = self._measured().size_bytes(self._cut) + self.summary_bytes
        return GivenMessages(
            messages=tuple(self._given),
            size_bytes=size_bytes + BRACKETS_BYTES - _COMMA_BYTES,
            last_bytes=self._ends[-1] - (self._ends[-2] if len(self._ends) > 1 else 0),
        )

    def planned(self, limits: Limits) -> HistoryTrimmed | None:
        """Returns what is to be left out so that the rest, its summary apart, is within the limits.

        Returns:
            None if nothing needs to change. What is returned may not be enough.
        """
        measured, present = self._measured(), self._cut
        cut = trimmed(measured, present, limits)
        if cut == present:
            return None
        freed_bytes = measured.size_bytes(present) - measured.size_bytes(cut)
        before_tokens = self._trimmed.estimated_tokens if self._trimmed else 0
        return HistoryTrimmed(
            message_count=cut.first - 1 + self._skipped,
            estimated_tokens=before_tokens + estimated_tokens(freed_bytes),
            summary=self.summary,
            first_index=cut.first + self._skipped,
            emptied_before_index=cut.emptied + self._skipped if cut.emptied else 0,
        )

    def without_summary(self) -> HistoryTrimmed | None:
        """Returns that the summary is left out too; None if there is none."""
        if self._trimmed is None or not self.summary:
            return None
        return msgspec.structs.replace(self._trimmed, summary="")

    def size_bytes_after(self, planned: HistoryTrimmed) -> int:
        """Returns how long the messages would be, without a summary."""
        return self._measured().size_bytes(self._cut_of(planned)) + BRACKETS_BYTES

    def left_out_by(self, planned: HistoryTrimmed) -> tuple[Message, ...]:
        """Returns the messages that are given now and would not be any more."""
        return tuple(self._messages[self._cut.first : self._cut_of(planned).first])

    def largest(self) -> tuple[Message, int]:
        """Returns the largest message that is given, and its length."""
        largest = max(self._given, key=_size_bytes)
        return largest, _size_bytes(largest)

    @property
    def first(self) -> Message:
        """The conversation's first message."""
        return self._messages[0]

    @property
    def summary(self) -> str:
        """What is given in place of what is left out; empty if nothing."""
        return self._trimmed.summary if self._trimmed else ""

    def _cut_of(self, changed: HistoryTrimmed) -> Cut:
        is_emptied = changed.emptied_before_index > 0
        return Cut(
            first=max(1, changed.first_index - self._skipped),
            emptied=changed.emptied_before_index - self._skipped if is_emptied else 0,
        )

    def _measured(self) -> Measured:
        return Measured(self._ends, self._starts, self._saved_bytes, is_whole=not self._skipped)

    def _take(self, message: Message) -> None:
        size_bytes = _size_bytes(message)
        if is_turn_start(message):
            self._starts.append(len(self._messages))
        self._messages.append(message)
        self._ends.append(size_bytes + (self._ends[-1] if self._ends else 0))
        self._given.append(message)

    def _saved_bytes(self, end: int) -> int:
        """Returns what the emptying of the newest turn before an index saves."""
        for index in range(self._own_start + len(self._saved) - 1, end):
            message = self._messages[index]
            after = emptied(message)
            saved = 0 if after is message else _size_bytes(message) - _size_bytes(after)
            self._saved.append(self._saved[-1] + saved)
        return self._saved[max(0, end - self._own_start)]

    def _trimmed_messages(self) -> list[Message]:
        cut = self._cut
        given = [self._messages[0]]
        if self.summary:
            given.append(summary_message(self.summary))
        for index in range(cut.first, len(self._messages)):
            message = self._messages[index]
            given.append(emptied(message) if index < cut.emptied else message)
        return given


def _size_bytes(message: Message) -> int:
    """Returns the length of a message and of the comma after it."""
    return len(_ENCODER.encode(message)) + _COMMA_BYTES


def is_turn_start(message: Message) -> bool:
    """Tells whether a message is a user's own, and no answer of tools."""
    return message.role == "user" and not any(
        isinstance(block, ToolResultBlock) for block in message.content
    )


def summary_message(summary: str) -> Message:
    """Returns the message in which a summary is given."""
    text = f"[What was said then is left out. In sum: {summary}]"
    return Message(role="user", content=(TextBlock(text),))

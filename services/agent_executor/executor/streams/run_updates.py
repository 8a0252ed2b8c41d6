"""What the caller of a streamed run is told of it: a pure function of its log and its open answer.

The text of an answer is told while the model writes it, where that can be seen, and completed from
the log: whatever was missed of it, all its pieces together are the text that is recorded.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.open_answer import OpenAnswer
from agent_executor.executor.log.run import RunState, apply
from agent_executor.executor.log.run_event import (
    ModelCallCompleted,
    ModelCallStarted,
    Payload,
    RunEvent,
    RunFinished,
    payload_type,
)
from agent_executor.executor.log.run_log import summarized
from agent_executor.executor.models.model import TextBlock, ThinkingBlock
from agent_executor.executor.runs.run_view import RunView

# The events that are told as they are.
TOLD_EVENTS: Final = frozenset(
    {
        "run_started",
        "tool_call_started",
        "tool_call_completed",
        "model_call_failed",
        "model_call_settled",
        "approval_requested",
        "approval_resolved",
        "run_paused",
        "run_continued",
    }
)


class TextWritten(msgspec.Struct, frozen=True):
    """The model has written something, after what was told of the same call before.

    Attributes:
        is_thinking: It is the model's thinking, and no part of its answer.
    """

    model_call_id: str
    text: str
    is_thinking: bool


class StreamBroken(msgspec.Struct, frozen=True):
    """The stream cannot go on. The run may go on.

    Attributes:
        error: One sentence for a person.
        code: A name of ``ErrorReason``.
    """

    error: str
    code: str


class Silence(msgspec.Struct, frozen=True):
    """Nothing happens, and the stream is there."""


Change: TypeAlias = TextWritten | Payload | RunView | StreamBroken | Silence


class RunUpdate(msgspec.Struct, frozen=True):
    """Something that happens in a run.

    Attributes:
        run_id: The run.
        sequence: The last event of its log that was told by now; one resumes after it. Text comes
            before the event that records it.
        change: What happens; a ``RunView`` when the run has ended.
    """

    run_id: str
    sequence: int
    change: Change


class RunTelling:
    """What one caller was told of a run so far.

    Attributes:
        state: The run after the events that were told.
    """

    def __init__(self, run: RunRecord) -> None:
        self.state = RunState()
        self._run = run
        self._told_characters: dict[int, int] = {}
        self._is_summary = False

    def of_event(self, event: RunEvent) -> list[RunUpdate]:
        """Returns what is told of the next event of the log.

        Raises:
            ValueError: It is not the next one.
        """
        before, payload = self.state, event.payload
        self.state = apply(before, event)
        match payload:
            case ModelCallStarted():
                self._told_characters = {}
                # What sums up a conversation for the model is not said to its caller.
                self._is_summary = payload.is_summary
            case ModelCallCompleted() if not self._is_summary:
                return self._rest_of(payload, before.last_sequence)
            case RunFinished():
                run = summarized(self._run, self.state, event.created_at_ms)
                return [self._update(RunView(run, self.state))]
        return [self._update(payload)] if payload_type(payload) in TOLD_EVENTS else []

    def of_answer(self, answer: OpenAnswer | None) -> list[RunUpdate]:
        """Returns what is told of the answer that the model is writing."""
        call = self.state.open_call
        if answer is None or call is None or call.model_call_id != answer.model_call_id:
            return []
        if self._is_summary:
            return []
        updates = []
        for block, kind, text in answer.since(self._told_characters):
            self._told_characters[block] = self._told_characters.get(block, 0) + len(text)
            written = TextWritten(answer.model_call_id, text, kind == "thinking")
            updates.append(self._update(written))
        return updates

    def of_silence(self) -> RunUpdate:
        """Returns what is told when there is nothing to tell."""
        return self._update(Silence())

    def of_break(self, error: str, code: str) -> RunUpdate:
        """Returns what is told when the stream cannot go on."""
        return self._update(StreamBroken(error, code))

    def _rest_of(self, answer: ModelCallCompleted, sequence: int) -> list[RunUpdate]:
        """Returns the text of a recorded answer that was not told while it was written."""
        updates = []
        for index, block in enumerate(answer.content):
            if isinstance(block, TextBlock):
                text = block.text
            elif isinstance(block, ThinkingBlock):
                text = block.thinking
            else:
                continue
            rest = text[self._told_characters.get(index, 0) :]
            if rest:
                written = TextWritten(answer.model_call_id, rest, isinstance(block, ThinkingBlock))
                updates.append(RunUpdate(self._run.run_id, sequence, written))
        return updates

    def _update(self, change: Change) -> RunUpdate:
        return RunUpdate(self._run.run_id, self.state.last_sequence, change)

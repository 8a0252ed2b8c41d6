"""What a model has written in a call that has no outcome yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from agent_executor.executor.models.model import ModelDelta


class Passage(NamedTuple):
    """Some text of an answer.

    Attributes:
        block: Which block of the answer's content it is of, from 0.
        kind: Whether it is a text or the model's thinking.
        text: The text.
    """

    block: int
    kind: Literal["text", "thinking"]
    text: str


class OpenAnswer:
    """The text of one answer so far, kept once for all of its readers.

    A reader remembers how much it has read. One that is slow finds more the next time, and needs no
    memory for it.

    Attributes:
        model_call_id: The model call.
    """

    def __init__(self, model_call_id: str, on_text: Callable[[], None]) -> None:
        self.model_call_id = model_call_id
        self._on_text = on_text
        self._kinds: dict[int, Literal["text", "thinking"]] = {}
        self._parts: dict[int, list[str]] = {}

    def add(self, delta: ModelDelta) -> None:
        """Takes what the model has written."""
        self._kinds[delta.block] = delta.kind
        self._parts.setdefault(delta.block, []).append(delta.text)
        self._on_text()

    def since(self, read_characters: Mapping[int, int]) -> Iterator[Passage]:
        """Yields what was written beyond so many characters of each block, in order."""
        for block, parts in self._parts.items():
            if len(parts) > 1:
                parts[:] = ["".join(parts)]
            text = parts[0][read_characters.get(block, 0) :]
            if text:
                yield Passage(block, self._kinds[block], text)

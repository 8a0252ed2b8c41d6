"""The last activities of an organization, which all who watch it are told from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from agent_executor.executor.log.run_event import (
    ModelCallCompleted,
    RunEvent,
    RunFinished,
    RunStarted,
    ToolCallCompleted,
    ToolCallStarted,
)
from agent_executor.executor.models.model import TextBlock, ThinkingBlock
from agent_executor.executor.monitor.activity import RunActivity

MAX_ACTIVITIES: Final = 1_000
MAX_CHARACTERS: Final = 4 * 1024 * 1024

_FIXED_CHARACTERS: Final = 200


class RecentActivities:
    """Keeps the newest activities, by count and by about how much memory they take."""

    def __init__(self) -> None:
        self._activities: dict[tuple[str, int], RunActivity] = {}
        self._characters = 0

    def add(self, activities: Iterable[RunActivity]) -> None:
        """Adds what happened last."""
        for activity in activities:
            key = (activity.run.run_id, activity.event.sequence)
            if key not in self._activities:
                self._activities[key] = activity
                self._characters += _characters_of(activity.event)
        while len(self._activities) > MAX_ACTIVITIES or self._characters > MAX_CHARACTERS:
            oldest = self._activities.pop(next(iter(self._activities)))
            self._characters -= _characters_of(oldest.event)

    def between(self, run_id: str, first: int, last: int) -> list[RunActivity] | None:
        """Returns the activities of a run from one sequence to another; None if one is not there."""
        found = []
        for sequence in range(first, last + 1):
            activity = self._activities.get((run_id, sequence))
            if activity is None:
                return None
            found.append(activity)
        return found


def _characters_of(event: RunEvent) -> int:
    """Returns about how long the texts of an event are."""
    match event.payload:
        case RunStarted(input=text) | RunFinished(response=text):
            length = len(text)
        case ToolCallStarted(arguments_json=text) | ToolCallCompleted(result_json=text):
            length = len(text)
        case ModelCallCompleted(content=content):
            length = sum(
                len(block.text) if isinstance(block, TextBlock) else len(block.thinking)
                for block in content
                if isinstance(block, TextBlock | ThinkingBlock)
            )
        case _:
            length = 0
    return _FIXED_CHARACTERS + length

"""Reads a list to its end."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from agent_executor.cli.as_json import as_json

if TYPE_CHECKING:
    from google.protobuf.message import Message

PAGE_ROWS: Final = 1_000


def rows_of(found: Iterable[Message], most: int) -> list[dict[str, Any]]:
    """Returns the rows of a list, at most so many.

    Raises:
        AgentExecutorError: It was refused, or cannot be read.
    """
    return [as_json(row) for row in islice(found, most)]

"""What a person sees on standard error while a command reads much."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console

PROGRESS_SECONDS = 5.0


class ReadingProgress:
    """Tells how far it is: with a spinner on a terminal, now and then a line elsewhere.

    Args:
        console: Where it is told.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = time.monotonic()
        self._spinner = console.status("reading") if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._spinner is not None:
            self._spinner.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gives the terminal back."""
        if self._spinner is not None:
            self._spinner.stop()

    def tell(self, text: str) -> None:
        """Tells it, if it is time."""
        if self._spinner is not None:
            self._spinner.update(text)
        elif time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._console.print(text, highlight=False)

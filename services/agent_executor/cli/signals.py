"""Signals that end a command."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final, NoReturn

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
_SIGNALLED: Final = 128


@contextlib.contextmanager
def cleaned_up_at_signals() -> Iterator[None]:
    """Has SIGTERM and SIGHUP end the block as an error would, so that what it has begun is removed."""
    before = [(number, signal.signal(number, _end)) for number in _ENDING]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(_SIGNALLED + number)

"""Why the task of a call was cancelled: its caller wants it no longer, or cannot be reached."""

from __future__ import annotations

import asyncio
from typing import Final

CONNECTION_LOST: Final = "the connection to the caller was lost"
"""The message with which a task is cancelled when its connection ends: the caller may come back."""


def is_connection_lost(cancelled: asyncio.CancelledError) -> bool:
    """Tells whether the connection ended, rather than that the caller said to stop."""
    return CONNECTION_LOST in cancelled.args

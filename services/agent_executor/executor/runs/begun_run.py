"""A run that a call has begun."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.runs.run_view import RunView


@dataclass(frozen=True, slots=True)
class BegunRun:
    """A run that was begun by a call, or that an earlier call with the same key has begun.

    Attributes:
        run_id: Its id.
        view: What is durable of it; None if nothing is yet, or if it is an earlier call's.
        log: Its log; None unless this executor drives it for this call.
        driving: Ends when it is not driven here any more; None as ``log``.
    """

    run_id: str
    view: RunView | None = None
    log: RunLog | None = None
    driving: asyncio.Task[None] | None = None

"""How much of its time a run has left: a pure function of its log and the present.

What a run waits for others does not count: for its turn, for money, or for people.
"""

from __future__ import annotations

from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_waiting import waited_ms_by


def timeout_seconds(state: RunState, default_seconds: float) -> float:
    """Returns how long a run may take in all; the default holds if neither it nor its agent says."""
    return float(state.timeout_seconds) or default_seconds


def remaining_seconds(
    state: RunState, created_at_ms: int, now_ms: int, default_seconds: float
) -> float:
    """Returns what is left of a run's time, in seconds; not above 0 if it is over.

    A pause that goes on has been counted so far: whoever ends it gives that time back.
    """
    timeout = timeout_seconds(state, default_seconds)
    if state.queued_at_ms:
        return timeout
    idle_ms = state.queued_ms + state.paused_ms + waited_ms_by(state, now_ms)
    used_ms = now_ms - created_at_ms - idle_ms
    return timeout - used_ms / 1000

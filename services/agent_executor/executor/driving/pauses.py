"""When a run that waits for money is tried again, and when it gives up.

A budget pauses a run, also one that is too small for the call: somebody may raise its limit. So that
no run waits for ever, a pause has an end: ``max_pause_seconds`` after it began or, if the next window
of the budget would cover the call, after that window has begun. A run is not paused by an amount,
its own limit or an ancestor's: what is left of one only falls, but for holds that end. Such a run
ends as ``budget_exceeded`` at once.
"""

from __future__ import annotations

from typing import Final

from agent_executor.errors import AgentExecutorError, BudgetExceededError
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import RunPaused
from agent_executor.executor.peers.ledger import PASSING_ERRORS

PAUSE: Final = "pause"


def pause_of(error: AgentExecutorError, agent: AgentVersion, turn: int) -> RunPaused | None:
    """Returns the pause that a refusal brings about, or None if the run is to end.

    Args:
        error: Why no money was held.
        agent: Whose run it is.
        turn: The model call that was to be made.
    """
    if agent.on_budget_exceeded != PAUSE or not _is_of_a_budget(error):
        return None
    return RunPaused(
        turn=turn,
        error=error.message,
        code=error.reason,
        budget_id=error.metadata["budget_id"],
        resets_at_ms=resets_at_ms(error) if error.retry_after_seconds is not None else 0,
    )


def is_waited_out(error: AgentExecutorError) -> bool:
    """Tells whether a paused run stays paused after this answer to a further try."""
    if isinstance(error, BudgetExceededError):
        return _is_of_a_budget(error)
    return isinstance(error, PASSING_ERRORS)


def gives_up_at_ms(state: RunState, max_pause_seconds: float) -> int:
    """Returns when the pause of a run is over, whether or not there is money by then."""
    resets_at_ms = state.pause.resets_at_ms if state.pause is not None else 0
    return max(state.paused_at_ms, resets_at_ms) + int(max_pause_seconds * 1000)


def retry_delay_seconds(resets_at: int, now_ms: int, period_seconds: float) -> float:
    """Returns when to try again: after the period, or at a budget's reset if that is sooner.

    Args:
        resets_at: When the budget resets, in milliseconds since 1970-01-01 UTC; 0 if never.
        now_ms: The present.
        period_seconds: How often to try.
    """
    until_reset_seconds = (resets_at - now_ms) / 1000
    if until_reset_seconds <= 0:
        return period_seconds
    return min(period_seconds, until_reset_seconds)


def resets_at_ms(error: AgentExecutorError) -> int:
    """Returns when the budget that refused resets; 0 if it does not, or it is no budget."""
    resets_at = error.metadata.get("resets_at_unix_ms", "")
    return int(resets_at) if resets_at.isdecimal() else 0


def _is_of_a_budget(error: AgentExecutorError) -> bool:
    return isinstance(error, BudgetExceededError) and bool(error.metadata.get("budget_id"))

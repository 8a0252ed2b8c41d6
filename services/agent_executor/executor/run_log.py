"""A run's log as its driver holds it: the folded state, and events that are not durable yet."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent_executor.errors import LeaseLostError
from agent_executor.executor.context.history import NO_HISTORY
from agent_executor.executor.conversations.conversation import (
    AppliedTrim,
    ConversationPart,
    RunEnd,
    kept_messages,
)
from agent_executor.executor.journal import Journal, RunRecord
from agent_executor.executor.run import FINAL_STATES, RunState, apply, response_text
from agent_executor.executor.run_event import Payload, RunEvent


class RunLog:
    """Collects events of one run and writes them in batches.

    What depends on an event waits for the ``commit`` after its ``add``; what does not need not,
    so that several events share one commit.

    Attributes:
        run: The run as the journal has it after the last commit.
        state: The fold of all events, those not yet durable included.
        history: What was said before the run in its conversation; whoever drives it needs it.
    """

    def __init__(
        self,
        journal: Journal,
        run: RunRecord,
        state: RunState,
        now_ms: Callable[[], int],
        on_commit: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._now_ms = now_ms
        self._on_commit = on_commit
        self._waiting: list[RunEvent] = []
        self._is_created = run.last_sequence > 0
        self.run = run
        self.state = state
        self.history = NO_HISTORY

    def add(self, payload: Payload) -> None:
        """Adds an event to the log. It is not durable before ``commit`` has returned."""
        event = RunEvent(self.state.last_sequence + 1, self._now_ms(), payload)
        self.state = apply(self.state, event)
        self._waiting.append(event)

    async def commit(self) -> None:
        """Makes all added events durable, in one transaction.

        Raises:
            LeaseLostError: Another executor drives the run now.
            UnavailableError: The storage failed.
            Exception: Whatever else the journal raised. The events still wait, as after any error.
        """
        if not self._waiting:
            return
        events, self._waiting = self._waiting, []
        run = summarized(self.run, self.state, events[-1].created_at_ms)
        try:
            if self._is_created:
                await self._journal.append(run, events, run_end_of(run, self.state))
            else:
                history = self.state.history
                after_run_id = history.after_run_id if history is not None else ""
                await self._journal.create(run, events, after_run_id=after_run_id)
        except Exception:
            # Nothing was written, so the next commit has to write these too.
            self._waiting[:0] = events
            raise
        self._is_created = True
        self.run = run
        self._on_commit(run.run_id)

    async def check_ownership(self) -> None:
        """Checks that the run has not been taken over since the last commit.

        Raises:
            LeaseLostError: Another executor drives the run now.
            UnavailableError: The storage failed.
        """
        stored = await self._journal.get(self.run.organization_id, self.run.run_id)
        if stored is None or stored.attempt != self.run.attempt:
            raise LeaseLostError(f"Run {self.run.run_id} is driven by another executor.")


def run_end_of(run: RunRecord, state: RunState) -> RunEnd | None:
    """Returns what becomes of a run's conversation; None if it has none, or has not ended."""
    history = state.history
    if not run.conversation_id or history is None or state.finished is None:
        return None
    part = ConversationPart(
        number=history.part_count + 1,
        run_id=run.run_id,
        model=run.model,
        first_index=history.message_count,
        messages=kept_messages(state),
    )
    applied = None
    if state.trimmed is not None and state.trimmed.first_index > 1:
        # What was emptied is whole again: it belongs to the newest turn no more.
        trimmed = msgspec.structs.replace(state.trimmed, emptied_before_index=0)
        applied = AppliedTrim(run.agent_id, run.agent_version, trimmed)
    return RunEnd(run.organization_id, run.conversation_id, part, applied, run.ended_at_ms)


def summarized(run: RunRecord, state: RunState, now_ms: int) -> RunRecord:
    """Returns the record of a run with what its state says."""
    finished = state.finished
    return msgspec.structs.replace(
        run,
        state=state.state,
        ended_at_ms=now_ms if state.state in FINAL_STATES else 0,
        response=finished.response if finished else response_text(state.messages),
        error=finished.error if finished else "",
        code=finished.code if finished else "",
        tokens_used=state.tokens_used,
        cost_nano_usd=state.cost_nano_usd,
        last_sequence=state.last_sequence,
    )

"""A run's log as its driver holds it: the folded state, and events that are not durable yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from agent_executor.errors import LeaseLostError, UnavailableError
from agent_executor.executor.context.history import NO_HISTORY
from agent_executor.executor.conversations.conversation import (
    AppliedTrim,
    ConversationPart,
    RunEnd,
    kept_messages,
)
from agent_executor.executor.journal.event_pages import folded
from agent_executor.executor.journal.journal import IdempotencyKey, Journal, RunRecord
from agent_executor.executor.log.run import FINAL_STATES, RunState, apply, response_text
from agent_executor.executor.log.run_event import CancelRequested, Payload, RunEvent, RunFinished
from agent_executor.executor.models.model import DeltaListener
from agent_executor.executor.webhooks.delivery import Webhook
from agent_executor.serving.cancellation import StopSignal

STORAGE_RETRY_SECONDS: Final = 0.25
"""After how long a write is tried again, if the storage failed."""


class RunReaders(Protocol):
    """Those who read runs as they go on."""

    def committed(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        """Tells the readers of a run, as it is now, of events that are durable now."""
        ...

    def on_delta(self, run_id: str, model_call_id: str) -> DeltaListener | None:
        """Returns whom the model's text is told as it is written; None if nobody reads it."""
        ...


class RunLog:
    """Collects events of one run and writes them in batches.

    What depends on an event waits for the ``commit`` after its ``add``; what does not need not,
    so that several events share one commit. A storage that fails is waited for, once the run is
    there, for as long as the log's patience lasts; who starts a run hears of it at once.

    Attributes:
        run: The run as the journal has it after the last commit.
        state: The fold of all events, those not yet durable included.
        history: What was said before the run in its conversation; whoever drives it needs it.
        webhook: What the end of a new run is told to; it is stored with it.
        stop: Given when the run is to end; heard by whatever is under way in it.
        cancel: Who asked for that, and why; None unless somebody has.
    """

    def __init__(
        self,
        journal: Journal,
        run: RunRecord,
        state: RunState,
        now_ms: Callable[[], int],
        readers: RunReaders,
        storage_patience_seconds: float = 0.0,
    ) -> None:
        self._journal = journal
        self._storage_patience_seconds = storage_patience_seconds
        self._now_ms = now_ms
        self._readers = readers
        self._waiting: list[RunEvent] = []
        self._is_created = run.last_sequence > 0
        # Whether the last write may have been stored, although the storage said that it failed.
        self._is_in_doubt = False
        self.run = run
        self.state = state
        self.history = NO_HISTORY
        self.webhook: Webhook | None = None
        self.stop = StopSignal()
        self.cancel: CancelRequested | None = None

    def request_cancel(self, cancel: CancelRequested) -> None:
        """Tells the run's driver, in this process, that the run is to end; the first one counts."""
        if self.cancel is None:
            self.cancel = cancel
            self.stop.set()

    def note_cancel(self) -> None:
        """Adds that the run is to end, before the first thing that is stopped for it."""
        if self.cancel is not None and self.state.cancel is None:
            self.add(self.cancel)

    @property
    def is_parked(self) -> bool:
        """Whether the run was given up, to be gone on with by whoever claims it."""
        return not self.run.owner

    def now_ms(self) -> int:
        """Returns the time as the log tells it, in milliseconds since 1970-01-01 UTC."""
        return self._now_ms()

    def add(self, payload: Payload) -> None:
        """Adds an event to the log. It is not durable before ``commit`` has returned."""
        event = RunEvent(self.state.last_sequence + 1, self._now_ms(), payload)
        self.state = apply(self.state, event)
        self._waiting.append(event)

    async def commit(self, key: IdempotencyKey | None = None) -> str:
        """Makes all added events durable, in one transaction.

        Args:
            key: Of a new run, if it has one.

        Returns:
            The run's id; or of the run that was created before under the key. Then nothing is stored.

        Raises:
            IdempotencyConflictError: The key was used for another request.
            LeaseLostError: Another executor drives the run now.
            UnavailableError: The storage failed.
            Exception: Whatever else the journal raised. The events still wait, as after any error.
        """
        if not self._waiting:
            return self.run.run_id
        return await self._write(self.run, self._waiting[-1].created_at_ms, key)

    async def park(self, wake_at_ms: int) -> None:
        """Makes all added events durable and gives the run up, so that nobody drives it.

        Args:
            wake_at_ms: When any executor takes it over by itself.

        Raises:
            AgentExecutorError: As ``commit``.
        """
        parked = msgspec.structs.replace(self.run, owner="", wake_at_ms=wake_at_ms)
        await self._write(parked, self.now_ms())

    async def forget_unwritten(self) -> None:
        """Forgets the events that are not durable.

        Raises:
            UnavailableError: The storage failed.
        """
        self.state, _ = await folded(self._journal, self.run.run_id)
        self._waiting = []

    async def _write(self, run: RunRecord, now_ms: int, key: IdempotencyKey | None = None) -> str:
        """Writes all added events, if there are any, and the run as they leave it."""
        gives_up_at = time.monotonic() + self._storage_patience_seconds
        while True:
            try:
                return await self._try_to_write(run, now_ms, key)
            except LeaseLostError:
                # It is an UnavailableError to callers, and no storage that comes back helps.
                raise
            except UnavailableError:
                if not self._is_created or time.monotonic() >= gives_up_at:
                    raise
            await asyncio.sleep(STORAGE_RETRY_SECONDS)

    async def _try_to_write(self, run: RunRecord, now_ms: int, key: IdempotencyKey | None) -> str:
        events, self._waiting = self._waiting, []
        run = summarized(run, self.state, now_ms)
        try:
            new = await self._unwritten(events) if self._is_in_doubt else events
            if self._is_created:
                is_end = bool(new) and isinstance(new[-1].payload, RunFinished)
                end = run_end_of(run, self.state) if is_end else None
                await self._journal.append(run, new, end)
            else:
                history = self.state.history
                after_run_id = history.after_run_id if history is not None else ""
                run_id = await self._journal.create(run, new, key, after_run_id, self.webhook)
                if run_id != run.run_id:
                    return run_id
        except Exception:
            # The next commit has to write these too, unless the answer was all that was lost.
            self._waiting[:0] = events
            self._is_in_doubt = True
            raise
        self._is_created, self._is_in_doubt = True, False
        self.run = run
        if events:
            self._readers.committed(run, events)
        return run.run_id

    async def _unwritten(self, events: list[RunEvent]) -> list[RunEvent]:
        """Returns those of some events that a write before has not stored.

        A connection that breaks during the very commit does not tell whether it was one. What the
        journal has of this attempt, nobody else has written.
        """
        stored = await self._journal.get(self.run.organization_id, self.run.run_id)
        if stored is None:
            return events
        self._is_created = True
        if stored.attempt != self.run.attempt:
            return events
        return [event for event in events if event.sequence > stored.last_sequence]

    def on_delta(self, model_call_id: str) -> DeltaListener | None:
        """Returns whom a model call's text is told as it is written; None if nobody reads it."""
        return self._readers.on_delta(self.run.run_id, model_call_id)

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
    """Returns what becomes of the conversation of a run that has ended; None if it has none."""
    history = state.history
    if not run.conversation_id or history is None:
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

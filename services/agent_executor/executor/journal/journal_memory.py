"""Runs in memory, for the library and for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from agent_executor.errors import LeaseLostError
from agent_executor.executor.conversations.conversation import RunEnd
from agent_executor.executor.conversations.store_memory import MemoryConversationStore
from agent_executor.executor.journal.journal import (
    EVERY_RUN,
    NO_RUNS,
    IdempotencyKey,
    RunFilter,
    RunRecord,
    known_run,
)
from agent_executor.executor.journal.journal_rows import in_turns
from agent_executor.executor.log.run import FINAL_STATES
from agent_executor.executor.log.run_event import RunEvent
from agent_executor.executor.webhooks.delivery import Webhook
from agent_executor.executor.webhooks.store_memory import MemoryWebhookStore


class MemoryJournal:
    """A ``Journal`` that lives as long as its process.

    Attributes:
        conversations, webhooks: Which it writes.
    """

    def __init__(self, conversations: MemoryConversationStore | None = None) -> None:
        self.conversations = conversations or MemoryConversationStore()
        self.webhooks = MemoryWebhookStore()
        self._runs: dict[str, RunRecord] = {}
        self._events: dict[str, list[RunEvent]] = {}
        self._leases: dict[str, int] = {}
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}

    async def create(
        self,
        run: RunRecord,
        events: Sequence[RunEvent],
        key: IdempotencyKey | None = None,
        after_run_id: str = "",
        webhook: Webhook | None = None,
    ) -> str:
        """See ``Journal``."""
        name = (run.organization_id, key.key if key else "")
        if key is not None and name in self._keys:
            return known_run(key, *self._keys[name])
        if run.conversation_id:
            self.conversations.begin_run(run, self._runs.get(after_run_id), after_run_id)
        if key is not None:
            self._keys[name] = (key.request_digest, run.run_id)
        self._runs[run.run_id] = run
        self._events[run.run_id] = list(events)
        if webhook is not None:
            self.webhooks.begin_run(run, webhook)
        return run.run_id

    async def append(
        self, run: RunRecord, events: Sequence[RunEvent], end: RunEnd | None = None
    ) -> None:
        """See ``Journal``."""
        stored = self._runs[run.run_id]
        if stored.attempt != run.attempt or stored.last_sequence + len(events) != run.last_sequence:
            raise LeaseLostError(f"Run {run.run_id} is driven by another executor.")
        # Whoever asks for the end of a run is not its owner.
        self._runs[run.run_id] = msgspec.structs.replace(
            run,
            cancel_requested_at_ms=stored.cancel_requested_at_ms,
            cancel_user_id=stored.cancel_user_id,
            cancel_reason=stored.cancel_reason,
            wake_at_ms=0 if stored.cancel_requested_at_ms else run.wake_at_ms,
        )
        self._events[run.run_id].extend(events)
        if end is not None:
            self.conversations.end_run(end)
        if run.has_webhook and run.ended_at_ms:
            self.webhooks.end_run(run)

    async def get(self, organization_id: str, run_id: str) -> RunRecord | None:
        """See ``Journal``."""
        run = self._runs.get(run_id)
        return run if run is not None and run.organization_id == organization_id else None

    async def list_runs(
        self,
        organization_id: str,
        limit: int,
        *,
        before_run_id: str = "",
        run_filter: RunFilter = EVERY_RUN,
    ) -> list[RunRecord]:
        """See ``Journal``."""
        found = [
            run
            for run in self._runs.values()
            if run.organization_id == organization_id
            and (not before_run_id or run.run_id < before_run_id)
            and _matches(run_filter, run)
        ]
        return sorted(found, key=lambda run: run.run_id, reverse=True)[:limit]

    async def events(self, run_id: str, after_sequence: int = 0, limit: int = 0) -> list[RunEvent]:
        """See ``Journal``."""
        end = after_sequence + limit if limit else None
        return self._events.get(run_id, [])[after_sequence:end]

    async def last_sequences(self, run_ids: Sequence[str]) -> dict[str, int]:
        """See ``Journal``."""
        known = (self._runs.get(run_id) for run_id in run_ids)
        return {run.run_id: run.last_sequence for run in known if run is not None}

    async def renew_lease(self, owner: str, expires_at_ms: int) -> None:
        """See ``Journal``."""
        self._leases[owner] = expires_at_ms

    async def release_leases(self, worker: str) -> None:
        """See ``Journal``."""
        for owner in [owner for owner in self._leases if owner.startswith(f"{worker}/")]:
            del self._leases[owner]

    async def claim(
        self,
        owner: str,
        now_ms: int,
        limit: int,
        *,
        waiting_only: bool = False,
        driven: Mapping[str, int] = NO_RUNS,
    ) -> list[RunRecord]:
        """See ``Journal``."""
        found = in_turns(
            (
                run
                for run in self._runs.values()
                if self._can_be_claimed(run, owner, now_ms)
                and run.wake_at_ms <= now_ms
                and (_is_waiting(run) or not waiting_only)
            ),
            driven,
        )
        return [self._claim(owner, run.run_id) for run in found[:limit]]

    async def claim_run(self, owner: str, run_id: str, now_ms: int) -> RunRecord | None:
        """See ``Journal``."""
        run = self._runs.get(run_id)
        if run is None or not self._can_be_claimed(run, owner, now_ms):
            return None
        return self._claim(owner, run_id)

    async def request_cancel(self, run: RunRecord) -> None:
        """See ``Journal``."""
        stored = self._runs.get(run.run_id)
        if stored is not None and not stored.cancel_requested_at_ms:
            self._runs[run.run_id] = msgspec.structs.replace(
                stored,
                cancel_requested_at_ms=run.cancel_requested_at_ms,
                cancel_user_id=run.cancel_user_id,
                cancel_reason=run.cancel_reason,
                wake_at_ms=0,
            )

    async def cancel_requested(self, owner: str) -> list[RunRecord]:
        """See ``Journal``."""
        return [
            run
            for run in self._runs.values()
            if run.owner == owner and run.cancel_requested_at_ms and run.state not in FINAL_STATES
        ]

    async def owned(self, owner: str) -> list[str]:
        """See ``Journal``."""
        runs = self._runs.values()
        return [run.run_id for run in runs if run.owner == owner and run.state not in FINAL_STATES]

    async def give_up(self, owner: str, run_ids: Sequence[str]) -> None:
        """See ``Journal``."""
        for run_id in set(run_ids).intersection(await self.owned(owner)):
            self._runs[run_id] = msgspec.structs.replace(self._runs[run_id], owner="")

    async def count_waiting(self) -> dict[str, int]:
        """See ``Journal``."""
        return Counter(run.organization_id for run in self._runs.values() if _is_waiting(run))

    async def ended(self, run_ids: Sequence[str]) -> list[str]:
        """See ``Journal``."""
        runs = (self._runs.get(run_id) for run_id in run_ids)
        return [run.run_id for run in runs if run is not None and run.state in FINAL_STATES]

    async def run_of_key(self, organization_id: str, key: IdempotencyKey) -> str | None:
        """See ``Journal``."""
        known = self._keys.get((organization_id, key.key))
        return None if known is None else known_run(key, *known)

    async def forget_keys(self, before_ms: int) -> None:
        """See ``Journal``."""
        for name, (_, run_id) in list(self._keys.items()):
            if self._runs[run_id].created_at_ms < before_ms:
                del self._keys[name]

    def _can_be_claimed(self, run: RunRecord, owner: str, now_ms: int) -> bool:
        is_held = run.owner == owner or self._leases.get(run.owner, 0) > now_ms
        return run.state not in FINAL_STATES and not is_held

    def _claim(self, owner: str, run_id: str) -> RunRecord:
        run = self._runs[run_id]
        taken = msgspec.structs.replace(run, owner=owner, attempt=run.attempt + 1, wake_at_ms=0)
        self._runs[run_id] = taken
        return taken

    async def close(self) -> None:
        """See ``Journal``."""


def _is_waiting(run: RunRecord) -> bool:
    return not run.owner and not run.wake_at_ms and run.state not in FINAL_STATES


def _matches(run_filter: RunFilter, run: RunRecord) -> bool:
    return (
        run_filter.agent_id in ("", run.agent_id)
        and run_filter.state in ("", run.state)
        and run_filter.user_id in ("", run.user_id)
        and run_filter.conversation_id in ("", run.conversation_id)
        and run_filter.parent_run_id in ("", run.parent_run_id)
        and (run_filter.start_ms is None or run.created_at_ms >= run_filter.start_ms)
        and (run_filter.end_ms is None or run.created_at_ms < run_filter.end_ms)
    )

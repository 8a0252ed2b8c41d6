"""The port to where runs and their events are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from agent_executor.executor.run_event import RunEvent


class RunRecord(msgspec.Struct, frozen=True):
    """What is known of a run without reading its events.

    Attributes:
        run_id: Unique; ids sort by the time at which they were made.
        permissions: What the caller was allowed when the run was started; its tool calls are
            made with them, also after a recovery.
        traceparent: W3C trace context of the call that started it; empty if it was not traced.
        owner: The executor process that drives it, as ``worker/incarnation``.
        attempt: How often it has been taken over, from 1. It fences every write.
        state, ended_at_ms, response, error, code, tokens_used, cost_nano_usd: As of the last
            event; ``ended_at_ms`` is 0 while it is under way.
        last_sequence: Sequence of the last event.
        parent_run_id: The run that started it; empty if none did.
        amount_id: The amount at the ledger that it draws from: its own if it has a limit, else that
            of its nearest ancestor that has one; empty if none has.
    """

    run_id: str
    organization_id: str
    user_id: str
    permissions: tuple[str, ...]
    agent_id: str
    agent_version: int
    model: str
    input: str
    is_test: bool
    traceparent: str
    created_at_ms: int
    owner: str
    attempt: int = 1
    state: str = "pending"
    ended_at_ms: int = 0
    response: str = ""
    error: str = ""
    code: str = ""
    tokens_used: int = 0
    cost_nano_usd: int = 0
    last_sequence: int = 0
    parent_run_id: str = ""
    amount_id: str = ""


class Journal(Protocol):
    """Keeps runs and their append-only logs.

    What a method has written is durable, and seen by every later read, once it has returned.
    """

    async def create(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        """Stores a new run with its first events, all or nothing."""
        ...

    async def append(self, run: RunRecord, events: Sequence[RunEvent]) -> None:
        """Adds events and stores the run's new summary, all or nothing.

        Args:
            run: The run after the events; ``owner`` and ``attempt`` are the writer's own.
            events: Follow the stored log without a gap.

        Raises:
            LeaseLostError: The run's attempt is another one by now, or its log has gone on.
        """
        ...

    async def get(self, organization_id: str, run_id: str) -> RunRecord | None:
        """Returns a run, or None if the organization has none of this id."""
        ...

    async def list_runs(
        self,
        organization_id: str,
        limit: int,
        *,
        before_run_id: str = "",
        agent_id: str = "",
        state: str = "",
    ) -> list[RunRecord]:
        """Returns runs, newest first; filters that are not empty must all match."""
        ...

    async def events(self, run_id: str, after_sequence: int = 0) -> list[RunEvent]:
        """Returns the events after a sequence, in order. The caller has checked the organization."""
        ...

    async def renew_lease(self, owner: str, expires_at_ms: int) -> None:
        """Says that an executor lives; its runs are its own until ``expires_at_ms``."""
        ...

    async def release_leases(self, worker: str) -> None:
        """Says that the owners named ``worker/…`` are gone; their runs can be claimed at once."""
        ...

    async def claim(self, owner: str, now_ms: int, limit: int) -> list[RunRecord]:
        """Takes over unfinished runs whose owner's lease has expired or was released.

        Args:
            owner: Who claims. Its own runs are left alone: it lives, however late it renews.
            now_ms: Leases that have not expired by then hold.
            limit: How many at most.

        Returns:
            The runs, oldest first, each with ``owner`` and its new ``attempt``. A run is claimed
            by one caller only.
        """
        ...

    async def close(self) -> None:
        """Releases what the journal holds open."""
        ...

"""The port to where runs and their events are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from agent_executor.errors import IdempotencyConflictError
from agent_executor.executor.conversations.conversation import RunEnd
from agent_executor.executor.log.run_event import RunEvent
from agent_executor.executor.webhooks.delivery import Webhook


class RunRecord(msgspec.Struct, frozen=True):
    """What is known of a run without reading its events.

    Attributes:
        run_id: Unique; ids sort by the time at which they were made.
        permissions: What the caller was allowed when the run was started; its tool calls are
            made with them, also after a recovery.
        traceparent: W3C trace context of the call that started it; empty if it was not traced.
        owner: The executor process that drives it, as ``worker/incarnation``; empty while nobody
            does: it waits for its turn, or is parked until ``wake_at_ms``.
        attempt: How often somebody has begun to drive it, from 1; 0 while it waits for its first
            turn. It fences every write.
        state, ended_at_ms, response, error, code, tokens_used, cost_nano_usd: As of the last
            event; ``ended_at_ms`` is 0 while it is under way.
        last_sequence: Sequence of the last event.
        parent_run_id: The run that started it; empty if none did.
        amount_id: The amount at the ledger that it draws from: its own if it has a limit, else that
            of its nearest ancestor that has one; empty if none has.
        conversation_id: The conversation that it continues; empty if it stands alone.
        wake_at_ms: When a parked run goes on by itself; 0 for one that waits for its turn.
        cancel_requested_at_ms, cancel_user_id, cancel_reason: That somebody asked for its end; 0
            and empty if nobody has.
        has_webhook: Its end is told; see ``webhooks``.
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
    conversation_id: str = ""
    wake_at_ms: int = 0
    cancel_requested_at_ms: int = 0
    cancel_user_id: str = ""
    cancel_reason: str = ""
    has_webhook: bool = False


class RunFilter(msgspec.Struct, frozen=True):
    """Which runs are meant. What is set must all match.

    Attributes:
        start_ms: Created at or after it, in milliseconds since 1970-01-01 UTC; None: any time.
        end_ms: Created before it; None: any time.
    """

    agent_id: str = ""
    state: str = ""
    user_id: str = ""
    conversation_id: str = ""
    parent_run_id: str = ""
    start_ms: int | None = None
    end_ms: int | None = None


class IdempotencyKey(msgspec.Struct, frozen=True):
    """What makes the repeat of a request known as such.

    Attributes:
        key: Chosen by the caller, unique in its organization.
        request_digest: Of what is asked; the same key with another one is a conflict.
    """

    key: str
    request_digest: str


EVERY_RUN: Final = RunFilter()
NO_RUNS: Final[Mapping[str, int]] = {}


class Journal(Protocol):
    """Keeps runs and their append-only logs.

    What a method has written is durable, and seen by every later read, once it has returned.
    """

    async def create(
        self,
        run: RunRecord,
        events: Sequence[RunEvent],
        key: IdempotencyKey | None = None,
        after_run_id: str = "",
        webhook: Webhook | None = None,
    ) -> str:
        """Stores a new run with its first events, all or nothing.

        A run of a conversation becomes the last one of it. What its end is to be told to is put into
        the outbox with it.

        Args:
            run: The run.
            events: Its first events.
            key: By which a repeat is known; None: every call makes a run.
            after_run_id: The conversation's last run so far; empty if the run begins it.
            webhook: Given if the run ``has_webhook``.

        Returns:
            The run's id. If a run was created under this key before, its id, and nothing is stored.

        Raises:
            IdempotencyConflictError: The key was used for another request.
            ConflictError: The conversation's last run has not ended, or is another one by now; its
                id is in the metadata as ``runId``.
        """
        ...

    async def append(
        self, run: RunRecord, events: Sequence[RunEvent], end: RunEnd | None = None
    ) -> None:
        """Adds events and stores the run's new summary, all or nothing.

        The end of a run that ``has_webhook`` is due to be told from then on.

        Args:
            run: The run after the events. ``attempt`` is the writer's own; ``owner`` too, or empty
                to park it until ``wake_at_ms``.
            events: Follow the stored log without a gap. Without any, only the summary is stored.
            end: What becomes of the run's conversation, with its last event; None if it has none, or
                goes on.

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
        run_filter: RunFilter = EVERY_RUN,
    ) -> list[RunRecord]:
        """Returns runs, newest first."""
        ...

    async def events(self, run_id: str, after_sequence: int = 0, limit: int = 0) -> list[RunEvent]:
        """Returns the events after a sequence, in order, at most ``limit``; 0: all.

        The caller has checked the organization.
        """
        ...

    async def last_sequences(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Returns the sequence of the last event of each of these runs that there is."""
        ...

    async def renew_lease(self, owner: str, expires_at_ms: int) -> None:
        """Says that an executor lives; its runs are its own until ``expires_at_ms``."""
        ...

    async def release_leases(self, worker: str) -> None:
        """Says that the owners named ``worker/…`` are gone; their runs can be claimed at once."""
        ...

    async def claim(
        self,
        owner: str,
        now_ms: int,
        limit: int,
        *,
        waiting_only: bool = False,
        driven: Mapping[str, int] = NO_RUNS,
    ) -> list[RunRecord]:
        """Takes over unfinished runs that nobody drives.

        These are the runs that wait for their turn, those whose owner's lease has expired or was
        released, and those that are parked until a time that has come.

        Args:
            owner: Who claims. Its own runs are left alone: it lives, however late it renews.
            now_ms: Leases that have not expired by then hold.
            limit: How many at most.
            waiting_only: Leaves all alone but those that wait for their turn. It is a quick look,
                however many there are.
            driven: How many runs of each organization the owner drives. Those of which it drives the
                fewest come first.

        Returns:
            The runs, each with ``owner`` and its new ``attempt``. A run is claimed by one caller
            only. Of each organization the oldest come first, and organizations take turns. They are
            fewer than the limit if others claim at the same time.
        """
        ...

    async def claim_run(self, owner: str, run_id: str, now_ms: int) -> RunRecord | None:
        """Takes over one unfinished run, parked or not, if nobody drives it; else returns None."""
        ...

    async def request_cancel(self, run: RunRecord) -> None:
        """Stores that a run is to end: its ``cancel_…`` fields, unless they are set already.

        From then on it is not parked any more, however its driver leaves it.
        """
        ...

    async def cancel_requested(self, owner: str) -> list[RunRecord]:
        """Returns the unfinished runs of an owner that are to end."""
        ...

    async def owned(self, owner: str) -> list[str]:
        """Returns the ids of the unfinished runs of an owner."""
        ...

    async def give_up(self, owner: str, run_ids: Sequence[str]) -> None:
        """Lets unfinished runs of an owner be claimed by anybody, as if they waited for their turn."""
        ...

    async def count_waiting(self) -> dict[str, int]:
        """Returns how many runs wait for their turn, by organization, of those that have any."""
        ...

    async def ended(self, run_ids: Sequence[str]) -> list[str]:
        """Returns those of some runs that have ended. The caller has checked the organization."""
        ...

    async def run_of_key(self, organization_id: str, key: IdempotencyKey) -> str | None:
        """Returns the run that was created under a key, or None.

        Raises:
            IdempotencyConflictError: The key was used for another request.
        """
        ...

    async def forget_keys(self, before_ms: int) -> None:
        """Forgets idempotency keys of runs that were created before a time."""
        ...

    async def close(self) -> None:
        """Releases what the journal holds open."""
        ...


def known_run(key: IdempotencyKey, request_digest: str, run_id: str) -> str:
    """Returns the run that was created under a key, for a repeat of its request.

    Raises:
        IdempotencyConflictError: The key was used for another request.
    """
    if request_digest != key.request_digest:
        raise IdempotencyConflictError(
            "The idempotency key was used before for another request.", metadata={"runId": run_id}
        )
    return run_id

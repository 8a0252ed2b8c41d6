"""Correcting what a model call was recorded with, by a new entry with the difference."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent_executor.errors import FailedPreconditionError, UsageEntryNotFoundError
from agent_executor.ledger.accounting.commands import Correct, Outcome, Recorded, Unchanged
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.usage.checks import (
    ADMIN_PERMISSION,
    MAX_DESCRIPTION_BYTES,
    MAX_ID_BYTES,
    WRITE_PERMISSION,
    check_text,
)
from agent_executor.ledger.usage.metrics import Happened
from agent_executor.ledger.usage.operation import Operation
from agent_executor.ledger.usage.settling import conflict
from agent_executor.serving.security import SecurityContext


class CorrectRequest(msgspec.Struct, frozen=True):
    """What a recorded model call really used.

    Attributes:
        entry_id: The correction's own id; the idempotency key.
        corrects_entry_id: The entry of the model call.
        usage: What it really used, in all.
        description: Why, at most 1,000 bytes.
    """

    entry_id: str
    corrects_entry_id: str
    usage: TokenUsage
    description: str = ""


class CorrectUsage(Operation[CorrectRequest, Correct, UsageEntry]):
    """Records the difference to what the entry and its earlier corrections come to.

    Args:
        store: Where the entry to correct is kept.
        clock: Seconds since 1970-01-01 UTC.
    """

    def __init__(self, store: AccountingStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def prepare(self, request: CorrectRequest, security: SecurityContext) -> Correct:
        """Makes the correction, without what only the corrected entry knows.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:write``, or ``ledger:admin`` for the call
                of another user, whose money it gives back.
            InvalidArgumentError: An id or the description cannot be.
        """
        security.require(WRITE_PERMISSION)
        check_text("entry_id", request.entry_id, MAX_ID_BYTES, min_bytes=1)
        check_text("corrects_entry_id", request.corrects_entry_id, MAX_ID_BYTES, min_bytes=1)
        check_text("description", request.description, MAX_DESCRIPTION_BYTES)
        if not security.allows(ADMIN_PERMISSION):
            await self._check_owner(request.corrects_entry_id, security)
        now_ms = int(self._clock() * 1000)
        entry = UsageEntry(
            id=request.entry_id,
            organization_id=security.organization_id,
            kind="correction",
            user_id=security.user_id,
            corrects_entry_id=request.corrects_entry_id,
            description=request.description,
            occurred_at_ms=now_ms,
            created_at_ms=now_ms,
        )
        return Correct(entry, request.usage)

    async def _check_owner(self, entry_id: str, security: SecurityContext) -> None:
        found = await self._store.get_entries(security.organization_id, (entry_id,))
        if any(entry.user_id != security.user_id for entry in found):
            security.require(ADMIN_PERMISSION)

    def conclude(self, command: Correct, outcome: Outcome, happened: Happened) -> UsageEntry:
        """Returns the correction; a repeat gets the first one again.

        Raises:
            UsageEntryNotFoundError: The organization has no such entry.
            FailedPreconditionError: The entry is no model call.
            EntryConflictError: An entry of this id records something else.
        """
        asked = command.entry
        if isinstance(outcome, Unchanged):
            raise FailedPreconditionError(
                "Only a model call that was priced can be corrected.",
                metadata={"entry_id": asked.corrects_entry_id, "kind": outcome.entry.kind},
            )
        if not isinstance(outcome, Recorded):
            raise UsageEntryNotFoundError(
                "There is no such entry.", metadata={"entry_id": asked.corrects_entry_id}
            )
        if outcome.is_new:
            happened.entries.append(outcome.entry)
            happened.events += outcome.events
        elif not _says_the_same(outcome, command):
            raise conflict(asked.id)
        return outcome.entry


def _says_the_same(recorded: Recorded, command: Correct) -> bool:
    """Tells whether a correction was recorded of the same entry to the same counts, and why."""
    earlier, asked = recorded.entry, command.entry
    # The counts of a correction are differences, so what they came to is compared.
    return (
        (earlier.kind, earlier.corrects_entry_id, earlier.description)
        == (asked.kind, asked.corrects_entry_id, asked.description)
        and recorded.corrected_usage is not None
        and msgspec.structs.astuple(recorded.corrected_usage)
        == msgspec.structs.astuple(command.usage)
    )

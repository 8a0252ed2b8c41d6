"""The record of calls and the audit log in memory, for the library and for tests."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from agent_executor.tool_runner.calls.audit import EVERY_RECORD, AuditFilter, AuditRecord
from agent_executor.tool_runner.calls.audit_chain import EMPTY, Head, linked
from agent_executor.tool_runner.calls.record import CallRecord

DEFAULT_CALLS_MAX: Final = 10_000
DEFAULT_AUDIT_RECORDS_MAX: Final = 10_000


class MemoryCallStore:
    """``CallRecords`` and ``AuditLog`` that end with the process. The oldest entries make room.

    Attributes:
        others_run_seconds: See ``CallRecords``.
        runner_id: See ``CallRecords``.

    Args:
        calls_max: How many calls with a result are remembered.
        audit_records_max: How many audit records of each organization are kept.
    """

    def __init__(
        self,
        *,
        calls_max: int = DEFAULT_CALLS_MAX,
        audit_records_max: int = DEFAULT_AUDIT_RECORDS_MAX,
    ) -> None:
        self.others_run_seconds = 0.0
        self.runner_id = 0
        self._calls_max = calls_max
        self._audit_records_max = audit_records_max
        self._intents: dict[tuple[str, str], CallRecord] = {}
        self._finished: OrderedDict[tuple[str, str], CallRecord] = OrderedDict()
        self._audit: dict[str, deque[AuditRecord]] = {}

    async def is_alive(self, runner_id: int) -> bool:
        """See ``CallRecords``."""
        del runner_id
        return True

    async def find(self, organization_id: str, tool_call_id: str) -> CallRecord | None:
        """See ``CallRecords``."""
        key = (organization_id, tool_call_id)
        return self._finished.get(key) or self._intents.get(key)

    async def begin(self, record: CallRecord) -> CallRecord | None:
        """See ``CallRecords``."""
        key = _key_of(record)
        known = self._finished.get(key) or self._intents.get(key)
        if known is None:
            self._intents[key] = record
        return known

    async def finish(self, record: CallRecord, audit: AuditRecord) -> CallRecord | None:
        """See ``CallRecords``."""
        key = _key_of(record)
        if key in self._finished:
            return self._finished[key]
        self._intents.pop(key, None)
        self._finished[key] = record
        if len(self._finished) > self._calls_max:
            self._finished.popitem(last=False)
        await self.append_audit_record(audit)
        return None

    async def forget(self, record: CallRecord, audit: AuditRecord) -> None:
        """See ``CallRecords``."""
        intent = self._intents.get(_key_of(record))
        if intent is not None and intent.started_at_ms == record.started_at_ms:
            del self._intents[_key_of(record)]
        await self.append_audit_record(audit)

    async def append_audit_record(self, audit: AuditRecord) -> None:
        """See ``CallRecords``."""
        records = self._audit.get(audit.organization_id)
        if records is None:
            records = self._audit[audit.organization_id] = deque(maxlen=self._audit_records_max)
        head = Head(records[-1].sequence, records[-1].sha256) if records else EMPTY
        records.append(linked(audit, head))

    async def unfinished(self) -> list[CallRecord]:
        """See ``CallRecords``."""
        return list(self._intents.values())

    async def list_audit_records(
        self,
        organization_id: str,
        limit: int,
        *,
        before_sequence: int | None = None,
        matching: AuditFilter = EVERY_RECORD,
    ) -> list[AuditRecord]:
        """See ``AuditLog``."""
        found: list[AuditRecord] = []
        for record in reversed(self._audit.get(organization_id, ())):
            if len(found) == limit:
                break
            is_older = before_sequence is None or record.sequence < before_sequence
            if is_older and matching.matches(record):
                found.append(record)
        return found


def _key_of(record: CallRecord) -> tuple[str, str]:
    return record.organization_id, record.tool_call_id

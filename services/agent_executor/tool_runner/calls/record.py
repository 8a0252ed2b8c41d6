"""The record of tool calls: what makes a repeated call get the result of the first one."""

from __future__ import annotations

from typing import Protocol

import msgspec

from agent_executor.tool_runner.calls.audit import AuditRecord
from agent_executor.tool_runner.calls.tool_call import ToolResult
from agent_executor.tool_runner.tool_base import Effect


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was dispatched, or is about to be.

    Attributes:
        arguments_sha256: Of the arguments' JSON text, in hexadecimal.
        effect: The tool's, when it was dispatched.
        trace_id: As in the audit record of the attempt.
        started_at_ms: Milliseconds since 1970-01-01 UTC.
        runner_id: The process that dispatched it; 0 if that is not known.
        result: None for an intent: the tool may be running, or have run.
    """

    organization_id: str
    tool_call_id: str
    user_id: str
    run_id: str
    agent_id: str
    tool_name: str
    arguments_sha256: str
    effect: Effect
    trace_id: str
    started_at_ms: int
    runner_id: int = 0
    result: ToolResult | None = None


class CallRecords(Protocol):
    """Remembers calls and writes the audit log, durably.

    A call is known by its organization and its ``tool_call_id``. What a method has written is
    durable when it returns, and all that one method writes is one write: all of it or nothing. A
    caller that is cancelled while it waits does not undo it. Where several processes write, they
    see one record of each call, and their audit records are one chain.

    Every method raises UnavailableError if the storage failed.

    Attributes:
        others_run_seconds: How long another process may be running a call after it wrote the
            intent, in seconds; 0 if there is no other process. Later such a call is lost.
        runner_id: This process, if there may be others; else 0.
    """

    others_run_seconds: float
    runner_id: int

    async def is_alive(self, runner_id: int) -> bool:
        """Tells whether a process lives; True if that is not known."""
        ...

    async def find(self, organization_id: str, tool_call_id: str) -> CallRecord | None:
        """Returns the call, or None if it is not known."""
        ...

    async def begin(self, record: CallRecord) -> CallRecord | None:
        """Writes the intent to dispatch a call. ``record.result`` is None.

        If the call is known, be it as an intent, this writes nothing and returns it.
        """
        ...

    async def finish(self, record: CallRecord, audit: AuditRecord) -> CallRecord | None:
        """Writes a call with its result, in place of its intent if there is one, and the audit.

        The first result of a call stays: if there is one, this writes nothing and returns it.
        """
        ...

    async def forget(self, record: CallRecord, audit: AuditRecord) -> None:
        """Writes the audit and removes the intent, if there is one: the call may run again.

        An intent of another time stays: it is another process's, which runs the call anew.
        """
        ...

    async def append_audit_record(self, audit: AuditRecord) -> None:
        """Writes the audit only."""
        ...

    async def unfinished(self) -> list[CallRecord]:
        """Returns every intent without a result, of all organizations and all processes."""
        ...

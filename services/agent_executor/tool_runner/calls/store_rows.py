"""Rows of calls and audit records, and the query of the audit log, as both databases have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agent_executor.tool_runner.calls.audit import AuditFilter, AuditRecord
from agent_executor.tool_runner.calls.record import CallRecord
from agent_executor.tool_runner.calls.tool_call import ToolResult, unix_ms_of, utc_of

# The columns of each table are the fields, in their order; the result's fields follow the call's.
_CALL_FIELDS: Final = tuple(name for name in CallRecord.__struct_fields__ if name != "result")
_RESULT_FIELDS: Final = ("success", "result_json", "error", "code", "finished_at_ms", "duration_ms")
CALL_NAMES: Final = (*_CALL_FIELDS, *_RESULT_FIELDS)
CALL_COLUMNS: Final = ", ".join(CALL_NAMES)
AUDIT_NAMES: Final = AuditRecord.__struct_fields__
AUDIT_NUMBERS: Final = frozenset({"sequence", "duration_ms", "created_at_ms"})
AUDIT_COLUMNS: Final = ", ".join(AUDIT_NAMES)

_FACTS: Final = AUDIT_NAMES.index("facts")
_NO_FACTS_JSON: Final = "[]"
_DECODE_FACTS: Final = msgspec.json.Decoder(tuple[str, ...]).decode


def row_of_call(record: CallRecord) -> tuple[object, ...]:
    """Returns the values of ``CALL_NAMES``."""
    *call, result = msgspec.structs.astuple(record)
    if result is None:
        return (*call, None, None, None, None, None, None)
    return (
        *call,
        int(result.success),
        result.result_json,
        result.error,
        result.code,
        unix_ms_of(result.timestamp),
        result.duration_ms,
    )


def call_of_row(row: Sequence[Any]) -> CallRecord:
    """Returns the call with these values of ``CALL_NAMES``."""
    call = dict(zip(_CALL_FIELDS, row, strict=False))
    success, result_json, error, code, finished_at_ms, duration_ms = row[len(_CALL_FIELDS) :]
    if success is None:
        return CallRecord(**call)
    result = ToolResult(
        tool_call_id=call["tool_call_id"],
        tool_name=call["tool_name"],
        success=bool(success),
        result_json=result_json,
        error=error,
        code=code,
        timestamp=utc_of(finished_at_ms),
        duration_ms=duration_ms,
    )
    return CallRecord(**call, result=result)


def row_of_audit(record: AuditRecord) -> tuple[object, ...]:
    """Returns the values of ``AUDIT_NAMES``."""
    values = list(msgspec.structs.astuple(record))
    facts = values[_FACTS]
    values[_FACTS] = msgspec.json.encode(facts).decode() if facts else _NO_FACTS_JSON
    return tuple(values)


def audit_of_row(row: Sequence[Any]) -> AuditRecord:
    """Returns the audit record with these values of ``AUDIT_NAMES``.

    Facts that are none, for someone has changed them, are one fact: its digest shows the change.
    """
    values = dict(zip(AUDIT_NAMES, row, strict=True))
    facts = values["facts"]
    try:
        values["facts"] = () if facts == _NO_FACTS_JSON else _DECODE_FACTS(facts)
        return AuditRecord(**values)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return AuditRecord(**{**values, "facts": (str(facts),)})


def audit_conditions(
    organization_id: str, before_sequence: int | None, matching: AuditFilter
) -> list[tuple[str, object]]:
    """Returns the conditions of a query of the audit log, each as its text before the value."""
    conditions: list[tuple[str, object]] = [("organization_id =", organization_id)]
    for condition, value in (
        ("sequence <", before_sequence),
        ("run_id =", matching.run_id or None),
        ("tool_name =", matching.tool_name or None),
        ("user_id =", matching.user_id or None),
        ("decision =", matching.decision or None),
        ("created_at_ms >=", matching.created_from_ms),
        ("created_at_ms <", matching.created_before_ms),
    ):
        if value is not None:
            conditions.append((condition, value))
    return conditions


def audit_index(matching: AuditFilter) -> str:
    """Returns the index that leads to the fewest records; empty for the primary key."""
    if matching.run_id:
        return "audit_events_by_run"
    if matching.user_id:
        return "audit_events_by_user"
    if matching.created_from_ms is not None or matching.created_before_ms is not None:
        return "audit_events_by_time"
    if matching.decision in {"refused", "replayed"}:
        return "audit_events_exceptional"
    return ""

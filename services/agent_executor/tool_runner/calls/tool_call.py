"""A call of a tool and its result, as the use cases know them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec

from agent_executor.errors import AgentExecutorError

NO_RESULT_JSON: Final = "null"
_NO_LIMITS: Final[Mapping[str, int]] = MappingProxyType({})


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call that is to be made.

    Attributes:
        tool_call_id: The idempotency key of the call in its organization.
        tool_name: As the model, or whoever calls, spelled it.
        arguments_json: The arguments as JSON text.
        run_id: The run it belongs to; empty for a direct call.
        agent_id: The agent it belongs to; empty for a direct call.
        rate_limits: The caller's own limits in calls per minute by tool name; they can lower the
            limits in force, never raise them.
        timeout_seconds: How long the caller waits; None for as long as the tool-runner allows.
        is_test: Whether the run is a test.
        tool_version: The version of a custom tool that the run is bound to, in hexadecimal; empty
            for the newest.
    """

    tool_call_id: str
    tool_name: str
    arguments_json: str
    run_id: str = ""
    agent_id: str = ""
    rate_limits: Mapping[str, int] = _NO_LIMITS
    timeout_seconds: float | None = None
    is_test: bool = False
    tool_version: str = ""


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a tool call.

    Attributes:
        success: Whether the tool ran and gave a result.
        result_json: The result as JSON text; ``null`` unless ``success``.
        error: What went wrong, in a sentence; empty on success.
        code: A name of ``ErrorReason``; empty on success.
        timestamp: When the result was made, UTC.
        duration_ms: How long the tool ran; 0 if it was not dispatched.
    """

    tool_call_id: str
    tool_name: str
    success: bool
    result_json: str
    error: str
    code: str
    timestamp: datetime
    duration_ms: int


def failure_of(
    call: ToolCall, error: AgentExecutorError, now_ms: int, duration_ms: int = 0
) -> ToolResult:
    """Returns the result of a call that an error ended."""
    return ToolResult(
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        success=False,
        result_json=NO_RESULT_JSON,
        error=error.message,
        code=error.reason,
        timestamp=utc_of(now_ms),
        duration_ms=duration_ms,
    )


def utc_of(unix_ms: int) -> datetime:
    """Returns the time of so many milliseconds since 1970-01-01 UTC."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def unix_ms_of(time: datetime) -> int:
    """Returns the milliseconds since 1970-01-01 UTC of a time; the inverse of ``utc_of``."""
    return round(time.timestamp() * 1000)


def sha256_hex(data: bytes) -> str:
    """Returns the SHA-256 digest in hexadecimal, by which the audit log knows a content."""
    return hashlib.sha256(data).hexdigest()

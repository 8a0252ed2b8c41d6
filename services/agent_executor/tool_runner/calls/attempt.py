"""One attempt to make a call, and what is written of it."""

from __future__ import annotations

from agent_executor.errors import OutcomeUnknownError
from agent_executor.serving.security import SecurityContext
from agent_executor.tool_runner.calls.audit import FACTS_MAX, AuditRecord, Decision, Outcome
from agent_executor.tool_runner.calls.record import CallRecord
from agent_executor.tool_runner.calls.tool_call import ToolCall, ToolResult, sha256_hex, utc_of
from agent_executor.tool_runner.tool_base import Effect


class Attempt:
    """An attempt, as the record of calls and the audit log know it.

    Attributes:
        call: What is asked.
        security: Who asks.
        key: The organization and the id that the call is known by.
        arguments_bytes: Length of the arguments' JSON text in UTF-8.
        sha256: Of the arguments' JSON text, in hexadecimal.
        trace_id: In hexadecimal; empty outside of a trace.
        tool_version: Of a custom tool, once it is known which.
        facts: What the audit log tells beside the decision.
        was_run: Whether the tool has seen the call, as far as is known.
        interrupted: The result of an unsafe tool that was stopped while it ran; else None.
    """

    __slots__ = (
        "arguments_bytes",
        "call",
        "facts",
        "interrupted",
        "key",
        "security",
        "sha256",
        "tool_version",
        "trace_id",
        "was_run",
    )

    def __init__(self, call: ToolCall, security: SecurityContext) -> None:
        # Half characters are refused later; here they only need a digest.
        data = call.arguments_json.encode("utf-8", "surrogatepass")
        self.call = call
        self.security = security
        self.key = (security.organization_id, call.tool_call_id)
        self.arguments_bytes = len(data)
        self.sha256 = sha256_hex(data)
        self.trace_id = ""
        self.tool_version = ""
        self.facts: list[str] = []
        self.was_run = True
        self.interrupted: ToolResult | None = None

    @classmethod
    def of_lost(cls, record: CallRecord) -> Attempt:
        """Returns the attempt that left an intent without a result behind."""
        call = ToolCall(
            tool_call_id=record.tool_call_id,
            tool_name=record.tool_name,
            arguments_json="",
            run_id=record.run_id,
            agent_id=record.agent_id,
        )
        attempt = cls(call, SecurityContext(record.organization_id, record.user_id, frozenset()))
        attempt.sha256 = record.arguments_sha256
        attempt.trace_id = record.trace_id
        return attempt

    def is_same_call(self, tool_name: str, sha256: str) -> bool:
        """Tells whether a call of the same id is a repeat and not another call."""
        return self.call.tool_name == tool_name and self.sha256 == sha256

    def record(self, effect: Effect, now_ms: int, runner_id: int = 0) -> CallRecord:
        """Returns the intent to dispatch the call."""
        call = self.call
        return CallRecord(
            organization_id=self.security.organization_id,
            tool_call_id=call.tool_call_id,
            user_id=self.security.user_id,
            run_id=call.run_id,
            agent_id=call.agent_id,
            tool_name=call.tool_name,
            arguments_sha256=self.sha256,
            effect=effect,
            trace_id=self.trace_id,
            started_at_ms=now_ms,
            runner_id=runner_id,
        )

    def success(self, result_json: str, now_ms: int, duration_ms: int) -> ToolResult:
        """Returns the result of a tool that gave one."""
        return ToolResult(
            tool_call_id=self.call.tool_call_id,
            tool_name=self.call.tool_name,
            success=True,
            result_json=result_json,
            error="",
            code="",
            timestamp=utc_of(now_ms),
            duration_ms=duration_ms,
        )

    def performed(self, result: ToolResult, now_ms: int) -> AuditRecord:
        """Returns the audit record of an attempt that ran the tool."""
        return self._audit("allowed", "", now_ms, result=result)

    def lost(self, outcome: Outcome, code: str, now_ms: int) -> AuditRecord:
        """Returns the audit record of an attempt that ran the tool and did not see its end."""
        return self._audit("allowed", "", now_ms, outcome=outcome, code=code)

    def replayed(self, result: ToolResult, now_ms: int) -> AuditRecord:
        """Returns the audit record of an attempt that got a result that was there."""
        return self._audit("replayed", "call_record", now_ms, result=result)

    def refused(self, rule: str, code: str, now_ms: int) -> AuditRecord:
        """Returns the audit record of an attempt that was refused."""
        return self._audit("refused", rule, now_ms, code=code)

    def _audit(
        self,
        decision: Decision,
        rule: str,
        now_ms: int,
        *,
        result: ToolResult | None = None,
        outcome: Outcome = "none",
        code: str = "",
    ) -> AuditRecord:
        result_sha256, duration_ms = "", 0
        if result is not None:
            outcome = _outcome_of(result)
            code = result.code
            if result.success:
                result_sha256 = sha256_hex(result.result_json.encode())
            if decision == "allowed":
                duration_ms = result.duration_ms
        return AuditRecord(
            organization_id=self.security.organization_id,
            user_id=self.security.user_id,
            run_id=self.call.run_id,
            agent_id=self.call.agent_id,
            tool_call_id=self.call.tool_call_id,
            tool_name=self.call.tool_name,
            arguments_sha256=self.sha256,
            decision=decision,
            rule=rule,
            outcome=outcome,
            code=code,
            result_sha256=result_sha256,
            duration_ms=duration_ms,
            trace_id=self.trace_id,
            created_at_ms=now_ms,
            tool_version=self.tool_version,
            facts=tuple(dict.fromkeys(self.facts))[:FACTS_MAX],
        )


def _outcome_of(result: ToolResult) -> Outcome:
    if result.success:
        return "success"
    return "unknown" if result.code == OutcomeUnknownError.reason else "error"

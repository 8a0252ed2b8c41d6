"""Tool calls that wait for a person, in a program: as plain mappings in the shape of the REST API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from agent_executor.embedded.peers import with_permissions
from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.approvals.approval import Approval
from agent_executor.executor.approvals.approvals import (
    PERMISSION_APPROVE,
    PERMISSION_READ,
    Answer,
    Approvals,
    Verdict,
)
from agent_executor.executor.runs.result import time_text
from agent_executor.serving.security import SecurityContext

LISTED_MAX: Final = 1_000


class ProgramApprovals:
    """What a program does about the tool calls of its own runs."""

    def __init__(self, approvals: Approvals, security: SecurityContext) -> None:
        self._approvals = approvals
        self._security = with_permissions(
            security, frozenset({PERMISSION_READ, PERMISSION_APPROVE})
        )

    async def list_pending(self, run_id: str) -> list[dict[str, Any]]:
        """Returns the tool calls that wait, oldest first, at most a thousand."""
        found = await self._approvals.list_pending(self._security, LISTED_MAX, run_id=run_id)
        return [approval_mapping(approval) for approval in found]

    async def resolve(
        self,
        approval: Mapping[str, Any],
        decision: str,
        reason: str,
        arguments: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Decides about a tool call; see ``AsyncAgentExecutor.resolve_approval``."""
        if decision not in ("approve", "deny"):
            raise InvalidArgumentError('The decision is "approve" or "deny".')
        try:
            run_id, tool_call_id = approval["run_id"], approval["tool_call_id"]
            arguments_json = "" if arguments is None else json.dumps(arguments, allow_nan=False)
        except (KeyError, TypeError, ValueError) as error:
            message = f"It is no approval, or its arguments are not JSON: {error}."
            raise InvalidArgumentError(message) from error
        verdict: Verdict = "approve" if decision == "approve" else "deny"
        answer = Answer(verdict, reason, arguments_json)
        decided = await self._approvals.resolve(run_id, tool_call_id, answer, self._security)
        return approval_mapping(decided)


def approval_mapping(approval: Approval) -> dict[str, Any]:
    """Returns an approval as the REST API shows it."""
    return {
        "tool_call_id": approval.tool_call_id,
        "run_id": approval.run_id,
        "agent_id": approval.agent_id,
        "tool_name": approval.tool_name,
        "arguments_json": approval.arguments_json,
        "reason": approval.reason,
        "state": approval.state,
        "created_at": time_text(approval.created_at_ms),
        "expires_at": time_text(approval.expires_at_ms),
        "decided_by": approval.decided_by,
        "decision_reason": approval.decision_reason,
        "edited_arguments_json": approval.edited_arguments_json,
    }

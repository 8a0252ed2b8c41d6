"""What a run's driver does with tool calls that wait for a person's decision."""

from __future__ import annotations

import contextlib
from typing import Final

from agent_executor.errors import AgentExecutorError, PermissionDeniedError
from agent_executor.executor.approvals.approval import APPROVED, EXPIRED, Approval
from agent_executor.executor.approvals.store import ApprovalStore
from agent_executor.executor.driving.driven_run import DrivenRun
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ApprovalResolved,
    ToolCallCompleted,
    ToolCallStarted,
)
from agent_executor.executor.log.run_log import RunLog

NOBODY_DECIDED: Final = "Nobody decided about this call in time, so that it is denied."


class WaitingCalls:
    """Asks people, takes up what they decided, and parks runs that wait for nothing else."""

    def __init__(self, store: ApprovalStore) -> None:
        self._store = store

    async def announce(self, driven: DrivenRun) -> None:
        """Lets people see the calls of a run that wait. What is known already stays as it is.

        The log holds them by then: whoever goes on with the run announces them again.
        """
        log = driven.log
        new = [asked for asked in log.state.approvals if asked.tool_call_id not in driven.announced]
        if not new:
            return
        now_ms = log.now_ms()
        await self._store.request([approval_of(log.run, asked, now_ms) for asked in new], now_ms)
        driven.announced.update(asked.tool_call_id for asked in new)

    async def take_up(self, driven: DrivenRun) -> bool:
        """Logs what was decided, durable on return, and tells whether anything was.

        A call whose time has come is denied.

        Raises:
            LeaseLostError: Another executor drives the run now.
            UnavailableError: The storage failed.
        """
        await self.announce(driven)
        log = driven.log
        waiting = {asked.tool_call_id: asked for asked in log.state.approvals}
        now_ms = log.now_ms()
        if any(asked.expires_at_ms <= now_ms for asked in waiting.values()):
            await self._store.expire(log.run.run_id, now_ms)
        decided = await self._store.decided(log.run.run_id)
        if not decided:
            return False
        has_news = False
        for approval in decided:
            # One that waits no more was logged by a driver that could not tell the store so.
            if asked := waiting.get(approval.tool_call_id):
                _log_decision(log, asked, approval)
                has_news = True
        await log.commit()
        # One that is not told now is taken up again, and then found in the log.
        with contextlib.suppress(AgentExecutorError):
            await self._store.take_up(
                log.run.run_id, [approval.tool_call_id for approval in decided]
            )
        return has_news

    async def park(self, driven: DrivenRun) -> None:
        """Gives the run up until the first of its calls expires. Its driver has to look once more.

        Raises:
            LeaseLostError: Another executor drives the run now.
            UnavailableError: The storage failed.
        """
        log = driven.log
        wake_at_ms = min(asked.expires_at_ms for asked in log.state.approvals)
        renewal_seconds = await driven.money.keep_amount()
        if renewal_seconds is not None:
            wake_at_ms = min(wake_at_ms, log.now_ms() + int(renewal_seconds * 1000))
        await log.park(wake_at_ms)


def approval_of(run: RunRecord, asked: ApprovalRequested, now_ms: int) -> Approval:
    """Returns what a person is asked about a call."""
    return Approval(
        tool_call_id=asked.tool_call_id,
        run_id=run.run_id,
        organization_id=run.organization_id,
        agent_id=run.agent_id,
        tool_name=asked.tool_name,
        arguments_json=asked.arguments_json,
        reason=asked.reason,
        created_at_ms=now_ms,
        expires_at_ms=asked.expires_at_ms,
    )


def _log_decision(log: RunLog, asked: ApprovalRequested, approval: Approval) -> None:
    """Logs a decision and what follows from it. No commit can come between the two."""
    log.add(
        ApprovalResolved(
            tool_call_id=asked.tool_call_id,
            decision=approval.state,
            user_id=approval.decided_by,
            reason=approval.decision_reason,
            edited_arguments_json=approval.edited_arguments_json,
        )
    )
    if approval.state == APPROVED:
        edited = approval.edited_arguments_json
        log.add(
            ToolCallStarted(
                tool_call_id=asked.tool_call_id,
                tool_use_id=asked.tool_use_id,
                tool_name=asked.tool_name,
                arguments_json=edited or asked.arguments_json,
                approval="edited" if edited else "approved",
            )
        )
        return
    log.add(
        ToolCallCompleted(
            tool_call_id=asked.tool_call_id,
            tool_name=asked.tool_name,
            success=False,
            result_json="null",
            error=_refusal(approval),
            code=PermissionDeniedError.reason,
            timestamp_ms=log.now_ms(),
            was_begun=False,
        )
    )


def _refusal(approval: Approval) -> str:
    """Returns what the model is told of a call that was not let pass."""
    if approval.state == EXPIRED:
        return NOBODY_DECIDED
    if not approval.decision_reason:
        return "A person denied this call."
    return f"A person denied this call: {approval.decision_reason}"

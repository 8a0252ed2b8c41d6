"""What people can do about tool calls that wait for them: list them and decide."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import msgspec

from agent_executor.errors import (
    AgentExecutorError,
    ApprovalNotFoundError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    RunFinishedError,
    RunNotFoundError,
    UnavailableError,
)
from agent_executor.executor.approvals.approval import (
    APPROVED,
    DENIED,
    PENDING,
    Approval,
    Decision,
)
from agent_executor.executor.approvals.store import ApprovalStore, Position
from agent_executor.executor.approvals.waiting import approval_of
from agent_executor.executor.driving.driven_run import security_of
from agent_executor.executor.journal.event_pages import folded
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run import FINAL_STATES, RunState
from agent_executor.executor.peers.tools import ToolRunner
from agent_executor.json_schema.argument_schema import ArgumentSchema
from agent_executor.serving.security import SecurityContext

PERMISSION_READ: Final = "run:read"
PERMISSION_APPROVE: Final = "run:approve"

Verdict: TypeAlias = Literal["approve", "deny"]
_STATES: Final[dict[str, str]] = {"approve": APPROVED, "deny": DENIED}

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person answers about a tool call.

    Attributes:
        verdict: ``approve`` or ``deny``.
        reason: Why; the model is told the reason of a denial.
        arguments_json: With ``approve``: the arguments to use in place of the model's, as JSON text.
    """

    verdict: Verdict
    reason: str = ""
    arguments_json: str = ""


class Approvals:
    """Lists what waits for a person, and takes decisions."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        journal: Journal,
        tools: ToolRunner,
        wake: Callable[[str], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        """``wake`` goes on with the run of an id, unless somebody drives it."""
        self._store = store
        self._journal = journal
        self._tools = tools
        self._wake = wake
        self._now_ms = now_ms

    async def list_pending(
        self,
        security: SecurityContext,
        limit: int,
        *,
        after: Position | None = None,
        run_id: str = "",
        agent_id: str = "",
    ) -> list[Approval]:
        """Returns the approvals of the caller's organization that wait, oldest first.

        Raises:
            PermissionDeniedError: Without ``run:read``.
        """
        security.require(PERMISSION_READ)
        return await self._store.list_pending(
            security.organization_id,
            limit,
            self._now_ms(),
            after=after,
            run_id=run_id,
            agent_id=agent_id,
        )

    async def resolve(
        self, run_id: str, tool_call_id: str, answer: Answer, security: SecurityContext
    ) -> Approval:
        """Decides about a tool call, once; the same decision again gets the same answer.

        It is durable on return, and the run goes on here if nobody drives it.

        Raises:
            PermissionDeniedError: Without ``run:approve``.
            RunNotFoundError: The organization has no such run.
            ApprovalNotFoundError: The run has no such call, or it needs no decision.
            InvalidArgumentError: The arguments are none that the tool takes.
            RunFinishedError: The run has ended, or is to end.
            FailedPreconditionError: It was decided otherwise before, or has expired.
        """
        security.require(PERMISSION_APPROVE)
        run = await self._journal.get(security.organization_id, run_id)
        if run is None:
            message = f"Run {run_id} does not exist."
            raise RunNotFoundError(message, metadata={"runId": run_id})
        approval = await self._find(run, tool_call_id)
        decision = Decision(
            state=_STATES[answer.verdict],
            decided_by=security.user_id,
            decision_reason=answer.reason,
            edited_arguments_json=await self._edited(run, approval, answer),
            decided_at_ms=self._now_ms(),
        )
        stored = await self._store.decide(run.organization_id, run_id, tool_call_id, decision)
        if stored is None:
            raise AssertionError("an approval is never deleted")
        if not decision.is_that_of(stored):
            raise await self._refusal(stored)
        await self._go_on(run_id)
        return stored

    async def _find(self, run: RunRecord, tool_call_id: str) -> Approval:
        """Returns an approval, also one that its run's driver has logged but not announced yet."""
        known = await self._store.get(run.organization_id, run.run_id, tool_call_id)
        if known is not None:
            return known
        for asked in (await self._state(run)).approvals:
            if asked.tool_call_id == tool_call_id:
                now_ms = self._now_ms()
                approval = approval_of(run, asked, now_ms)
                await self._store.request([approval], now_ms)
                return approval
        raise ApprovalNotFoundError(
            f"Run {run.run_id} asks for no decision about {tool_call_id}.",
            metadata={"runId": run.run_id, "toolCallId": tool_call_id},
        )

    async def _edited(self, run: RunRecord, approval: Approval, answer: Answer) -> str:
        """Returns the arguments in place of the model's; empty if they stay."""
        text = answer.arguments_json
        if not text:
            return ""
        if answer.verdict == "deny":
            raise _invalid("A call that is denied needs no arguments.")
        if text == approval.arguments_json:
            return ""
        try:
            arguments = msgspec.json.decode(text, type=dict[str, Any])
        except (ValueError, RecursionError) as error:
            raise _invalid(f"The arguments are not the JSON text of an object: {error}.") from None
        if approval.state == PENDING:
            await self._check_arguments(run, approval.tool_name, arguments)
        return text

    async def _check_arguments(
        self, run: RunRecord, tool_name: str, arguments: dict[str, Any]
    ) -> None:
        """Checks arguments as the tool-runner will, if it can be asked for their schema now.

        Raises:
            InvalidArgumentError: They are none that the tool takes.
            LimitExceededError: They are too large.
        """
        versions = (await self._state(run)).tool_versions
        try:
            tools = await self._tools.describe([tool_name], security_of(run), versions)
        except (UnavailableError, DeadlineExceededError):
            return
        for tool in tools:
            try:
                ArgumentSchema(tool.input_schema).check(arguments)
            except (ValueError, RecursionError):
                raise _invalid("The arguments are nested too deep.") from None

    async def _state(self, run: RunRecord) -> RunState:
        state, _ = await folded(self._journal, run.run_id)
        return state

    async def _refusal(self, stored: Approval) -> AgentExecutorError:
        """Returns why a decision was not taken."""
        metadata = {"runId": stored.run_id, "toolCallId": stored.tool_call_id}
        if stored.state in _STATES.values():
            return FailedPreconditionError(
                f"The call was {stored.state} by {stored.decided_by} before"
                f"{', with other arguments' if stored.edited_arguments_json else ''}.",
                metadata={**metadata, "state": stored.state},
            )
        run = await self._journal.get(stored.organization_id, stored.run_id)
        is_over = run is None or run.state in FINAL_STATES or run.cancel_requested_at_ms
        if stored.state == PENDING and is_over:
            message = f"Run {stored.run_id} has ended, or is about to."
            return RunFinishedError(message, metadata=metadata)
        return FailedPreconditionError("The call was not decided in time.", metadata=metadata)

    async def _go_on(self, run_id: str) -> None:
        """Goes on with a run that waits, unless somebody drives it, who will look by itself."""
        try:
            await self._wake(run_id)
        except AgentExecutorError as error:
            _LOGGER.warning("Run %s goes on later: %s", run_id, error.message)


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, field_violations=(("arguments_json", message),))

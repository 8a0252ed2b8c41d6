"""What can be done with runs: start, wait, read, follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from agent_executor.errors import (
    AgentInactiveError,
    RunFinishedError,
    RunNotFoundError,
    UnavailableError,
)
from agent_executor.executor.agent import AgentVersion
from agent_executor.executor.agents import Agents
from agent_executor.executor.conversations.conversations import Conversations
from agent_executor.executor.drivers import RunDrivers
from agent_executor.executor.event_pages import folded
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal import Journal, RunFilter, RunRecord
from agent_executor.executor.run import FINAL_STATES, RunState
from agent_executor.executor.run_event import RunEvent, RunStarted
from agent_executor.executor.run_log import RunLog, summarized
from agent_executor.executor.tools import ToolRunner, require_all
from agent_executor.serving.security import SecurityContext

PERMISSION_EXECUTE = "run:execute"
PERMISSION_READ = "run:read"


@dataclass(frozen=True, slots=True)
class RunView:
    """A run and its folded state."""

    run: RunRecord
    state: RunState


@dataclass(frozen=True, slots=True)
class _RunRequest:
    """What a new run is to be."""

    agent_id: str
    text: str
    traceparent: str
    parent_run_id: str
    max_cost_nano_usd: int
    is_test: bool = False
    is_background: bool = False
    conversation_id: str = ""


class Runs:
    """Starts runs and answers questions about them.

    Attributes:
        feed: Tells readers of a run that it has new events.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        agents: Agents,
        conversations: Conversations,
        tools: ToolRunner,
        drivers: RunDrivers,
        now_ms: Callable[[], int],
    ) -> None:
        self.feed = drivers.feed
        self._journal = journal
        self._agents = agents
        self._conversations = conversations
        self._tools = tools
        self._drivers = drivers
        self._now_ms = now_ms

    @property
    def active_count(self) -> int:
        """How many runs this executor drives or has waiting."""
        return self._drivers.active_count

    async def execute(
        self,
        agent_id: str,
        text: str,
        security: SecurityContext,
        *,
        traceparent: str = "",
        is_test: bool = False,
        parent_run_id: str = "",
        max_cost_nano_usd: int = 0,
        conversation_id: str = "",
    ) -> RunView:
        """Starts a run and waits for its end. A cancelled caller does not stop the run.

        While the run is paused, its caller waits on, for as long as its own deadline allows.

        Args:
            agent_id: The agent.
            text: What is asked of it.
            security: Who asks.
            traceparent: W3C trace context of the call; empty if it is not traced.
            is_test: Whether it is marked as a test.
            parent_run_id: The run that starts this one; empty if none does.
            max_cost_nano_usd: What it may cost at most, with the runs that it starts; 0: only the
                agent's own limit and the budgets hold. Of this and the agent's the lower one holds.
            conversation_id: The conversation that it continues, or begins; empty if it stands alone.

        Raises:
            PermissionDeniedError: Without ``run:execute``.
            AgentNotFoundError: There is no such agent in the organization.
            RunNotFoundError: The organization has no run of the parent's id.
            RunFinishedError: The parent has ended.
            AgentInactiveError: The agent is switched off.
            ToolNotFoundError: The agent has a tool enabled that is not registered.
            LimitExceededError: Too many runs are under way.
            ConflictError: Another run of the conversation is under way; its id is in the metadata.
            UnavailableError: The storage failed before the first event, or the run was taken over
                by another executor and goes on there.
        """
        request = _RunRequest(
            agent_id,
            text,
            traceparent,
            parent_run_id,
            max_cost_nano_usd,
            is_test=is_test,
            conversation_id=conversation_id,
        )
        log, agent = await self._new_run(request, security)
        await asyncio.shield(self._drivers.in_background(self._drive(log, agent)))
        if log.run.last_sequence == 0:
            raise UnavailableError("The run could not be recorded, and has not begun.")
        if log.run.state != log.state.state or log.state.finished is None:
            raise UnavailableError(
                f"Run {log.run.run_id} goes on elsewhere; read it by its id.",
                metadata={"runId": log.run.run_id},
            )
        return RunView(log.run, log.state)

    async def start(
        self,
        agent_id: str,
        text: str,
        security: SecurityContext,
        *,
        traceparent: str = "",
        parent_run_id: str = "",
        max_cost_nano_usd: int = 0,
        conversation_id: str = "",
    ) -> RunView:
        """Starts a run in the background. It is durable, and survives this process, on return.

        The arguments are those of ``execute``.

        Raises:
            AgentExecutorError: As ``execute``.
        """
        request = _RunRequest(
            agent_id,
            text,
            traceparent,
            parent_run_id,
            max_cost_nano_usd,
            is_background=True,
            conversation_id=conversation_id,
        )
        log, agent = await self._new_run(request, security)
        # A caller that goes away meanwhile must not leave a durable run without a driver.
        return await asyncio.shield(self._drivers.in_background(self._begin(log, agent)))

    async def get(self, run_id: str, security: SecurityContext) -> RunView:
        """Returns a run as it stands.

        Raises:
            PermissionDeniedError: Without ``run:read``.
            RunNotFoundError: There is none in the organization.
        """
        run = await self._find(run_id, security)
        # The log may have gone on since the record was read; the answer is of one moment.
        state, at_ms = await folded(self._journal, run_id)
        return RunView(summarized(run, state, at_ms), state)

    async def list_runs(
        self,
        security: SecurityContext,
        limit: int,
        *,
        before_run_id: str = "",
        agent_id: str = "",
        state: str = "",
    ) -> list[RunRecord]:
        """Returns runs, newest first.

        Raises:
            PermissionDeniedError: Without ``run:read``.
        """
        security.require(PERMISSION_READ)
        return await self._journal.list_runs(
            security.organization_id,
            limit,
            before_run_id=before_run_id,
            run_filter=RunFilter(agent_id=agent_id, state=state),
        )

    async def follow(
        self, run_id: str, after_sequence: int, security: SecurityContext
    ) -> AsyncIterator[RunEvent]:
        """Yields a run's events after a sequence, those to come too, until its last.

        Raises:
            PermissionDeniedError: Without ``run:read``.
            RunNotFoundError: There is none in the organization.
        """
        run = await self._find(run_id, security)
        # The last event is read in any case: it may be the end, which the caller has seen already.
        async for event in self.feed.follow(run_id, min(after_sequence, run.last_sequence - 1)):
            if event.sequence > after_sequence:
                yield event

    async def take_over(self, limit: int) -> int:
        """Claims runs of owners that are gone, goes on with them, and returns how many."""
        return await self._drivers.take_over(limit)

    async def drain(self, grace_seconds: float) -> None:
        """Waits for the runs under way, then stops those that are left, to be taken over."""
        await self._drivers.drain(grace_seconds)

    async def _new_run(
        self, request: _RunRequest, security: SecurityContext
    ) -> tuple[RunLog, AgentVersion]:
        """Returns the log of a new run with its first event, which is not durable yet."""
        security.require(PERMISSION_EXECUTE)
        agent = await self._agents.load(request.agent_id, security)
        parent = await self._parent(request.parent_run_id, security)
        tool_versions = await self._check(agent, security)
        begun = await self._conversations.begin(
            request.conversation_id, agent, agent.model, security
        )
        run_id, parent_amount_id = new_id(), parent.amount_id if parent is not None else ""
        max_cost_nano_usd = _tighter(request.max_cost_nano_usd, agent.max_cost_nano_usd)
        run = RunRecord(
            run_id=run_id,
            organization_id=security.organization_id,
            user_id=security.user_id,
            permissions=tuple(sorted(security.permissions)),
            agent_id=agent.agent_id,
            agent_version=agent.version,
            model=agent.model,
            input=request.text,
            is_test=request.is_test,
            traceparent=request.traceparent,
            created_at_ms=self._now_ms(),
            owner=self._drivers.owner,
            parent_run_id=request.parent_run_id,
            amount_id=run_id if max_cost_nano_usd else parent_amount_id,
            conversation_id=begun.conversation_id,
        )
        log = self._drivers.log_of(run, RunState())
        log.history = begun.history
        log.add(
            RunStarted(
                agent_id=agent.agent_id,
                agent_version=agent.version,
                model=agent.model,
                input=request.text,
                is_test=request.is_test,
                tool_versions=tool_versions,
                parent_run_id=request.parent_run_id,
                max_cost_nano_usd=max_cost_nano_usd,
                parent_amount_id=parent_amount_id,
                is_background=request.is_background,
                conversation_id=begun.conversation_id,
                history=begun.range,
                max_tool_result_bytes=agent.context_policy.tool_result_bytes(),
            )
        )
        if begun.trimmed is not None:
            log.add(begun.trimmed)
        return log, agent

    async def _parent(self, run_id: str, security: SecurityContext) -> RunRecord | None:
        """Returns the run that starts a new one, which must be under way; None if none does."""
        if not run_id:
            return None
        parent = await self._journal.get(security.organization_id, run_id)
        if parent is None:
            raise _not_found(run_id)
        if parent.state in FINAL_STATES:
            raise RunFinishedError(
                f"Run {run_id} has ended, so that it can start no other one.",
                metadata={"runId": run_id},
            )
        return parent

    async def _check(self, agent: AgentVersion, security: SecurityContext) -> dict[str, str]:
        """Refuses a run that cannot be driven, while that can still be an error of the call.

        Returns the versions of custom tools that the run is to be bound to, by name.
        """
        if not agent.is_active:
            raise AgentInactiveError(
                f"Agent {agent.agent_id} is not active.", metadata={"agentId": agent.agent_id}
            )
        names = agent.enabled_tools()
        pinned = agent.pinned_versions()
        known = await self._tools.describe(names, security, pinned) if names else ()
        require_all(names, known, pinned)
        # Nothing is waited for between this and the run's task, so that no two pass it as one.
        self._drivers.require_room()
        return {tool.name: tool.version for tool in known if tool.version}

    async def _drive(self, log: RunLog, agent: AgentVersion) -> None:
        """Drives a new run to its end."""
        if log.run.conversation_id:
            # Whether it is the run's turn is known once it is there, and is the caller's to know.
            await log.commit()
        await self._drivers.drive(log, agent)

    async def _begin(self, log: RunLog, agent: AgentVersion) -> RunView:
        """Makes a new run durable and drives it in the background."""
        await log.commit()
        view = RunView(log.run, log.state)
        self._drivers.in_background(self._drivers.drive(log, agent))
        return view

    async def _find(self, run_id: str, security: SecurityContext) -> RunRecord:
        security.require(PERMISSION_READ)
        run = await self._journal.get(security.organization_id, run_id)
        if run is None:
            raise _not_found(run_id)
        return run


def _not_found(run_id: str) -> RunNotFoundError:
    return RunNotFoundError(f"Run {run_id} does not exist.", metadata={"runId": run_id})


def _tighter(one_nano_usd: int, other_nano_usd: int) -> int:
    """Returns the lower of two limits, of which 0 is none."""
    return min(one_nano_usd or other_nano_usd, other_nano_usd or one_nano_usd)

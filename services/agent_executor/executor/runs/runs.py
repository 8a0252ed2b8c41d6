"""What can be done with runs: start, wait, read, follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from agent_executor.errors import UnavailableError
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.conversations.conversations import Conversations
from agent_executor.executor.driving.cancellations import WAIT_SECONDS_MAX
from agent_executor.executor.driving.drivers import RunDrivers
from agent_executor.executor.journal.event_pages import folded
from agent_executor.executor.journal.journal import EVERY_RUN, Journal, RunFilter, RunRecord
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import RunEvent
from agent_executor.executor.log.run_log import RunLog, summarized
from agent_executor.executor.peers.tools import ToolRunner
from agent_executor.executor.runs.begun_run import BegunRun
from agent_executor.executor.runs.cancel_receipt import CancelReceipt
from agent_executor.executor.runs.disconnects import waiting_caller
from agent_executor.executor.runs.new_runs import NewRuns, RunPlan, run_not_found
from agent_executor.executor.runs.run_options import DEFAULT_OPTIONS, RunOptions
from agent_executor.executor.runs.run_view import RunView
from agent_executor.executor.streams.run_stream import updates_of
from agent_executor.executor.streams.run_updates import RunUpdate
from agent_executor.serving.security import SecurityContext

PERMISSION_EXECUTE = "run:execute"
PERMISSION_READ = "run:read"


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
        self._drivers = drivers
        self._new_runs = NewRuns(
            journal=journal,
            agents=agents,
            conversations=conversations,
            tools=tools,
            owner=drivers.owner,
            now_ms=now_ms,
        )

    @property
    def active_count(self) -> int:
        """How many runs this executor drives, paused ones included."""
        return self._drivers.active_count

    @property
    def owned_count(self) -> int:
        """How many unfinished runs are this executor's, those that wait here for a place included."""
        return self._drivers.cancellations.owned_count

    async def execute(
        self,
        agent_id: str,
        text: str,
        security: SecurityContext,
        options: RunOptions = DEFAULT_OPTIONS,
    ) -> RunView:
        """Starts a run and waits for its end.

        While the run waits for its turn, for money or for a person, its caller waits on, for as long
        as its own deadline allows. The repeat of a call, known by its key, waits for the same run.

        Args:
            agent_id: The agent.
            text: What is asked of it.
            security: Who asks.
            options: How it is to be run.

        Raises:
            PermissionDeniedError: Without ``run:execute``.
            AgentNotFoundError: There is no such agent in the organization.
            RunNotFoundError: The organization has no run of the parent's id.
            RunFinishedError: The parent has ended.
            FailedPreconditionError: Too many runs have started one another; see ``NewRuns.plan``.
            AgentInactiveError: The agent is switched off.
            ToolNotFoundError: The agent has a tool enabled that is not registered.
            IdempotencyConflictError: The key was used for another request.
            LimitExceededError: Too many runs wait for their turn.
            UnavailableError: The storage failed before the first event, or the run was taken over
                by another executor and goes on there.
        """
        begun = await self.launch(agent_id, text, security, options)
        with waiting_caller(self._drivers, options, lambda: self._record_of(begun, security)):
            return await self.end_of(begun, security)

    async def stream(
        self,
        agent_id: str,
        text: str,
        security: SecurityContext,
        options: RunOptions = DEFAULT_OPTIONS,
        *,
        silence_seconds: float | None = None,
    ) -> AsyncGenerator[RunUpdate]:
        """Starts a run and yields what happens in it, as it happens.

        The last update is the run as it ended, or ``StreamBroken``. The repeat of a call, known by
        its key, is told of the same run from its beginning. The arguments are those of ``execute``;
        after each ``silence_seconds`` without news, if given, a sign of life is yielded.

        Raises:
            AgentExecutorError: As ``execute``, before the first update.
        """
        begun = await self.launch(agent_id, text, security, options)
        with (
            waiting_caller(self._drivers, options, lambda: self._record_of(begun, security)),
            # Nothing was waited for since a run began that is driven at once.
            self.feed.reading(begun.run_id, with_text=True) as reader,
        ):
            run = begun.log.run if begun.log else await self._find(begun.run_id, security)
            updates = updates_of(begun, run, reader, silence_seconds=silence_seconds)
            async with aclosing(updates):
                async for update in updates:
                    yield update

    async def start(
        self,
        agent_id: str,
        text: str,
        security: SecurityContext,
        options: RunOptions = DEFAULT_OPTIONS,
    ) -> RunView:
        """Starts a run in the background. It is durable, and survives this process, on return.

        The arguments are those of ``execute``. The repeat of a call, known by its key, returns the
        same run as it stands.

        Raises:
            AgentExecutorError: As ``execute``.
        """
        begun = await self.launch(agent_id, text, security, options, is_background=True)
        return begun.view or await self._read(begun.run_id, security)

    async def launch(
        self,
        agent_id: str,
        text: str,
        security: SecurityContext,
        options: RunOptions = DEFAULT_OPTIONS,
        *,
        is_background: bool = False,
    ) -> BegunRun:
        """Starts a run, or finds the one that an earlier call with the same key has started.

        Raises:
            AgentExecutorError: As ``execute``.
        """
        security.require(PERMISSION_EXECUTE)
        known = await self.known_run(security, options)
        if known is not None:
            return known
        plan = await self._new_runs.plan(agent_id, security, options)
        return await self.begin(plan, text, is_background=is_background)

    async def known_run(self, security: SecurityContext, options: RunOptions) -> BegunRun | None:
        """Returns the run that an earlier call with the same key has started, if one has.

        Raises:
            IdempotencyConflictError: The key was used for another request.
        """
        if options.key is None:
            return None
        run_id = await self._journal.run_of_key(security.organization_id, options.key)
        return None if run_id is None else BegunRun(run_id)

    async def plan(self, agent_id: str, security: SecurityContext, options: RunOptions) -> RunPlan:
        """Returns what new runs are bound to, for ``begin``.

        Raises:
            AgentExecutorError: As ``execute``, for what concerns the agent or the caller.
        """
        security.require(PERMISSION_EXECUTE)
        return await self._new_runs.plan(agent_id, security, options)

    async def begin(self, plan: RunPlan, text: str, *, is_background: bool = False) -> BegunRun:
        """Starts a run that was planned: at once if there is a place for it, else in its turn.

        Raises:
            AgentExecutorError: As ``execute``, for what concerns this run alone.
        """
        is_placed = self._drivers.take_place(plan.security.organization_id)
        run, first = self._new_runs.make(
            plan, text, is_background=is_background, is_queued=not is_placed
        )
        log = self._drivers.log_of(run, RunState())
        log.history = plan.conversation.history(run.model)
        log.webhook = plan.options.webhook
        for payload in first:
            log.add(payload)
        # Whether it is a conversation's turn is known once the run is there.
        is_refusable = plan.options.key is not None or bool(plan.options.conversation_id)
        if is_placed and not is_background and not is_refusable:
            # Its first event shares a commit with those that follow.
            driving = self._drivers.in_background(self._drivers.drive(log, plan.agent))
            return BegunRun(run.run_id, log=log, driving=driving)
        # A caller that goes away meanwhile must not leave a durable run without a driver.
        begin = self._begin_durably(log, plan, is_placed=is_placed)
        beginning = self._drivers.in_background(begin)

        async def begun_run() -> RunRecord:
            return await self._record_of(await beginning, plan.security)

        with waiting_caller(self._drivers, plan.options, begun_run):
            return await asyncio.shield(beginning)

    async def end_of(self, begun: BegunRun, security: SecurityContext) -> RunView:
        """Waits for the end of a run, wherever it is driven.

        Raises:
            UnavailableError: It could not be recorded; or it was taken from this executor, or this
                executor stops, and it goes on elsewhere.
        """
        log = begun.log
        if log is None or begun.driving is None:
            return await self._end_elsewhere(begun.run_id, security)
        await asyncio.shield(begun.driving)
        if log.run.last_sequence == 0:
            raise UnavailableError("The run could not be recorded, and has not begun.")
        if not log.run.owner:
            return await self._end_elsewhere(begun.run_id, security)
        if log.run.state != log.state.state or log.state.finished is None:
            # Another executor has taken it, as after an outage of the database.
            return await self._end_elsewhere(begun.run_id, security)
        return RunView(log.run, log.state)

    async def get(self, run_id: str, security: SecurityContext) -> RunView:
        """Returns a run as it stands.

        Raises:
            PermissionDeniedError: Without ``run:read``.
            RunNotFoundError: There is none in the organization.
        """
        security.require(PERMISSION_READ)
        return await self._read(run_id, security)

    async def list_runs(
        self,
        security: SecurityContext,
        limit: int,
        *,
        before_run_id: str = "",
        run_filter: RunFilter = EVERY_RUN,
    ) -> list[RunRecord]:
        """Returns runs, newest first.

        Raises:
            PermissionDeniedError: Without ``run:read``.
        """
        security.require(PERMISSION_READ)
        return await self._journal.list_runs(
            security.organization_id, limit, before_run_id=before_run_id, run_filter=run_filter
        )

    async def follow(
        self, run_id: str, after_sequence: int, security: SecurityContext
    ) -> AsyncIterator[RunEvent]:
        """Yields a run's events after a sequence, those to come too, until its last.

        Raises:
            PermissionDeniedError: Without ``run:read``.
            RunNotFoundError: There is none in the organization.
            UnavailableError: The events cannot be read, or this executor stops; they can be followed
                at another one.
        """
        async with aclosing(self.watch(run_id, after_sequence, security)) as events:
            async for event in events:
                if event is not None:
                    yield event

    async def watch(
        self,
        run_id: str,
        after_sequence: int,
        security: SecurityContext,
        *,
        silence_seconds: float | None = None,
    ) -> AsyncGenerator[RunEvent | None]:
        """Yields what ``follow`` does, and None after each ``silence_seconds`` without news."""
        security.require(PERMISSION_READ)
        run = await self._find(run_id, security)
        # The last event is read in any case: it may be the end, which the caller has seen already.
        start = min(after_sequence, run.last_sequence - 1)
        events = self.feed.follow(run_id, start, silence_seconds=silence_seconds)
        async with aclosing(events):
            async for event in events:
                if event is None or event.sequence > after_sequence:
                    yield event

    async def cancel(
        self,
        run_id: str,
        reason: str,
        security: SecurityContext,
        *,
        is_caller_gone: bool = False,
        timeout_seconds: float = WAIT_SECONDS_MAX,
    ) -> CancelReceipt:
        """Ends a run with those that it has started; see ``Cancellations.cancel``.

        Args:
            run_id: The run, wherever it is driven. One that has ended is left as it is.
            reason: Why, at most 1,000 bytes.
            security: Who asks.
            is_caller_gone: Whether nobody asks, but the caller of the run went away.
            timeout_seconds: How long its end is waited for.

        Raises:
            PermissionDeniedError: Without ``run:execute``.
            RunNotFoundError: There is none in the organization.
            UnavailableError: It has not ended in time; it will.
        """
        security.require(PERMISSION_EXECUTE)
        run = await self._find(run_id, security)
        user_id = "" if is_caller_gone else security.user_id
        return await self._drivers.cancellations.cancel(run, user_id, reason, timeout_seconds)

    async def take_over(self) -> int:
        """Claims runs that nobody drives, goes on with them, and returns how many."""
        return await self._drivers.take_over()

    def begin_drain(self) -> None:
        """Takes up no more runs, and tells those who wait for one that it goes on elsewhere."""
        self._drivers.begin_drain()

    async def wake(self, run_id: str) -> None:
        """Goes on with a run that nobody drives."""
        await self._drivers.wake(run_id)

    async def drain(self, grace_seconds: float) -> None:
        """Waits for the runs under way, then stops those that are left, to be taken over."""
        await self._drivers.drain(grace_seconds)

    async def _begin_durably(self, log: RunLog, plan: RunPlan, *, is_placed: bool) -> BegunRun:
        """Makes a new run durable and drives it in the background, if its place is taken."""
        store = self._drivers.create if is_placed else self._drivers.enqueue
        run_id = await store(log, plan.options.key)
        if run_id != log.run.run_id:
            return BegunRun(run_id)
        view = RunView(log.run, log.state)
        if not is_placed:
            return BegunRun(run_id, view)
        driving = self._drivers.in_background(self._drivers.drive(log, plan.agent))
        return BegunRun(run_id, view, log, driving)

    async def _record_of(self, begun: BegunRun, security: SecurityContext) -> RunRecord:
        if begun.log is not None:
            return begun.log.run
        return await self._find(begun.run_id, security)

    async def _end_elsewhere(self, run_id: str, security: SecurityContext) -> RunView:
        await self._drivers.ends.wait(run_id)
        return await self._read(run_id, security)

    async def _read(self, run_id: str, security: SecurityContext) -> RunView:
        run = await self._find(run_id, security)
        # The log may have gone on since the record was read; the answer is of one moment.
        state, at_ms = await folded(self._journal, run_id)
        return RunView(summarized(run, state, at_ms), state)

    async def _find(self, run_id: str, security: SecurityContext) -> RunRecord:
        run = await self._journal.get(security.organization_id, run_id)
        if run is None:
            raise run_not_found(run_id)
        return run

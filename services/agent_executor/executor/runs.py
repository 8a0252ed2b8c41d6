"""What can be done with runs: start, wait, read, follow. Also: take over those of dead owners."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from agent_executor.errors import (
    AgentExecutorError,
    AgentInactiveError,
    LeaseLostError,
    LimitExceededError,
    RunNotFoundError,
    UnavailableError,
)
from agent_executor.executor.agent import AgentVersion
from agent_executor.executor.agents import Agents
from agent_executor.executor.engine import Engine, security_of
from agent_executor.executor.feed import RunFeed
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal import Journal, RunFilter, RunRecord
from agent_executor.executor.run import RunState, fold
from agent_executor.executor.run_event import RunEvent, RunFinished, RunResumed, RunStarted
from agent_executor.executor.run_log import RunLog, summarized
from agent_executor.executor.tools import ToolRunner, require_all
from agent_executor.serving.security import SecurityContext

T = TypeVar("T")

PERMISSION_EXECUTE = "run:execute"
PERMISSION_READ = "run:read"

DEFAULT_MAX_ACTIVE_RUNS: Final = 512
DEFAULT_MAX_WAITING_RUNS: Final = 10_000
MAX_ATTEMPTS: Final = 10
STORAGE_RETRY_SECONDS: Final = 0.5

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunView:
    """A run and its folded state."""

    run: RunRecord
    state: RunState


class Runs:
    """Starts runs, drives them in the background, and answers questions about them."""

    def __init__(
        self,
        *,
        journal: Journal,
        agents: Agents,
        tools: ToolRunner,
        engine: Engine,
        owner: str,
        now_ms: Callable[[], int],
        max_active_runs: int = DEFAULT_MAX_ACTIVE_RUNS,
        max_waiting_runs: int = DEFAULT_MAX_WAITING_RUNS,
    ) -> None:
        self.feed = RunFeed(journal)
        self._journal = journal
        self._agents = agents
        self._tools = tools
        self._engine = engine
        self._owner = owner
        self._now_ms = now_ms
        self._places = asyncio.Semaphore(max_active_runs)
        self._max_runs = max_active_runs + max_waiting_runs
        self._driving: set[asyncio.Task[Any]] = set()
        self._is_draining = False

    @property
    def active_count(self) -> int:
        """How many runs this executor drives or has waiting."""
        return len(self._driving)

    async def execute(
        self,
        agent_id: str,
        text: str,
        security: SecurityContext,
        *,
        traceparent: str = "",
        is_test: bool = False,
    ) -> RunView:
        """Starts a run and waits for its end. A cancelled caller does not stop the run.

        Raises:
            PermissionDeniedError: Without ``run:execute``.
            AgentNotFoundError: There is no such agent in the organization.
            AgentInactiveError: The agent is switched off.
            ToolNotFoundError: The agent has a tool enabled that is not registered.
            LimitExceededError: Too many runs are under way.
            UnavailableError: The storage failed before the first event, or the run was taken over
                by another executor and goes on there.
        """
        log, agent = await self._new_run(agent_id, text, security, traceparent, is_test=is_test)
        await asyncio.shield(self._in_background(self._drive(log, agent)))
        if log.run.last_sequence == 0:
            raise UnavailableError("The run could not be recorded, and has not begun.")
        if log.run.state != log.state.state or log.state.finished is None:
            raise UnavailableError(
                f"Run {log.run.run_id} goes on elsewhere; read it by its id.",
                metadata={"runId": log.run.run_id},
            )
        return RunView(log.run, log.state)

    async def start(
        self, agent_id: str, text: str, security: SecurityContext, *, traceparent: str = ""
    ) -> RunView:
        """Starts a run in the background. It is durable, and survives this process, on return.

        Raises:
            AgentExecutorError: As ``execute``.
        """
        log, agent = await self._new_run(agent_id, text, security, traceparent, is_test=False)
        # A caller that goes away meanwhile must not leave a durable run without a driver.
        return await asyncio.shield(self._in_background(self._begin(log, agent)))

    async def get(self, run_id: str, security: SecurityContext) -> RunView:
        """Returns a run as it stands.

        Raises:
            PermissionDeniedError: Without ``run:read``.
            RunNotFoundError: There is none in the organization.
        """
        run = await self._find(run_id, security)
        events = await self._journal.events(run_id)
        # The log may have gone on since the record was read; the answer is of one moment.
        state = fold(events)
        return RunView(summarized(run, state, events[-1].created_at_ms), state)

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
        """Claims runs of owners that are gone, goes on with them, and returns how many.

        An executor that drains claims none.
        """
        free = min(limit, self._max_runs - len(self._driving))
        if free <= 0 or self._is_draining:
            return 0
        claimed = await self._journal.claim(self._owner, self._now_ms(), free)
        for run in claimed:
            self._in_background(self._resume(run))
        return len(claimed)

    async def drain(self, grace_seconds: float) -> None:
        """Waits for the runs under way, then stops those that are left, to be taken over."""
        self._is_draining = True
        if self._driving:
            await asyncio.wait(self._driving, timeout=grace_seconds)
        left = list(self._driving)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _new_run(
        self,
        agent_id: str,
        text: str,
        security: SecurityContext,
        traceparent: str,
        *,
        is_test: bool,
    ) -> tuple[RunLog, AgentVersion]:
        """Returns the log of a new run with its first event, which is not durable yet."""
        security.require(PERMISSION_EXECUTE)
        agent = await self._agents.load(agent_id, security)
        tool_versions = await self._check(agent, security)
        run = RunRecord(
            run_id=new_id(),
            organization_id=security.organization_id,
            user_id=security.user_id,
            permissions=tuple(sorted(security.permissions)),
            agent_id=agent_id,
            agent_version=agent.version,
            model=agent.model,
            input=text,
            is_test=is_test,
            traceparent=traceparent,
            created_at_ms=self._now_ms(),
            owner=self._owner,
        )
        log = self._log(run, RunState())
        log.add(
            RunStarted(
                agent_id=agent_id,
                agent_version=agent.version,
                model=agent.model,
                input=text,
                is_test=is_test,
                tool_versions=tool_versions,
            )
        )
        return log, agent

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
        if len(self._driving) >= self._max_runs:
            raise LimitExceededError(
                f"{len(self._driving)} runs are under way or waiting, which is the limit.",
                metadata={"maxRuns": str(self._max_runs)},
                retry_after_seconds=1.0,
            )
        return {tool.name: tool.version for tool in known if tool.version}

    def _log(self, run: RunRecord, state: RunState) -> RunLog:
        return RunLog(self._journal, run, state, self._now_ms, self.feed.notify)

    def _in_background(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(coroutine)
        self._driving.add(task)
        task.add_done_callback(self._driving.discard)
        return task

    async def _begin(self, log: RunLog, agent: AgentVersion) -> RunView:
        """Makes a new run durable and drives it in the background."""
        await log.commit()
        view = RunView(log.run, log.state)
        self._in_background(self._drive(log, agent))
        return view

    async def _drive(self, log: RunLog, agent: AgentVersion) -> None:
        """Drives a run to its end; whatever goes wrong is logged and ends this run only."""
        async with self._places:
            try:
                await self._engine.drive(log, agent)
            except LeaseLostError:
                _LOGGER.warning("Run %s is driven by another executor now.", log.run.run_id)
            except AgentExecutorError as error:
                await self._fail(log, error.message, error.reason)
            except Exception:
                _LOGGER.exception("Run %s failed inside the executor.", log.run.run_id)
                await self._fail(log, "The run failed inside the executor.", "INTERNAL")

    async def _fail(self, log: RunLog, error: str, code: str) -> None:
        """Ends a run that its driver could not, so that nobody waits for it forever.

        What it has used is settled first, as at every end of a run.
        """
        run_id = log.run.run_id
        try:
            await self._commit(log)
            try:
                await self._engine.settle(log)
            except AgentExecutorError:
                _LOGGER.exception("What run %s has used could not be settled.", run_id)
            log.add(RunFinished(state="failed", error=error, code=code))
            await self._commit(log)
        except Exception:
            _LOGGER.exception("Run %s could not be ended.", run_id)

    async def _commit(self, log: RunLog) -> None:
        """Commits. Once a run is durable the storage is waited for: nobody else would end it."""
        if log.run.last_sequence == 0:
            await log.commit()
        else:
            await _until_storage_is_back(log.commit)

    async def _resume(self, run: RunRecord) -> None:
        """Goes on with a run that was claimed."""
        _LOGGER.info("Run %s is taken over, attempt %d.", run.run_id, run.attempt)
        # Enough to end the run, should its log be unreadable.
        log = self._log(run, _summary(run))
        try:
            events = await _until_storage_is_back(lambda: self._journal.events(run.run_id))
            log = self._log(run, fold(events))
            agent = await _until_storage_is_back(
                lambda: self._agents.load(run.agent_id, security_of(run), run.agent_version)
            )
        except Exception:
            _LOGGER.exception("Run %s cannot be read.", run.run_id)
            await self._fail(log, "What was recorded of the run cannot be read.", "INTERNAL")
            return
        log.add(RunResumed(attempt=run.attempt))
        if run.attempt > MAX_ATTEMPTS:
            message = f"The run was taken over {MAX_ATTEMPTS} times without reaching its end."
            await self._fail(log, message, "INTERNAL")
            return
        await self._drive(log, agent)

    async def _find(self, run_id: str, security: SecurityContext) -> RunRecord:
        security.require(PERMISSION_READ)
        run = await self._journal.get(security.organization_id, run_id)
        if run is None:
            raise RunNotFoundError(f"Run {run_id} does not exist.", metadata={"runId": run_id})
        return run


async def _until_storage_is_back(operation: Callable[[], Awaitable[T]]) -> T:
    """Returns what a storage operation gives, repeating it while the storage is away."""
    while True:
        try:
            return await operation()
        except LeaseLostError:
            raise
        except UnavailableError as error:
            _LOGGER.warning("The storage is waited for: %s", error.message)
            await asyncio.sleep(STORAGE_RETRY_SECONDS)


def _summary(run: RunRecord) -> RunState:
    """Returns what a run's record alone says of its state."""
    return RunState(
        state=run.state,
        model=run.model,
        input=run.input,
        is_test=run.is_test,
        tokens_used=run.tokens_used,
        cost_nano_usd=run.cost_nano_usd,
        last_sequence=run.last_sequence,
    )

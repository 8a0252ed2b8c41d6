"""The runs that this executor drives: in the background, to their end, also those of dead owners."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from agent_executor.errors import (
    AgentExecutorError,
    LeaseLostError,
    LimitExceededError,
    UnavailableError,
)
from agent_executor.executor.agent import AgentVersion
from agent_executor.executor.agents import Agents
from agent_executor.executor.conversations.conversations import Conversations
from agent_executor.executor.driven_run import security_of
from agent_executor.executor.engine import Engine
from agent_executor.executor.event_pages import folded
from agent_executor.executor.feed import RunFeed
from agent_executor.executor.journal import Journal, RunRecord
from agent_executor.executor.run import RunState
from agent_executor.executor.run_event import RunFinished, RunResumed
from agent_executor.executor.run_log import RunLog

T = TypeVar("T")

DEFAULT_MAX_ACTIVE_RUNS: Final = 512
DEFAULT_MAX_WAITING_RUNS: Final = 10_000
MAX_ATTEMPTS: Final = 10
STORAGE_RETRY_SECONDS: Final = 0.5

_LOGGER = logging.getLogger(__name__)


class RunDrivers:
    """Drives runs, at most so many at a time. A paused run gives its place to others.

    Attributes:
        feed: Tells readers of a run that it has new events.
        owner: This executor, as runs name their owner.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        agents: Agents,
        conversations: Conversations,
        engine: Engine,
        owner: str,
        now_ms: Callable[[], int],
        max_active_runs: int = DEFAULT_MAX_ACTIVE_RUNS,
        max_waiting_runs: int = DEFAULT_MAX_WAITING_RUNS,
    ) -> None:
        self.feed = RunFeed(journal)
        self.owner = owner
        self._journal = journal
        self._agents = agents
        self._conversations = conversations
        self._engine = engine
        self._now_ms = now_ms
        self._places = asyncio.Semaphore(max_active_runs)
        self._max_runs = max_active_runs + max_waiting_runs
        self._driving: set[asyncio.Task[Any]] = set()
        self._draining = asyncio.Event()

    @property
    def active_count(self) -> int:
        """How many runs this executor drives or has waiting, paused ones included."""
        return len(self._driving)

    def require_room(self) -> None:
        """Checks that one more run may wait for its turn.

        Raises:
            LimitExceededError: Too many runs are under way.
        """
        if len(self._driving) >= self._max_runs:
            raise LimitExceededError(
                f"{len(self._driving)} runs are under way or waiting, which is the limit.",
                metadata={"maxRuns": str(self._max_runs)},
                retry_after_seconds=1.0,
            )

    def log_of(self, run: RunRecord, state: RunState) -> RunLog:
        """Returns the log of a run as its driver holds it."""
        return RunLog(self._journal, run, state, self._now_ms, self.feed.notify)

    def in_background(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begins what belongs to a run and goes on when nobody waits for it."""
        task = asyncio.create_task(coroutine)
        self._driving.add(task)
        task.add_done_callback(self._driving.discard)
        return task

    async def drive(self, log: RunLog, agent: AgentVersion) -> None:
        """Drives a run to its end; whatever goes wrong is logged and ends this run only.

        A run that is paused when this executor drains is left to an heir.
        """
        while True:
            async with self._places:
                delay_seconds = await self._drive_on(log, agent)
            if delay_seconds is None or await self._is_drained_within(delay_seconds):
                return

    async def take_over(self, limit: int) -> int:
        """Claims runs of owners that are gone, goes on with them, and returns how many.

        An executor that drains claims none.
        """
        free = min(limit, self._max_runs - len(self._driving))
        if free <= 0 or self._draining.is_set():
            return 0
        claimed = await self._journal.claim(self.owner, self._now_ms(), free)
        for run in claimed:
            self.in_background(self._resume(run))
        return len(claimed)

    async def drain(self, grace_seconds: float) -> None:
        """Waits for the runs under way, then stops those that are left, to be taken over."""
        self._draining.set()
        if self._driving:
            await asyncio.wait(self._driving, timeout=grace_seconds)
        left = list(self._driving)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._engine.close()

    async def _is_drained_within(self, seconds: float) -> bool:
        """Waits so long, or until this executor drains, and returns whether it does."""
        # Not wait_for, which in Python 3.11 can lose a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        return self._draining.is_set()

    async def _drive_on(self, log: RunLog, agent: AgentVersion) -> float | None:
        """Drives a run and returns after how many seconds it is to be driven again, if it is."""
        run_id = log.run.run_id
        try:
            return await self._engine.drive(log, agent)
        except LeaseLostError:
            _LOGGER.warning("Run %s is driven by another executor now.", run_id)
        except AgentExecutorError as error:
            await self._fail(log, error.message, error.reason)
        except Exception:
            _LOGGER.exception("Run %s failed inside the executor.", run_id)
            await self._fail(log, "The run failed inside the executor.", "INTERNAL")
        return None

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
        log = self.log_of(run, _summary(run))
        try:
            state, _ = await _until_storage_is_back(lambda: folded(self._journal, run.run_id))
            log = self.log_of(run, state)
            log.history = await _until_storage_is_back(
                lambda: self._conversations.history(run, state)
            )
            agent = await _until_storage_is_back(
                lambda: self._agents.load(run.agent_id, security_of(run), run.agent_version)
            )
        except Exception:
            _LOGGER.exception("Run %s cannot be read.", run.run_id)
            await self._fail(log, "What was recorded of the run cannot be read.", "INTERNAL")
            return
        log.add(RunResumed(attempt=run.attempt))
        # A run that waits for money may do so for many lives of its executors.
        if run.attempt - log.state.takeovers_in_pause > MAX_ATTEMPTS:
            message = f"The run was taken over {MAX_ATTEMPTS} times without reaching its end."
            await self._fail(log, message, "INTERNAL")
            return
        await self.drive(log, agent)


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

"""The runs that this executor drives: in the background, to their end, also those of dead owners."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from agent_executor.errors import (
    AgentExecutorError,
    LeaseLostError,
    UnavailableError,
)
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.approvals.parked_runs import ParkedRuns
from agent_executor.executor.driving.cancellations import Cancellations
from agent_executor.executor.driving.engine import Engine
from agent_executor.executor.driving.lost_runs import LostRuns
from agent_executor.executor.driving.run_ends import RunEnds
from agent_executor.executor.driving.run_lines import log_end
from agent_executor.executor.driving.run_loader import RunLoader
from agent_executor.executor.driving.run_metrics import RunMetrics
from agent_executor.executor.driving.scheduler import DEFAULT_MAX_ACTIVE_RUNS, Scheduler
from agent_executor.executor.journal.journal import IdempotencyKey, Journal, RunRecord
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_event import RunFinished, RunResumed
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.log.run_waiting import WAITING
from agent_executor.executor.runs.admission import Admission
from agent_executor.executor.streams.feed import RunFeed
from agent_executor.serving.cancellation import StopSignal

T = TypeVar("T")

MAX_FRUITLESS_ATTEMPTS: Final = 10
STORAGE_RETRY_SECONDS: Final = 0.5

_LOGGER = logging.getLogger(__name__)


class RunDrivers:
    """Drives runs, at most so many at a time. A paused run gives its place to others.

    Attributes:
        feed: Tells readers of a run that it has new events.
        ends: Tells those who wait for a run that it has ended.
        owner: This executor, as runs name their owner.
        cancellations: Ends runs before their time.
        storage_patience_seconds: How long a run waits for a storage that fails.
        metrics: Where runs are counted.
        on_webhook_due: Called when a run has ended whose end is to be told; None: nobody is called.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        loader: RunLoader,
        parked: ParkedRuns,
        engine: Engine,
        owner: str,
        now_ms: Callable[[], int],
        max_active_runs: int = DEFAULT_MAX_ACTIVE_RUNS,
        admission: Admission | None = None,
    ) -> None:
        self.storage_patience_seconds = 0.0
        self.metrics = RunMetrics()
        self.feed = RunFeed(journal)
        self.ends = RunEnds(journal)
        self.on_webhook_due: Callable[[], None] | None = None
        self.owner = owner
        self._journal = journal
        self._loader = loader
        self._parked = parked
        self._engine = engine
        self._now_ms = now_ms
        self._admission = admission or Admission(journal)
        self._scheduler = Scheduler(
            journal=journal,
            owner=owner,
            now_ms=now_ms,
            begin=self._take_up,
            spawn=self.in_background,
            max_active_runs=max_active_runs,
        )
        self._places = self._scheduler.places
        self._driving: set[asyncio.Task[Any]] = set()
        self._draining = asyncio.Event()
        self.cancellations = Cancellations(
            journal=journal, ends=self.ends, owner=owner, now_ms=now_ms, wake=self.wake
        )
        self._lost_runs = LostRuns(journal, owner, self.cancellations.is_driven)

    @property
    def active_count(self) -> int:
        """How many runs this executor drives, paused ones included."""
        return len(self._driving)

    @property
    def is_draining(self) -> bool:
        """Whether this executor is about to stop."""
        return self._draining.is_set()

    def take_place(self, organization_id: str) -> bool:
        """Takes the place that a new run is driven in; False if the run has to wait for its turn."""
        return self._scheduler.take_place(organization_id)

    async def create(self, log: RunLog, key: IdempotencyKey | None) -> str:
        """Makes a new run durable, whose place is taken. See ``RunLog.commit``, which it is.

        The place is given back unless the run is now to be driven in it.
        """
        try:
            run_id = await log.commit(key)
        except BaseException:
            self._places.give_back(log.run.organization_id)
            raise
        if run_id != log.run.run_id:
            self._places.give_back(log.run.organization_id)
        return run_id

    async def enqueue(self, log: RunLog, key: IdempotencyKey | None) -> str:
        """Makes a new run durable that waits for its turn, here or at another executor.

        Returns:
            As ``RunLog.commit``.

        Raises:
            LimitExceededError: Too many runs wait.
        """
        async with self._admission.admitted(log.run.organization_id):
            run_id = await log.commit(key)
        self._scheduler.note_waiting()
        return run_id

    def log_of(self, run: RunRecord, state: RunState) -> RunLog:
        """Returns the log of a run as its driver holds it."""
        patience_seconds = self.storage_patience_seconds
        return RunLog(self._journal, run, state, self._now_ms, self.feed, patience_seconds)

    def in_background(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begins what belongs to a run and goes on when nobody waits for it."""
        task = asyncio.create_task(coroutine)
        self._driving.add(task)
        task.add_done_callback(self._driving.discard)
        return task

    async def drive(self, log: RunLog, agent: AgentVersion, *, is_placed: bool = True) -> None:
        """Drives a run, whose place is taken, to its end; whatever goes wrong ends this run only.

        A run that is paused when this executor drains is left to an heir; one that is parked, to
        whoever learns that it can go on. One that is to end waits for nothing, nor for a place.
        """
        await self._drive_to_end(log, agent, is_placed=is_placed)
        if log.is_parked:
            await self._look_again(log.run)

    async def _drive_to_end(self, log: RunLog, agent: AgentVersion, *, is_placed: bool) -> None:
        organization_id, stop = log.run.organization_id, log.stop
        with self.cancellations.driving(log):
            while True:
                try:
                    delay_seconds = await self._drive_on(log, agent)
                finally:
                    if is_placed:
                        self._places.give_back(organization_id)
                # Not what the state says, whose last events may belong to nobody.
                if log.run.ended_at_ms:
                    self.metrics.ended(log.run, agent.name)
                    self._tell_end(log.run)
                if delay_seconds is None or await self._is_drained_within(delay_seconds, stop):
                    return
                is_placed = bool(await stop.bound(self._places.take(organization_id)))
                if not is_placed and not stop.is_set:
                    return

    async def take_over(self) -> int:
        """Claims runs that nobody drives, goes on with them, and returns how many.

        It claims as many as there are places free, and none if this executor drains.
        """
        await self._lost_runs.give_up()
        count = await self._scheduler.take_over()
        # All at once, so that their claims share commits.
        parked = await self._parked.to_wake(self._places.free)
        return count + sum(await asyncio.gather(*map(self.wake, parked)))

    async def wake(self, run_id: str) -> bool:
        """Claims one run, parked or not, and goes on with it; False if somebody drives it."""
        if self._draining.is_set():
            return False
        run = await self._journal.claim_run(self.owner, run_id, self._now_ms())
        if run is not None:
            self._take_up(run)
        return run is not None

    def begin_drain(self) -> None:
        """Takes up no more runs, and tells those who wait for one that it goes on elsewhere."""
        self._draining.set()
        self._scheduler.drain()
        self.ends.close()

    async def drain(self, grace_seconds: float) -> None:
        """Waits for the runs under way, then stops those that are left, to be taken over."""
        self.begin_drain()
        if self._driving:
            await asyncio.wait(self._driving, timeout=grace_seconds)
        left = list(self._driving)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.cancellations.close()
        await self._engine.close()

    async def _is_drained_within(self, seconds: float, stop: StopSignal) -> bool:
        """Waits so long, or until this executor drains or the run is to end; returns if it drains."""
        # Not wait_for, which in Python 3.11 can lose a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.bound(self._draining.wait())
        return self._draining.is_set()

    async def _look_again(self, run: RunRecord, *, is_due: bool = False) -> None:
        """Goes on with a run that was parked while somebody decided about it, or whose time has come.

        Who decided before could not claim it, since it was driven; who decides from now on can.
        """
        try:
            if is_due or await self._parked.can_go_on(run.run_id):
                await self.wake(run.run_id)
            elif (delay_seconds := self._parked.wake_delay_seconds(run)) is not None:
                asyncio.get_running_loop().call_later(delay_seconds, self._look_when_due, run)
        except AgentExecutorError as error:
            _LOGGER.warning("Run %s is looked at later: %s", run.run_id, error.message)

    def _look_when_due(self, run: RunRecord) -> None:
        if not self._draining.is_set():
            self.in_background(self._look_again(run, is_due=True))

    async def _drive_on(self, log: RunLog, agent: AgentVersion) -> float | None:
        """Drives a run and returns after how many seconds it is to be driven again, if it is."""
        run_id = log.run.run_id
        try:
            if log.run.parent_run_id:
                await self.cancellations.join_parent(log)
            return await self._engine.drive(log, agent)
        except LeaseLostError:
            self.metrics.lost()
            _LOGGER.warning("Run %s is driven by another executor now.", run_id)
        except AgentExecutorError as error:
            await self._fail(log, error.message, error.reason)
        except Exception:
            _LOGGER.exception("Run %s failed inside the executor.", run_id)
            await self._fail(log, "The run failed inside the executor.", "INTERNAL")
        return None

    async def _fail(self, log: RunLog, error: str, code: str) -> None:
        """Ends a run that its driver could not, so that nobody waits for it forever.

        What it has used is settled first, as at every end of a run. If the events that wait can not
        be written, for what is in them, it is ended without them.
        """
        run_id = log.run.run_id
        try:
            try:
                await self._end_failed(log, error, code)
            except AgentExecutorError:
                raise
            except Exception:
                if log.run.last_sequence == 0:
                    raise
                _LOGGER.exception("What run %s has added cannot be written.", run_id)
                await _until_storage_is_back(log.forget_unwritten)
                await self._end_failed(log, error, code)
        except Exception:
            _LOGGER.exception("Run %s could not be ended.", run_id)

    async def _give_up(self, log: RunLog, error: str) -> None:
        """Ends a run that is not driven at all."""
        await self._fail(log, error, "INTERNAL")
        if log.run.ended_at_ms:
            self.metrics.ended(log.run)
            self._tell_end(log.run)

    async def _end_failed(self, log: RunLog, error: str, code: str) -> None:
        await self._commit(log)
        # Its very end may be what could not be written at first.
        if log.state.finished is not None:
            return
        try:
            await self._engine.settle(log)
        except AgentExecutorError:
            _LOGGER.exception("What run %s has used could not be settled.", log.run.run_id)
        log.add(RunFinished(state="failed", error=error, code=code))
        await self._commit(log)

    def _tell_end(self, run: RunRecord) -> None:
        log_end(run)
        self.ends.ended(run.run_id)
        if run.has_webhook and self.on_webhook_due is not None:
            self.on_webhook_due()

    async def _commit(self, log: RunLog) -> None:
        """Commits. Once a run is durable the storage is waited for: nobody else would end it."""
        if log.run.last_sequence == 0:
            await log.commit()
        else:
            await _until_storage_is_back(log.commit)

    def _take_up(self, run: RunRecord) -> None:
        """Begins to drive a run that was claimed, in a place that it is the next to get."""
        is_placed = self._places.take_now(run.organization_id)
        self.in_background(self._go_on(run, is_placed=is_placed))

    async def _go_on(self, run: RunRecord, *, is_placed: bool) -> None:
        organization_id, run_id, waits = run.organization_id, run.run_id, not is_placed
        claimed_at = time.monotonic()
        if waits and not run.cancel_requested_at_ms:
            with self.cancellations.expecting(run_id) as stop:
                is_placed = bool(await stop.bound(self._places.take(organization_id)))
            if not is_placed and not stop.is_set:
                return
        loaded = None
        try:
            if waits:
                # It may have been asked to end meanwhile. Nobody else would go on with it.
                stored = await _until_storage_is_back(
                    lambda: self._journal.get(organization_id, run_id)
                )
                run = stored or run
            loaded = await self._load(run)
        finally:
            if loaded is None and is_placed:
                self._places.give_back(organization_id)
        if loaded is not None:
            log, agent = loaded
            if run.attempt > 1:
                was_parked = run.state == WAITING
                self.metrics.taken_over(time.monotonic() - claimed_at, was_parked=was_parked)
            await self.drive(log, agent, is_placed=is_placed)

    async def _load(self, run: RunRecord) -> tuple[RunLog, AgentVersion] | None:
        """Returns the log and the agent of a run that was claimed; None if it had to be ended."""
        # Enough to end the run, should its log be unreadable.
        log = self.log_of(run, _summary(run))
        try:
            state, history = await _until_storage_is_back(lambda: self._loader.state(run))
            log = self.log_of(run, state)
            log.history = history
            if run.cancel_requested_at_ms:
                await _until_storage_is_back(lambda: self.cancellations.tell(log, run))
            agent = await _until_storage_is_back(lambda: self._loader.agent(run))
        except Exception:
            _LOGGER.exception("Run %s cannot be read.", run.run_id)
            await self._give_up(log, "What was recorded of the run cannot be read.")
            return None
        # A run that waited for its turn has its first one.
        if run.attempt > 1:
            _LOGGER.info("Run %s is taken over, attempt %d.", run.run_id, run.attempt)
            log.add(RunResumed(attempt=run.attempt))
        # A long run may outlive many executors; one that ends each of them may not go on so.
        if run.attempt - log.state.fruitful_attempt > MAX_FRUITLESS_ATTEMPTS:
            message = f"The run was taken over {MAX_FRUITLESS_ATTEMPTS} times without getting any further."
            await self._give_up(log, message)
            return None
        return log, agent


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

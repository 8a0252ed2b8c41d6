"""Ending runs before their time, wherever they are driven.

A request is stored first, once; then whoever drives the run hears of it: in the same process at
once, elsewhere by asking the journal for the requests of all its runs. A run that nobody drives is
claimed, to be ended here. Whoever takes a run over finds the request in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec

from agent_executor.errors import AgentExecutorError, UnavailableError
from agent_executor.executor.driving.run_ends import RunEnds
from agent_executor.executor.journal.journal import Journal, RunFilter, RunRecord
from agent_executor.executor.log.run import FINAL_STATES
from agent_executor.executor.log.run_event import CancelRequested
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.runs.cancel_receipt import CancelReceipt, child_run_ids, receipt_of
from agent_executor.serving.cancellation import StopSignal

# How often an executor looks for requests that came in elsewhere, for all its runs at once.
POLL_SECONDS: Final = 0.2
# How long the end of a run is waited for if its caller would wait for longer.
WAIT_SECONDS_MAX: Final = 30.0
_PAGE: Final = 1_000
_CANCELLED: Final = "cancelled"

_LOGGER = logging.getLogger(__name__)


class Cancellations:
    """Asks runs to end, and tells those that are driven here.

    Args:
        journal: Where requests are stored.
        ends: Tells when runs have ended.
        owner: This executor, as runs name their owner.
        now_ms: The time in milliseconds since 1970-01-01 UTC.
        wake: Claims a run and goes on with it, in the background, if nobody drives it.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        ends: RunEnds,
        owner: str,
        now_ms: Callable[[], int],
        wake: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._journal = journal
        self._ends = ends
        self._owner = owner
        self._now_ms = now_ms
        self._wake = wake
        self._driven: dict[str, RunLog] = {}
        self._expected: dict[str, StopSignal] = {}
        self._drives_any = asyncio.Event()
        self._polling: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def driving(self, log: RunLog) -> Iterator[None]:
        """Lets requests reach a run while it is driven here."""
        run_id = log.run.run_id
        self._driven[run_id] = log
        self._drives_any.set()
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll(), name="cancellations")
        try:
            yield
        finally:
            # A run that was parked may be driven again here before its former driver is at its end.
            if self._driven.get(run_id) is log:
                del self._driven[run_id]
            if not self._driven:
                self._drives_any.clear()

    @contextlib.contextmanager
    def expecting(self, run_id: str) -> Iterator[StopSignal]:
        """Yields a signal that is given if a run is to end that waits here to be driven."""
        signal = self._expected[run_id] = StopSignal()
        try:
            yield signal
        finally:
            del self._expected[run_id]

    @property
    def owned_count(self) -> int:
        """How many runs are driven here, or wait here to be."""
        return len(self._driven) + len(self._expected)

    def is_driven(self, run_id: str) -> bool:
        """Tells whether a run is driven here, or waits here for a place to be driven in."""
        return run_id in self._driven or run_id in self._expected

    async def close(self) -> None:
        """Hears no more of requests."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def cancel(
        self, run: RunRecord, user_id: str, reason: str, timeout_seconds: float
    ) -> CancelReceipt:
        """Ends a run with those that it has started, and returns once nothing of it runs any more.

        Args:
            run: The run. One that has ended is left as it is.
            user_id: Who wants its end; empty if its caller went away.
            reason: Why.
            timeout_seconds: How long its end is waited for.

        Raises:
            UnavailableError: It has not ended yet; it will, once its executor hears of it or it is
                taken over.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                if run.state not in FINAL_STATES:
                    await self.request(run, user_id, reason)
                    await self._until_ended(run)
                return await self._receipt(run)
        except TimeoutError:
            raise UnavailableError(
                f"Run {run.run_id} was asked to end and has not ended yet; ask again.",
                metadata={"runId": run.run_id},
                retry_after_seconds=1.0,
            ) from None

    async def request(self, run: RunRecord, user_id: str, reason: str) -> None:
        """Stores that a run is to end, the first time, and tells whoever drives it.

        Raises:
            UnavailableError: The storage failed.
        """
        requested = msgspec.structs.replace(
            run,
            cancel_requested_at_ms=self._now_ms(),
            cancel_user_id=user_id,
            cancel_reason=reason,
        )
        await self._journal.request_cancel(requested)
        await self._reach(requested)

    async def tell(self, log: RunLog, run: RunRecord) -> None:
        """Tells a run's driver, in this process, that it is to end, and those that it has started.

        That these are to end is stored first, since whoever takes the run over must not forget them.

        Args:
            log: The run, as its driver holds it.
            run: Its record, with the request.
        """
        if log.cancel is not None:
            return
        children = await self._request_children(run)
        ids = tuple(sorted(child.run_id for child in children))
        log.request_cancel(CancelRequested(run.cancel_user_id, run.cancel_reason, ids))
        await asyncio.gather(*map(self._reach, children))

    async def join_parent(self, log: RunLog) -> None:
        """Lets a run that has just begun end if the run that started it is to end.

        Whoever ends the parent looks for its children after the request is stored; this looks for
        the request after the child is stored: one of both finds the other.
        """
        run = log.run
        await log.commit()
        parent = await self._journal.get(run.organization_id, run.parent_run_id)
        if parent is None or not parent.cancel_requested_at_ms:
            return
        if parent.state == _CANCELLED or parent.state not in FINAL_STATES:
            await self.request(log.run, parent.cancel_user_id, parent.cancel_reason)

    async def _reach(self, run: RunRecord) -> None:
        """Lets a request be heard if the run is driven here, or by nobody."""
        log, expected = self._driven.get(run.run_id), self._expected.get(run.run_id)
        if expected is not None:
            expected.set()
        elif log is not None:
            stored = await self._journal.get(run.organization_id, run.run_id)
            # A run whose first event is not durable yet is not in the journal.
            await self.tell(log, stored if stored and stored.cancel_requested_at_ms else run)
        else:
            await self._wake(run.run_id)

    async def _request_children(self, run: RunRecord) -> list[RunRecord]:
        """Stores that all that a run has started, also indirectly, is to end, and returns it.

        What has ended is left out.
        """
        found: list[RunRecord] = []
        parents = [run]
        while parents:
            children = await self._children_of(parents.pop())
            parents += children
            found += [child for child in children if child.state not in FINAL_STATES]
        requested = [
            msgspec.structs.replace(
                child,
                cancel_requested_at_ms=self._now_ms(),
                cancel_user_id=run.cancel_user_id,
                cancel_reason=run.cancel_reason,
            )
            for child in found
        ]
        await asyncio.gather(*map(self._journal.request_cancel, requested))
        return requested

    async def _children_of(self, run: RunRecord) -> list[RunRecord]:
        children: list[RunRecord] = []
        while True:
            page = await self._journal.list_runs(
                run.organization_id,
                _PAGE,
                before_run_id=children[-1].run_id if children else "",
                run_filter=RunFilter(parent_run_id=run.run_id),
            )
            children += page
            if len(page) < _PAGE:
                return children

    async def _until_ended(self, run: RunRecord) -> None:
        """Returns once a run has ended, and claims it should its driver die meanwhile."""
        reaching = asyncio.create_task(self._reach_again_and_again(run))
        try:
            await self._ends.wait(run.run_id)
        finally:
            reaching.cancel()
            await asyncio.gather(reaching, return_exceptions=True)

    async def _reach_again_and_again(self, run: RunRecord) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            with contextlib.suppress(AgentExecutorError):
                await self._reach(run)

    async def _receipt(self, run: RunRecord) -> CancelReceipt:
        events = await self._journal.events(run.run_id)
        stopped = []
        for child_id in child_run_ids(events):
            child = await self._journal.get(run.organization_id, child_id)
            if child is not None and child.state not in FINAL_STATES:
                await self._until_ended(child)
                child = await self._journal.get(run.organization_id, child_id)
            if child is not None and child.state == _CANCELLED:
                stopped.append(child_id)
        return receipt_of(run.run_id, events, stopped)

    async def _poll(self) -> None:
        """Looks for requests that came in elsewhere, for as long as any run is driven here."""
        while True:
            await self._drives_any.wait()
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._hear()
            except AgentExecutorError as error:
                _LOGGER.warning("Requests to end runs could not be read: %s", error.message)
            except Exception:  # a bug must not make the executor deaf
                _LOGGER.exception("Requests to end runs could not be read.")

    async def _hear(self) -> None:
        if not self._driven:
            return
        for run in await self._journal.cancel_requested(self._owner):
            log = self._driven.get(run.run_id)
            if log is not None:
                await self.tell(log, run)

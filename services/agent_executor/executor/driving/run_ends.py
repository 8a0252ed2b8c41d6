"""Waits for the ends of runs, wherever they are driven."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from agent_executor.errors import AgentExecutorError, UnavailableError
from agent_executor.executor.journal.journal import Journal

# How soon the end of a run that another executor drives is seen.
POLL_INTERVAL_SECONDS: Final = 0.25

_LOGGER = logging.getLogger(__name__)


class RunEnds:
    """Wakes those who wait for runs to end.

    Ends of runs of this process are told at once. For all others one read asks the journal, however
    many are waited for.
    """

    def __init__(
        self, journal: Journal, poll_interval_seconds: float = POLL_INTERVAL_SECONDS
    ) -> None:
        self._journal = journal
        self._poll_interval_seconds = poll_interval_seconds
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._polling: asyncio.Task[None] | None = None
        self._is_closed = False

    def ended(self, run_id: str) -> None:
        """Says that a run has ended, durably."""
        for waiter in self._waiters.pop(run_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, run_id: str) -> None:
        """Returns once a run has ended.

        Raises:
            UnavailableError: This executor stops, and the run goes on elsewhere.
        """
        if self._is_closed:
            raise goes_on_elsewhere(run_id)
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(run_id, []).append(waiter)
        try:
            # It may have ended before it was waited for.
            if await self._journal.ended([run_id]):
                return
            if self._polling is None or self._polling.done():
                self._polling = asyncio.create_task(self._poll())
            await waiter
        finally:
            others = self._waiters.get(run_id, [])
            if waiter in others:
                others.remove(waiter)
            if not others:
                self._waiters.pop(run_id, None)

    def close(self) -> None:
        """Tells those who wait that they wait in vain."""
        self._is_closed = True
        if self._polling is not None:
            self._polling.cancel()
        for run_id, waiters in self._waiters.items():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(goes_on_elsewhere(run_id))

    async def _poll(self) -> None:
        while self._waiters:
            await asyncio.sleep(self._poll_interval_seconds)
            try:
                for run_id in await self._journal.ended(list(self._waiters)):
                    self.ended(run_id)
            except AgentExecutorError as error:
                _LOGGER.warning("Ends of runs could not be read: %s", error.message)
            except Exception:  # a bug must not leave those waiting who do
                _LOGGER.exception("Ends of runs could not be read.")


def goes_on_elsewhere(run_id: str) -> UnavailableError:
    """Returns what is told to whoever waits for a run that this executor does not drive any more."""
    return UnavailableError(
        f"Run {run_id} goes on elsewhere; read it by its id.", metadata={"runId": run_id}
    )

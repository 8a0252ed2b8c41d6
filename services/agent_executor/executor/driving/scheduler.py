"""Which runs are driven here, and when: each organization in its turn, as places become free."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.driving.places import Places
from agent_executor.executor.journal.journal import Journal, RunRecord

DEFAULT_MAX_ACTIVE_RUNS: Final = 512
MAX_CLAIMED_AT_ONCE: Final = 64

_LOGGER = logging.getLogger(__name__)


class Scheduler:
    """Gives places to runs.

    A new run gets one at once if one is free and no run waits for its turn. Runs that wait are in
    the journal and nowhere else; as places become free, this executor claims as many, of the
    organizations that hold the fewest of its places first. Others on the same journal do so too.

    Args:
        journal: Where runs wait.
        owner: This executor, as runs name their owner.
        now_ms: The present.
        begin: Begins to drive a run that was claimed.
        spawn: Runs a coroutine as a task that is waited for when this executor drains.
        max_active_runs: How many places there are.

    Attributes:
        places: The places.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        owner: str,
        now_ms: Callable[[], int],
        begin: Callable[[RunRecord], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        max_active_runs: int = DEFAULT_MAX_ACTIVE_RUNS,
    ) -> None:
        self.places = Places(max_active_runs, self._claim_soon)
        self._journal = journal
        self._owner = owner
        self._now_ms = now_ms
        self._begin = begin
        self._spawn = spawn
        # One at a time, so that no two claim runs for the same places.
        self._claim = asyncio.Lock()
        self._may_wait = False
        self._is_claiming = False
        self._has_missed_a_look = False
        self._is_draining = False

    def take_place(self, organization_id: str) -> bool:
        """Takes a place for a new run if it need not wait for its turn, and tells whether it did."""
        if self._may_wait or self._is_claiming or self._is_draining:
            return False
        return self.places.take_now(organization_id)

    def note_waiting(self) -> None:
        """Says that a run was stored that waits for its turn."""
        self._may_wait = True
        if self.places.free:
            self._claim_soon()

    async def take_over(self) -> int:
        """Claims all runs that nobody drives, dead owners' too, as far as there are free places.

        Returns:
            How many. If no place is free, the next one that is goes to such a run as well.
        """
        if not self.places.free:
            self._has_missed_a_look = True
        count = 0
        while claimed := await self._claim_some(waiting_only=False):
            count += claimed
        return count

    def drain(self) -> None:
        """Claims nothing any more, and gives nobody a place."""
        self._is_draining = True
        self.places.close()

    def _claim_soon(self) -> None:
        """Begins to claim for the places that are free, if a run may wait for one."""
        is_needed = self._may_wait or self._has_missed_a_look
        if is_needed and not self._is_claiming and not self._is_draining:
            self._is_claiming = True
            self._spawn(self._claim_while_some_wait())

    async def _claim_while_some_wait(self) -> None:
        try:
            while (self._may_wait or self._has_missed_a_look) and self.places.free:
                if self._is_draining:
                    return
                waiting_only, self._has_missed_a_look = not self._has_missed_a_look, False
                await self._claim_some(waiting_only=waiting_only)
        except AgentExecutorError as error:
            # The next place that becomes free, or the next look at the journal, tries again.
            _LOGGER.warning("Runs that wait for their turn could not be claimed: %s", error.message)
        except Exception:  # as above; nobody waits for this task
            _LOGGER.exception("Runs that wait for their turn could not be claimed.")
        finally:
            self._is_claiming = False

    async def _claim_some(self, *, waiting_only: bool) -> int:
        async with self._claim:
            limit = min(self.places.free, MAX_CLAIMED_AT_ONCE)
            if not limit or self._is_draining:
                return 0
            # Before the look, since a run that comes after it must not be forgotten.
            self._may_wait = False
            claimed: list[RunRecord] | None = None
            try:
                claimed = await self._journal.claim(
                    self._owner,
                    self._now_ms(),
                    limit,
                    waiting_only=waiting_only,
                    driven=self.places.held,
                )
            finally:
                # Fewer than asked for may mean that another executor claimed at the same time.
                self._may_wait = self._may_wait or claimed is None or bool(claimed)
            for run in claimed:
                self._begin(run)
            return len(claimed)

"""How many runs may wait for their turn."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from agent_executor.errors import LimitExceededError
from agent_executor.executor.journal.journal import Journal

DEFAULT_MAX_WAITING_RUNS: Final = 20_000
DEFAULT_MAX_WAITING_RUNS_PER_ORGANIZATION: Final = 10_000
# How old a count may be that admits a run, and one that refuses it.
ADMITTING_COUNT_SECONDS: Final = 1.0
REFUSING_COUNT_SECONDS: Final = 0.1
RETRY_AFTER_SECONDS_MIN: Final = 1.0
RETRY_AFTER_SECONDS_MAX: Final = 60.0
# A refused caller comes back when about so much of what waits has had its turn.
RETRY_AFTER_SHARE: Final = 0.1


class Admission:
    """Bounds the runs that wait for their turn: of each organization, and of all.

    Runs are counted in the journal, and a count is used for a while. What this executor has admitted
    since is added, so that alone it never passes a bound; several of them can pass it by what the
    others admit within a second. A run is refused at most a tenth of a second after there is room
    again.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        max_waiting_runs: int = DEFAULT_MAX_WAITING_RUNS,
        max_per_organization: int = DEFAULT_MAX_WAITING_RUNS_PER_ORGANIZATION,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._max_waiting_runs = max_waiting_runs
        self._max_per_organization = max_per_organization
        self._clock = clock
        self._counting = asyncio.Lock()
        self._counted: Counter[str] = Counter()
        self._counted_at: float | None = None
        # Admitted, and perhaps not in the count.
        self._uncounted: Counter[str] = Counter()
        # Admitted, and not stored yet.
        self._unstored: Counter[str] = Counter()
        self._turn_seconds = 0.0

    @asynccontextmanager
    async def admitted(self, organization_id: str) -> AsyncIterator[None]:
        """Covers the storing of one more run that waits for its turn.

        Raises:
            LimitExceededError: Too many wait. It says when to try again.
        """
        await self._admit(organization_id)
        try:
            yield
        finally:
            self._unstored[organization_id] -= 1
            if not self._unstored[organization_id]:
                del self._unstored[organization_id]

    async def _admit(self, organization_id: str) -> None:
        if self._age() > ADMITTING_COUNT_SECONDS:
            await self._count(ADMITTING_COUNT_SECONDS)
        if self._refusal(organization_id) and self._age() > REFUSING_COUNT_SECONDS:
            await self._count(REFUSING_COUNT_SECONDS)
        # Nothing is waited for between this look and the note of it, so that no two pass it as one.
        refusal = self._refusal(organization_id)
        if refusal is not None:
            raise refusal
        self._uncounted[organization_id] += 1
        self._unstored[organization_id] += 1

    async def _count(self, max_age_seconds: float) -> None:
        """Counts again, once for all who want it."""
        async with self._counting:
            if self._age() <= max_age_seconds:
                return
            before, started_at = self._counted.total() + self._uncounted.total(), self._clock()
            uncounted = self._unstored.copy()
            admitted = self._uncounted.copy()
            counted = Counter(await self._journal.count_waiting())
            # What was admitted during the count may be in it or not.
            self._uncounted = uncounted + (self._uncounted - admitted)
            self._note_turns(before - counted.total(), started_at)
            self._counted, self._counted_at = counted, started_at

    def _note_turns(self, turns: int, now: float) -> None:
        """Learns how long a turn takes from how many runs have had theirs since the last count."""
        if self._counted_at is not None and turns > 0:
            self._turn_seconds = (now - self._counted_at) / turns

    def _age(self) -> float:
        return float("inf") if self._counted_at is None else self._clock() - self._counted_at

    def _refusal(self, organization_id: str) -> LimitExceededError | None:
        its_own = self._counted[organization_id] + self._uncounted[organization_id]
        if its_own >= self._max_per_organization:
            return self._too_many(its_own, "runs of the organization", self._max_per_organization)
        total = self._counted.total() + self._uncounted.total()
        if total >= self._max_waiting_runs:
            return self._too_many(total, "runs", self._max_waiting_runs)
        return None

    def _too_many(self, count: int, what: str, limit: int) -> LimitExceededError:
        wait_seconds = self._turn_seconds * count * RETRY_AFTER_SHARE
        return LimitExceededError(
            f"{limit} {what} wait for their turn, which is the limit.",
            metadata={"maxWaitingRuns": str(limit)},
            retry_after_seconds=min(
                max(wait_seconds, RETRY_AFTER_SECONDS_MIN), RETRY_AFTER_SECONDS_MAX
            ),
        )

"""Gives up runs that belong to this executor and that it does not drive, so that they go on.

There are none but by an accident: the storage stored a claim or a new run and could not say so any
more, or something else went wrong that nobody thought of. Nobody could claim such a run, since its
owner lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from agent_executor.executor.journal.journal import Journal

LOOK_SECONDS: Final = 10.0

_LOGGER = logging.getLogger(__name__)


class LostRuns:
    """Looks for them every ten seconds.

    One that is not driven at two looks in a row is given up: at one look it may be about to be. Should
    it be driven all the same, its driver goes on until somebody claims it, and then hears of that.

    Args:
        journal: Where the runs are.
        owner: This executor, as runs name their owner.
        is_driven: Tells whether a run is driven here, or waits here for a place.
    """

    def __init__(self, journal: Journal, owner: str, is_driven: Callable[[str], bool]) -> None:
        self._journal = journal
        self._owner = owner
        self._is_driven = is_driven
        self._look_at_seconds = 0.0
        self._suspects: frozenset[str] = frozenset()

    async def give_up(self) -> None:
        """Gives up those that there are, if it is time to look.

        Raises:
            UnavailableError: The storage failed.
        """
        now_seconds = asyncio.get_running_loop().time()
        if now_seconds < self._look_at_seconds:
            return
        self._look_at_seconds = now_seconds + LOOK_SECONDS
        owned = await self._journal.owned(self._owner)
        # Looked at afterwards, since one that has ended meanwhile is not driven either.
        suspects = frozenset(run_id for run_id in owned if not self._is_driven(run_id))
        lost, self._suspects = suspects & self._suspects, suspects
        if lost:
            _LOGGER.warning("Given up, since nobody drives them: runs %s.", ", ".join(sorted(lost)))
            await self._journal.give_up(self._owner, sorted(lost))

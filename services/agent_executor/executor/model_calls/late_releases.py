"""Frees what is held for runs that have no use for it, also if the ledger is away just then."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from agent_executor.errors import AgentExecutorError, ReservationNotFoundError
from agent_executor.executor.peers.ledger import PASSING_ERRORS, Ledger
from agent_executor.executor.peers.retries import Retries
from agent_executor.serving.security import SecurityContext

# How long a run waits for it. Its end does not depend on it.
PROMPT_SECONDS: Final = 1.0
# Beyond that many, holds end by themselves at their expiry.
WAITING_MAX: Final = 10_000

_LOGGER = logging.getLogger(__name__)


class LateReleases:
    """Frees holds at once or, if the ledger is away, once it is back.

    They are freed one after the other then, so that their number is no load. If this process ends
    meanwhile, they end by themselves at their expiry.

    Args:
        ledger: Where they are held.
        retries: Spaces the tries.
    """

    def __init__(self, ledger: Ledger, retries: Retries) -> None:
        self._ledger = ledger
        self._retries = retries
        self._waiting: dict[str, SecurityContext] = {}
        self._working: asyncio.Task[None] | None = None

    async def free(self, reservation_id: str, security: SecurityContext) -> bool:
        """Frees a hold, or sees to it that it is freed later; tells whether it holds nothing now."""
        try:
            async with asyncio.timeout(PROMPT_SECONDS):
                await self._ledger.void(reservation_id, security)
        except ReservationNotFoundError:
            return True
        except (TimeoutError, *PASSING_ERRORS):
            self._free_later(reservation_id, security)
            return False
        except AgentExecutorError as error:
            _LOGGER.warning("What is held under %s stays: %s", reservation_id, error.message)
            return False
        return True

    async def close(self) -> None:
        """Frees nothing more."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    def _free_later(self, reservation_id: str, security: SecurityContext) -> None:
        if len(self._waiting) >= WAITING_MAX:
            return
        self._waiting[reservation_id] = security
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work(), name="late-releases")

    async def _work(self) -> None:
        tries = 1
        while self._waiting:
            reservation_id = next(iter(self._waiting))
            try:
                await self._ledger.void(reservation_id, self._waiting[reservation_id])
            except PASSING_ERRORS:
                await asyncio.sleep(self._retries.delay_seconds(tries))
                tries += 1
                continue
            except AgentExecutorError as error:
                _LOGGER.warning("What is held under %s stays: %s", reservation_id, error.message)
            del self._waiting[reservation_id]
            tries = 1

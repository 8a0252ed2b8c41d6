"""Keeps this executor's lease, and takes over the runs of executors whose lease has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from agent_executor.errors import AgentExecutorError
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.journal.journal import Journal
from agent_executor.executor.runs.idempotency import DEFAULT_TTL_SECONDS
from agent_executor.executor.runs.runs import Runs

DEFAULT_LEASE_SECONDS: Final = 3.0
DEFAULT_RENEWAL_SECONDS: Final = 1.0
FORGETTING_SECONDS: Final = 3600.0

_LOGGER = logging.getLogger(__name__)


class LeaseKeeper:
    """Says every second that this executor lives, and looks for runs whose owner does not.

    With these defaults a run of a dead executor is claimed at most 4 seconds after its death; one
    of the same name that is started again claims its own at once. Nothing else keeps a renewal
    waiting. Once an hour it forgets the idempotency keys that are too old.

    While the journal is away nobody can renew a lease, so all have ended when it is back. Who sees
    that its own renewals were late takes nothing over for as long as a lease, in which the others
    renew theirs: it would take their runs from them, and pay for model calls under way again.

    Attributes:
        on_renewal: Told of each renewal whether it succeeded; None: nobody is told.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        agents: Agents,
        runs: Runs,
        owner: str,
        now_ms: Callable[[], int],
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
        renewal_seconds: float = DEFAULT_RENEWAL_SECONDS,
        key_ttl_seconds: float = DEFAULT_TTL_SECONDS,
    ) -> None:
        self._journal = journal
        self._agents = agents
        self._runs = runs
        # An owner is named ``worker/incarnation``.
        self._worker = owner.partition("/")[0]
        self._owner = owner
        self._now_ms = now_ms
        self._lease_seconds = lease_seconds
        self._renewed_at_seconds = time.monotonic()
        self._renewal_seconds = renewal_seconds
        self._takes_over_from_seconds = 0.0
        self._has_taken_over = False
        self._key_ttl_ms = int(key_ttl_seconds * 1000)
        self._tasks: list[asyncio.Task[None]] = []
        self.on_renewal: Callable[[bool], None] | None = None

    async def start(self) -> None:
        """Claims what a dead process of this worker has left, then keeps the lease.

        Only one process has a worker's address, so the one before is dead when this one runs.
        """
        await self._journal.release_leases(self._worker)
        await self._renew()
        await self._forget_keys()
        await self._take_over()
        self._tasks = [
            asyncio.create_task(_repeat(self._renew, self._renewal_seconds)),
            asyncio.create_task(_repeat(self._take_over, self._renewal_seconds)),
            asyncio.create_task(_repeat(self._forget_keys, FORGETTING_SECONDS)),
        ]

    async def stop(self) -> None:
        """Gives the lease up, so that others need not wait for it to expire."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._journal.release_leases(self._worker)

    async def _renew(self) -> None:
        lease_ms, succeeded = int(self._lease_seconds * 1000), False
        try:
            await self._journal.renew_lease(self._owner, self._now_ms() + lease_ms)
            succeeded = True
        finally:
            if self.on_renewal is not None:
                self.on_renewal(succeeded)
        now_seconds = time.monotonic()
        # Not twice in a row, or a machine that is always late would take nothing over.
        if self._is_late(now_seconds) and self._has_taken_over:
            self._takes_over_from_seconds = now_seconds + self._lease_seconds
            self._has_taken_over = False
        self._renewed_at_seconds = now_seconds

    def _is_late(self, now_seconds: float) -> bool:
        """Tells whether another's lease, renewed up to a period before this one, may have ended."""
        late_seconds = self._lease_seconds - self._renewal_seconds
        return now_seconds - self._renewed_at_seconds > late_seconds

    async def _take_over(self) -> None:
        now_seconds = time.monotonic()
        # A renewal that has still to come through will find that it is late.
        if not self._is_late(now_seconds) and now_seconds >= self._takes_over_from_seconds:
            self._has_taken_over = True
            await self._runs.take_over()

    async def _forget_keys(self) -> None:
        before_ms = self._now_ms() - self._key_ttl_ms
        await self._journal.forget_keys(before_ms)
        await self._agents.forget_keys(before_ms)


async def _repeat(do: Callable[[], Awaitable[None]], period_seconds: float) -> None:
    """Does something again and again, whatever goes wrong."""
    while True:
        await asyncio.sleep(period_seconds)
        try:
            await do()
        except AgentExecutorError as error:
            _LOGGER.warning("The lease could not be kept: %s", error.message)
        except Exception:  # a bug must not end the keeping, and with it the lease of every run
            _LOGGER.exception("The lease could not be kept.")

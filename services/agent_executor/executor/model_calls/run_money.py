"""The money of one run at the ledger while one executor drives it."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from agent_executor.errors import (
    AgentExecutorError,
    BudgetExceededError,
    ConflictError,
    FailedPreconditionError,
    ReservationNotFoundError,
)
from agent_executor.executor.log.run_log import RunLog
from agent_executor.executor.model_calls.late_releases import LateReleases
from agent_executor.executor.peers.ledger import PASSING_ERRORS, AmountHold, Hold, Ledger
from agent_executor.serving.security import SecurityContext

# The ledger holds money for a day at most.
AMOUNT_TTL_SECONDS_MAX: Final = 86_400
# An amount is renewed so often within the time that it lasts, so that a missed renewal is no loss.
RENEWALS_PER_TTL: Final = 3

_LOGGER = logging.getLogger(__name__)


class RunMoney:
    """Holds the amount of a run that has a limit, and the worst cases of its model calls.

    A run with a limit holds it under its own id before its first model call. Its model calls, and
    the runs that it starts, draw from it. A run without one draws from the amount of its nearest
    ancestor that has one, and from the budgets if none has.

    Args:
        ledger: Where it is held.
        releases: Frees it.
        log: The run's log.
        security: On whose behalf.
        amount_ttl_seconds: How long an amount lasts that nobody renews, at most a day.
    """

    def __init__(
        self,
        ledger: Ledger,
        releases: LateReleases,
        log: RunLog,
        security: SecurityContext,
        amount_ttl_seconds: int,
    ) -> None:
        self._ledger = ledger
        self._releases = releases
        self._log = log
        self._security = security
        self._amount_ttl_seconds = amount_ttl_seconds
        self._renewing: asyncio.Task[None] | None = None

    @property
    def has_amount(self) -> bool:
        """Whether the run has a limit of its own."""
        return self._log.run.amount_id == self._log.run.run_id

    @property
    def needs_amount(self) -> bool:
        """Whether its limit is still to be held, as far as this driver knows."""
        return self.has_amount and self._renewing is None

    async def hold_call(self, hold: Hold) -> int | None:
        """Holds the worst case of a model call, and the run's amount before its first one.

        Returns:
            The output tokens that are held, or None if the id holds something else or has ended.
            Then nothing was called under it, and another id is to be taken.

        Raises:
            AgentExecutorError: As ``Ledger.reserve``.
        """
        if self.needs_amount:
            await self._hold_amount()
        try:
            return await self._ledger.reserve(hold, self._security)
        except (ConflictError, FailedPreconditionError):
            return None

    async def free_amount(self) -> bool:
        """Gives back what nobody has drawn, at the run's end; tells whether it is back now.

        An amount that cannot be freed now is freed once the ledger is back.
        """
        self.stop()
        return not self.has_amount or await self._releases.free(
            self._log.run.run_id, self._security
        )

    async def keep_amount(self) -> float | None:
        """Renews the amount for as long as the ledger holds one, since nobody will for a while.

        Returns:
            After how many seconds it is to be renewed again; None if there is nothing to renew.
        """
        if not self.has_amount:
            return None
        self.stop()
        try:
            await self._ledger.renew(self._log.run.run_id, AMOUNT_TTL_SECONDS_MAX, self._security)
        except PASSING_ERRORS:
            return self._amount_ttl_seconds / RENEWALS_PER_TTL
        except AgentExecutorError as error:
            _LOGGER.warning("The amount of %s has ended: %s", self._log.run.run_id, error.message)
            return None
        return AMOUNT_TTL_SECONDS_MAX / RENEWALS_PER_TTL

    def stop(self) -> None:
        """Renews the amount no more. It stays held for whoever goes on with the run."""
        if self._renewing is not None:
            self._renewing.cancel()

    async def _hold_amount(self) -> None:
        """Holds the run's limit, or goes on with the amount that a driver before has held.

        Raises:
            BudgetExceededError: A budget or the parent's amount does not cover it. Also if the
                amount has ended since nobody drove the run for longer than it lasts: what the run
                could have spent under it is not known here, so it is not held a second time.
        """
        try:
            if not await self._is_still_held():
                await self._ledger.reserve_amount(self._amount(), self._security)
        except FailedPreconditionError as error:
            raise BudgetExceededError(
                "The amount that was held for the run has ended; nobody drove the run for too long."
            ) from error
        self._renewing = asyncio.create_task(self._renew())

    async def _is_still_held(self) -> bool:
        """Looks for the amount of a former driver, whose settings may have been others."""
        if self._log.run.attempt == 1:
            return False
        try:
            await self._ledger.renew(self._log.run.run_id, self._amount_ttl_seconds, self._security)
        except ReservationNotFoundError:
            return False
        return True

    def _amount(self) -> AmountHold:
        run, state = self._log.run, self._log.state
        return AmountHold(
            amount_id=run.run_id,
            agent_id=run.agent_id,
            run_id=run.run_id,
            amount_nano_usd=state.max_cost_nano_usd,
            ttl_seconds=self._amount_ttl_seconds,
            parent_amount_id=state.parent_amount_id,
        )

    async def _renew(self) -> None:
        """Renews the amount again and again, for as long as the run is driven."""
        run_id = self._log.run.run_id
        while True:
            await asyncio.sleep(self._amount_ttl_seconds / RENEWALS_PER_TTL)
            try:
                await self._ledger.renew(run_id, self._amount_ttl_seconds, self._security)
            except PASSING_ERRORS as error:
                _LOGGER.warning("The amount of run %s is renewed later: %s", run_id, error.message)
            except AgentExecutorError as error:
                _LOGGER.warning("The amount of run %s has ended: %s", run_id, error.message)
                return

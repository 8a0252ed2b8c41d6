"""Tells in gauges what is held in the ledger's database, and how many holds have expired."""

from __future__ import annotations

import math
from typing import Final

from sqlalchemy import func, literal_column, select

from agent_executor.errors import AgentExecutorError
from agent_executor.ledger.storage import LedgerStorage
from agent_executor.ledger.tables import RESERVATIONS
from agent_executor.serving.database_metrics import tell_connections
from agent_executor.serving.metric_names import (
    RESERVATIONS_EXPIRED,
    RESERVATIONS_OPEN,
    RESERVED_MONEY,
)
from agent_executor.serving.metrics import Metrics

# Written out, for a database looks into an index of a part only if it sees that it is that part.
_IS_OPEN: Final = RESERVATIONS.c.state == literal_column("'open'")
# What draws from an amount is held in the amount; counted without that, each sum counts once.
_OPEN: Final = select(
    func.count().label("count"),
    func.sum(RESERVATIONS.c.remaining_nano_usd - RESERVATIONS.c.drawn_nano_usd).label("held"),
).where(_IS_OPEN)


class LedgerGauges:
    """Sets the gauges of a ledger, and counts the holds that it has found expired.

    Args:
        storage: The database, which other ledgers may share.
        metrics: Where it is told.
    """

    def __init__(self, storage: LedgerStorage, metrics: Metrics) -> None:
        self._storage = storage
        self._metrics = metrics
        self._expired_told = 0
        metrics.show(RESERVATIONS_EXPIRED)

    async def look(self) -> None:
        """Sets them to the present. What is in a database that fails is not a number then.

        Raises:
            UnavailableError: The storage failed.
        """
        metrics, expired = self._metrics, self._storage.accounting.expired_count
        metrics.increment(RESERVATIONS_EXPIRED, by=expired - self._expired_told)
        self._expired_told = expired
        tell_connections(metrics, self._storage.connections())
        try:
            [[opened]] = await self._storage.statements.run(_OPEN)
        except AgentExecutorError:
            for definition in (RESERVATIONS_OPEN, RESERVED_MONEY):
                metrics.set_gauge(definition, math.nan)
            raise
        metrics.set_gauge(RESERVATIONS_OPEN, opened["count"])
        metrics.set_gauge(RESERVED_MONEY, float(opened["held"] or 0))

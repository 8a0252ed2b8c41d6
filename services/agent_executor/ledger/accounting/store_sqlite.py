"""The ledger in one SQLite file, written in groups: what arrives together is committed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from agent_executor.ledger.accounting import sqlite_budgets, sqlite_entries, sqlite_reservations
from agent_executor.ledger.accounting.budget import Budget, BudgetStatus, Overrun, Refusal
from agent_executor.ledger.accounting.entry import Settlement, UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import Settled
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.reports.usage_query import Dimension, EntryFilter, SummaryRows
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase

MIGRATIONS_FOLDER: Final = Path(__file__).parent.with_name("migrations")

_INSERT_RATE_CARD: Final = """
    INSERT INTO rate_cards (id, source, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
"""


class SqliteLedgerStore:
    """A ``LedgerStore`` in a SQLite file."""

    def __init__(self, database: SqliteDatabase) -> None:
        """Uses a database whose migrations have run; ``open`` sees to that."""
        self._database = database
        self._write = database.writer.submit

    @classmethod
    async def open(cls, path: Path) -> SqliteLedgerStore:
        """Opens a file, made or migrated as needed.

        Raises:
            MigrationError: The file cannot be brought to the revision of the code.
            OSError: The file cannot be made.
            sqlite3.Error: The file cannot be opened, or is not a database.
        """
        await asyncio.to_thread(upgrade, path, MIGRATIONS_FOLDER)
        return cls(SqliteDatabase(path))

    async def close(self) -> None:
        """See ``LedgerStore``."""
        await self._database.close()

    async def put_rate_card(self, card: RateCard, source: str) -> None:
        """See ``RateCardStore``."""
        row = (card.id, source, msgspec.json.encode(card))
        await self._write(lambda it: it.execute(_INSERT_RATE_CARD, row).rowcount)

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """See ``RateCardStore``."""
        return await self._database.read(
            lambda it: sqlite_reservations.get_rate_card(it, rate_card_id)
        )

    async def reserve(self, reservation: Reservation) -> Reservation | Refusal:
        """See ``ReservationStore``."""
        return await self._write(lambda it: sqlite_reservations.reserve(it, reservation))

    async def settle(self, settlement: Settlement, card: RateCard, now_ms: int) -> Settled:
        """See ``ReservationStore``."""
        return await self._write(
            lambda it: sqlite_reservations.settle(it, settlement, card, now_ms)
        )

    async def void(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """See ``ReservationStore``."""
        return await self._write(
            lambda it: sqlite_reservations.void(it, organization_id, reservation_id, now_ms)
        )

    async def get_reservation(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """See ``ReservationStore``."""
        return await self._database.read(
            lambda it: sqlite_reservations.get_reservation(
                it, organization_id, reservation_id, now_ms
            )
        )

    # Reading a budget frees expired holds, which is why the writer does it.

    async def put_budget(self, budget: Budget, now_ms: int) -> tuple[BudgetStatus, Overrun | None]:
        """See ``BudgetStore``."""
        return await self._write(lambda it: sqlite_budgets.put_budget(it, budget, now_ms))

    async def get_budget(
        self, organization_id: str, budget_id: str, now_ms: int
    ) -> BudgetStatus | None:
        """See ``BudgetStore``."""
        return await self._write(
            lambda it: sqlite_budgets.get_budget(it, organization_id, budget_id, now_ms)
        )

    async def list_budgets(
        self, organization_id: str, now_ms: int, limit: int, after_id: str = ""
    ) -> list[BudgetStatus]:
        """See ``BudgetStore``."""
        return await self._write(
            lambda it: sqlite_budgets.list_budgets(it, organization_id, now_ms, limit, after_id)
        )

    async def delete_budget(self, organization_id: str, budget_id: str) -> bool:
        """See ``BudgetStore``."""
        return await self._write(
            lambda it: sqlite_budgets.delete_budget(it, organization_id, budget_id)
        )

    async def newest_entry_id(self, organization_id: str) -> str:
        """See ``EntryStore``."""
        return await self._database.read(
            lambda it: sqlite_entries.newest_entry_id(it, organization_id)
        )

    async def entries(
        self,
        organization_id: str,
        entry_filter: EntryFilter,
        limit: int,
        before_entry_id: str = "",
    ) -> list[UsageEntry] | None:
        """See ``EntryStore``."""
        return await self._database.read(
            lambda it: sqlite_entries.entries(
                it, organization_id, entry_filter, limit, before_entry_id
            )
        )

    async def summarize(
        self,
        organization_id: str,
        entry_filter: EntryFilter,
        up_to_entry_id: str,
        group_by: Sequence[Dimension],
        limit: int,
        offset: int = 0,
    ) -> SummaryRows | None:
        """See ``EntryStore``."""
        return await self._database.read(
            lambda it: sqlite_entries.summarize(
                it, organization_id, entry_filter, up_to_entry_id, group_by, limit, offset
            )
        )

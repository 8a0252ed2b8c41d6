"""The ledger in one SQLite file, written in groups: what arrives together is committed together."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting import stored_budgets
from agent_executor.ledger.accounting.budget import Budget, BudgetEvent, BudgetStatus
from agent_executor.ledger.accounting.card_memory import CardMemory, card_of_body
from agent_executor.ledger.accounting.command_queue import CommandBatch, CommandQueue
from agent_executor.ledger.accounting.commands import Command, Outcome
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.sqlite_books import (
    Cards,
    ask,
    carry_out,
    find_entries,
    find_reservation,
    free_expired,
)
from agent_executor.ledger.accounting.store import BudgetPut
from agent_executor.ledger.overflow import sqlite_overflow_refused
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.storage.sqlite import SqliteDatabase

T = TypeVar("T")

_INSERT_CARD: Final = """
    INSERT INTO rate_cards (id, source, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING
"""
_FIND_CARD: Final = "SELECT body FROM rate_cards WHERE id = ?"


class SqliteAccountingStore:
    """An ``AccountingStore`` in a SQLite file, which no other process writes."""

    def __init__(self, database: SqliteDatabase) -> None:
        """Takes the open database, at the newest revision."""
        self._database = database
        self._write = database.writer.submit
        self._cards = CardMemory()
        self._queue = CommandQueue(self._carry_out)
        self.expired_count = 0

    async def close(self) -> None:
        """See ``AccountingStore``."""
        await self._database.close()

    async def apply(self, commands: Sequence[Command], now_ms: int) -> list[Outcome]:
        """See ``AccountingStore``."""
        return await self._queue.apply(commands, now_ms)

    async def _carry_out(self, batch: CommandBatch) -> list[Outcome]:
        def write(connection: sqlite3.Connection) -> tuple[list[Outcome], Cards, int]:
            return carry_out(connection, batch.commands, batch.now_ms, self._cards.known)

        try:
            with sqlite_overflow_refused():
                outcomes, cards, expired_count = await self._write(write)
        except UnicodeEncodeError as error:
            raise InvalidArgumentError("A text is not valid Unicode.") from error
        self._cards.add(cards)
        self.expired_count += expired_count
        return outcomes

    async def get_reservation(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """See ``AccountingStore``."""
        return await self._freed(
            organization_id,
            now_ms,
            lambda connection: find_reservation(connection, organization_id, reservation_id),
        )

    async def _freed(
        self, organization_id: str, now_ms: int, operation: Callable[[sqlite3.Connection], T]
    ) -> T:
        """Returns the value of an operation before which the holds that expired are freed."""

        def write(connection: sqlite3.Connection) -> tuple[T, int]:
            expired_count = free_expired(connection, organization_id, now_ms)
            return operation(connection), expired_count

        value, expired_count = await self._write(write)
        self.expired_count += expired_count
        return value

    async def get_entries(self, organization_id: str, entry_ids: Sequence[str]) -> list[UsageEntry]:
        """See ``AccountingStore``."""
        return await self._database.read(
            lambda connection: find_entries(connection, organization_id, entry_ids)
        )

    async def put_rate_card(self, card: RateCard, source: str) -> None:
        """See ``AccountingStore``."""
        row = (card.id, source, msgspec.json.encode(card))
        await self._write(lambda connection: connection.execute(_INSERT_CARD, row).rowcount)

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """See ``AccountingStore``."""
        card = self._cards.known.get(rate_card_id)
        if card is None:
            row = self._database.read_inline(
                lambda connection: connection.execute(_FIND_CARD, (rate_card_id,)).fetchone()
            )
            if row is not None:
                card = card_of_body(row[0])
                self._cards.add({card.id: card})
        return card

    async def put_budget(self, budget: Budget, now_ms: int) -> BudgetPut:
        """See ``AccountingStore``."""
        with sqlite_overflow_refused():
            return await self._freed(
                budget.organization_id,
                now_ms,
                lambda connection: ask(connection, stored_budgets.put_budget(budget, now_ms)),
            )

    async def get_budget(
        self, organization_id: str, budget_id: str, now_ms: int
    ) -> BudgetStatus | None:
        """See ``AccountingStore``."""
        asking = partial(stored_budgets.get_budget, organization_id, budget_id, now_ms)
        return await self._freed(
            organization_id, now_ms, lambda connection: ask(connection, asking())
        )

    async def list_budgets(
        self, organization_id: str, now_ms: int, limit: int, after_id: str = ""
    ) -> list[BudgetStatus]:
        """See ``AccountingStore``."""
        asking = partial(stored_budgets.list_budgets, organization_id, now_ms, limit, after_id)
        return await self._freed(
            organization_id, now_ms, lambda connection: ask(connection, asking())
        )

    async def delete_budget(self, organization_id: str, budget_id: str) -> bool:
        """See ``AccountingStore``."""
        return await self._write(
            lambda connection: ask(
                connection, stored_budgets.delete_budget(organization_id, budget_id)
            )
        )

    async def budget_events(
        self, organization_id: str, limit: int, *, budget_id: str = "", before_id: int = 0
    ) -> list[BudgetEvent]:
        """See ``AccountingStore``."""
        return await self._database.read(
            lambda connection: ask(
                connection,
                stored_budgets.budget_events(organization_id, limit, budget_id, before_id),
            )
        )

"""The ledger in PostgreSQL, on which several ledgers may work at the same time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

import asyncpg
import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting import stored_budgets
from agent_executor.ledger.accounting.budget import Budget, BudgetEvent, BudgetStatus
from agent_executor.ledger.accounting.card_memory import CardMemory, card_of_body
from agent_executor.ledger.accounting.command_queue import CommandBatch, CommandQueue
from agent_executor.ledger.accounting.commands import Command, Outcome
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.needs import by_organization
from agent_executor.ledger.accounting.postgres_books import (
    Cards,
    ask,
    carry_out,
    find_entries,
    find_reservation,
    free_expired,
    lock,
)
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import BudgetPut
from agent_executor.ledger.accounting.stored_budgets import Asking
from agent_executor.ledger.overflow import sum_too_large
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.postgres_writer import PostgresTransaction

T = TypeVar("T")

_INSERT_CARD: Final = """
    INSERT INTO rate_cards (id, source, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
_FIND_CARD: Final = "SELECT body FROM rate_cards WHERE id = $1"
# A planner that has never seen how an organization's rows are spread may look through all of them for
# one, and keeps to that while the tables grow, until the server itself gets to analyze them.
_NEVER_ANALYZED: Final = """
    SELECT bool_or(reltuples < 0) FROM pg_class
    WHERE oid IN ('reservations'::regclass, 'usage_entries'::regclass)
"""
_ANALYZE: Final = (
    "ANALYZE reservations, usage_entries, usage_rollups, budgets, budget_balances, budget_events"
)
ANALYZED_AFTER_COMMANDS: Final = 1_000


class PostgresAccountingStore:
    """An ``AccountingStore`` in a PostgreSQL database, which other ledgers may share."""

    def __init__(self, database: PostgresDatabase) -> None:
        """Takes the open database, at the newest revision."""
        self._database = database
        self._cards = CardMemory()
        self._queues: dict[str, CommandQueue] = {}
        self._commands_until_analyzed = ANALYZED_AFTER_COMMANDS
        self.expired_count = 0

    async def close(self) -> None:
        """See ``AccountingStore``."""
        await self._database.close()

    async def apply(self, commands: Sequence[Command], now_ms: int) -> list[Outcome]:
        """See ``AccountingStore``."""
        grouped = by_organization(commands)
        if len(grouped) == 1:
            return await self._apply(next(iter(grouped)), commands, now_ms)
        # Each organization has its own transaction, so that each takes its one lock at a time.
        answers = await asyncio.gather(
            *(self._apply(*own, now_ms) for own in grouped.items()), return_exceptions=True
        )
        outcomes: dict[str, Iterator[Outcome]] = {}
        for organization_id, answer in zip(grouped, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            outcomes[organization_id] = iter(answer)
        return [next(outcomes[command.organization_id]) for command in commands]

    async def _apply(
        self, organization_id: str, commands: Sequence[Command], now_ms: int
    ) -> list[Outcome]:
        queue = self._queues.get(organization_id)
        if queue is None:
            queue = CommandQueue(partial(self._carry_out, organization_id))
            self._queues[organization_id] = queue
        try:
            return await queue.apply(commands, now_ms)
        finally:
            if queue.is_idle and self._queues.get(organization_id) is queue:
                del self._queues[organization_id]

    async def _carry_out(self, organization_id: str, batch: CommandBatch) -> list[Outcome]:
        async def write(transaction: PostgresTransaction) -> tuple[list[Outcome], Cards, int]:
            # With the lock first, whoever comes while it is waited for is still in the batch.
            await lock(transaction, organization_id)
            return await carry_out(
                transaction, organization_id, batch.commands, batch.now_ms, self._cards.known
            )

        with _unstorable_refused():
            outcomes, cards, expired_count = await self._database.writer.submit(
                write, key=organization_id
            )
        self._cards.add(cards)
        self.expired_count += expired_count
        await self._see_to_plans(len(outcomes))
        return outcomes

    async def _see_to_plans(self, commands: int) -> None:
        """Lets the server analyze a new ledger once there is something to see."""
        if self._commands_until_analyzed <= 0:
            return
        self._commands_until_analyzed -= commands
        if self._commands_until_analyzed <= 0:

            async def write(transaction: PostgresTransaction) -> None:
                if await transaction.fetchval(_NEVER_ANALYZED):
                    await transaction.execute(_ANALYZE)

            await self._database.writer.submit(write)

    async def get_reservation(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """See ``AccountingStore``."""
        return await self._freed(
            organization_id,
            now_ms,
            lambda transaction: find_reservation(transaction, organization_id, reservation_id),
        )

    async def get_entries(self, organization_id: str, entry_ids: Sequence[str]) -> list[UsageEntry]:
        """See ``AccountingStore``."""
        with _unstorable_refused():
            return await self._database.read_statement(
                lambda connection: find_entries(connection, organization_id, entry_ids)
            )

    async def put_rate_card(self, card: RateCard, source: str) -> None:
        """See ``AccountingStore``."""
        row = (card.id, source, msgspec.json.encode(card))
        await self._database.writer.submit(
            lambda transaction: transaction.execute(_INSERT_CARD, *row)
        )

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """See ``AccountingStore``."""
        card = self._cards.known.get(rate_card_id)
        if card is None:
            body = await self._database.read_statement(
                lambda connection: connection.fetchval(_FIND_CARD, rate_card_id)
            )
            if body is not None:
                card = card_of_body(body)
                self._cards.add({card.id: card})
        return card

    async def put_budget(self, budget: Budget, now_ms: int) -> BudgetPut:
        """See ``AccountingStore``."""
        return await self._ask(
            budget.organization_id, lambda: stored_budgets.put_budget(budget, now_ms), now_ms
        )

    async def get_budget(
        self, organization_id: str, budget_id: str, now_ms: int
    ) -> BudgetStatus | None:
        """See ``AccountingStore``."""
        asking = partial(stored_budgets.get_budget, organization_id, budget_id, now_ms)
        return await self._ask(organization_id, asking, now_ms)

    async def list_budgets(
        self, organization_id: str, now_ms: int, limit: int, after_id: str = ""
    ) -> list[BudgetStatus]:
        """See ``AccountingStore``."""
        asking = partial(stored_budgets.list_budgets, organization_id, now_ms, limit, after_id)
        return await self._ask(organization_id, asking, now_ms)

    async def delete_budget(self, organization_id: str, budget_id: str) -> bool:
        """See ``AccountingStore``."""
        asking = partial(stored_budgets.delete_budget, organization_id, budget_id)
        return await self._ask(organization_id, asking, 0)

    async def budget_events(
        self, organization_id: str, limit: int, *, budget_id: str = "", before_id: int = 0
    ) -> list[BudgetEvent]:
        """See ``AccountingStore``."""
        asking = stored_budgets.budget_events(organization_id, limit, budget_id, before_id)
        with _unstorable_refused():
            return await self._database.read_statement(lambda connection: ask(connection, asking))

    async def _ask(self, organization_id: str, asking: Callable[[], Asking[T]], now_ms: int) -> T:
        """Runs statements behind the organization's lock, once expired holds have been freed."""
        return await self._freed(
            organization_id, now_ms, lambda transaction: ask(transaction, asking())
        )

    async def _freed(
        self,
        organization_id: str,
        now_ms: int,
        operation: Callable[[PostgresTransaction], Awaitable[T]],
    ) -> T:
        """Returns the value of an operation before which the holds that expired are freed."""

        async def write(transaction: PostgresTransaction) -> tuple[T, int]:
            expired_count = await free_expired(transaction, organization_id, now_ms)
            return await operation(transaction), expired_count

        with _unstorable_refused():
            value, expired_count = await self._database.writer.submit(write, key=organization_id)
        self.expired_count += expired_count
        return value


@contextlib.contextmanager
def _unstorable_refused() -> Iterator[None]:
    """Refuses what PostgreSQL cannot store, such as a text with a NUL character."""
    try:
        yield
    except asyncpg.NumericValueOutOfRangeError as error:
        raise sum_too_large() from error
    except asyncpg.DataError as error:
        raise InvalidArgumentError("A text or a number cannot be stored.") from error

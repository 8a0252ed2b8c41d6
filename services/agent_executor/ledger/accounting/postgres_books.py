"""SQL of the books in PostgreSQL: looked up and written for all commands of a batch at once.

Every function runs inside the caller's transaction, and takes the organization's lock first. Only
who holds it changes anything of the organization until the commit, so that several ledgers on one
database are as exact as one, and ``sequence`` follows the order of the commits in an organization.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec

from agent_executor.ledger.accounting.book import (
    Balance,
    BalanceKey,
    Book,
    Changes,
    StoredBudget,
)
from agent_executor.ledger.accounting.card_memory import card_of_body
from agent_executor.ledger.accounting.commands import Command, Outcome
from agent_executor.ledger.accounting.decide import carry_out as decide
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.needs import (
    Rows,
    RowsNeeded,
    Scope,
    balances_needed,
    rows_needed,
    scope_keys,
    terms_needed,
)
from agent_executor.ledger.accounting.postgres_statements import (
    ADD_TO_ROLLUPS,
    ANCESTORS,
    ANY_BUDGET,
    ANY_EXPIRED,
    BALANCES,
    BUDGETS,
    CARDS,
    CHANGE_RESERVATIONS,
    CHANGE_RESERVED,
    CHANGING,
    CORRECTIONS,
    ENTRIES,
    INSERT_ENTRIES,
    INSERT_EVENTS,
    INSERT_RESERVATIONS,
    LOCK,
    PUT_BALANCES,
    RESERVATION,
)
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.rows import (
    budget_of_row,
    entry_of_row,
    reservation_of_row,
    row_of_entry,
    row_of_event,
    row_of_reservation,
)
from agent_executor.ledger.accounting.stored_budgets import Asking, Values
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.storage.postgres_writer import PostgresTransaction

T = TypeVar("T")

Cards: TypeAlias = dict[str, RateCard]


class Fetching(Protocol):
    """A connection or a transaction, of which only rows are asked."""

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """Returns every row."""
        ...


_NAMED_VALUE: Final = re.compile(r"(?<!:):([a-z_]+)")
_as_tuple: Final = msgspec.structs.astuple


async def carry_out(
    transaction: PostgresTransaction,
    organization_id: str,
    commands: Sequence[Command],
    now_ms: int,
    cards: Cards,
) -> tuple[list[Outcome], Cards, int]:
    """Carries out commands of one organization.

    Returns:
        Their outcomes, the cards that ``cards`` lacked, and how many holds had expired.
    """
    await lock(transaction, organization_id)
    book, new_cards = await _open_book(transaction, organization_id, commands, now_ms, cards)
    outcomes = decide({organization_id: book}, commands)
    await _write(transaction, organization_id, book.changes())
    return outcomes, new_cards, book.expired_count


async def lock(transaction: PostgresTransaction, organization_id: str) -> None:
    """Takes an organization's lock, unless this transaction has it already."""
    key = ("ledger", organization_id)
    if key not in transaction.memory:
        await transaction.execute(LOCK, organization_id)
        transaction.memory[key] = True


async def free_expired(transaction: PostgresTransaction, organization_id: str, now_ms: int) -> int:
    """Takes an organization's lock, ends its holds that have expired, and returns how many."""
    await lock(transaction, organization_id)
    if await transaction.fetchval(ANY_EXPIRED, organization_id, now_ms):
        return (await carry_out(transaction, organization_id, (), now_ms, {}))[2]
    return 0


async def find_reservation(
    transaction: PostgresTransaction, organization_id: str, reservation_id: str
) -> Reservation | None:
    """Returns a reservation as it is stored."""
    row = await transaction.fetchrow(RESERVATION, organization_id, reservation_id)
    return None if row is None else reservation_of_row(row)


async def find_entries(
    connection: Fetching, organization_id: str, entry_ids: Collection[str]
) -> list[UsageEntry]:
    """Returns those of these entries that are recorded."""
    rows = await connection.fetch(ENTRIES, organization_id, list(set(entry_ids)))
    return [entry_of_row(tuple(row)) for row in rows]


async def ask(connection: Fetching, asking: Asking[T]) -> T:
    """Runs the statements that a generator yields, and returns its value."""
    try:
        statement, values = next(asking)
        while True:
            rows = await connection.fetch(*numbered(statement, values))
            statement, values = asking.send(rows)
    except StopIteration as ended:
        value: T = ended.value
        return value


def numbered(statement: str, values: Values) -> tuple[Any, ...]:
    """Returns a statement with its values in the order of their numbers."""
    numbered, names = _with_numbers(statement)
    return (numbered, *(values[name] for name in names))


@lru_cache(maxsize=64)
def _with_numbers(statement: str) -> tuple[str, tuple[str, ...]]:
    names = tuple(dict.fromkeys(_NAMED_VALUE.findall(statement)))
    return _NAMED_VALUE.sub(lambda found: f"${names.index(found[1]) + 1}", statement), names


async def _open_book(
    transaction: PostgresTransaction,
    organization_id: str,
    commands: Sequence[Command],
    now_ms: int,
    cards: Cards,
) -> tuple[Book, Cards]:
    rows = await _look_up_rows(transaction, organization_id, rows_needed(commands), now_ms)
    terms = terms_needed(commands, rows)
    needed_cards = {one: cards[one] for one in terms.rate_card_ids if one in cards}
    new_cards: Cards = {}
    if unknown := terms.rate_card_ids - needed_cards.keys():
        found = await transaction.fetch(CARDS, list(unknown))
        new_cards = {card_id: card_of_body(body) for card_id, body in found}
    budgets: list[StoredBudget] = []
    balances: dict[BalanceKey, Balance] = {}
    if terms.scopes and await transaction.fetchval(ANY_BUDGET, organization_id):
        budgets = await _look_up_budgets(transaction, organization_id, terms.scopes)
        needed = balances_needed((one.budget for one in budgets), terms.occurred_at_ms, now_ms)
        balances = await _look_up_balances(transaction, organization_id, needed)
    book = Book(
        organization_id,
        now_ms,
        rows,
        cards={**needed_cards, **new_cards},
        budgets=budgets,
        balances=balances,
    )
    return book, new_cards


async def _look_up_rows(
    transaction: PostgresTransaction, organization_id: str, needed: RowsNeeded, now_ms: int
) -> Rows:
    rows = Rows()
    reservation_ids = list(needed.reservation_ids)
    for row in await transaction.fetch(ANCESTORS, organization_id, reservation_ids, now_ms):
        reservation = reservation_of_row(row)
        rows.reservations[reservation.id] = reservation
    if entry_ids := list(needed.entry_ids | needed.corrected_ids):
        for row in await transaction.fetch(ENTRIES, organization_id, entry_ids):
            entry = entry_of_row(tuple(row))
            rows.entries[entry.id] = entry
    if corrected_ids := list(needed.corrected_ids):
        for row in await transaction.fetch(CORRECTIONS, organization_id, corrected_ids):
            entry = entry_of_row(tuple(row)[:-1])
            rows.corrections.setdefault(entry.corrects_entry_id, []).append(entry)
    return rows


async def _look_up_budgets(
    transaction: PostgresTransaction, organization_id: str, scopes: Iterable[Scope]
) -> list[StoredBudget]:
    keys = {key for scope in scopes for key in scope_keys(scope)}
    rows = await transaction.fetch(BUDGETS, organization_id, *_columns(keys))
    return [budget_of_row(row) for row in rows]


async def _look_up_balances(
    transaction: PostgresTransaction, organization_id: str, needed: Collection[BalanceKey]
) -> dict[BalanceKey, Balance]:
    if not needed:
        return {}
    rows = await transaction.fetch(BALANCES, organization_id, *_columns(needed))
    return {
        (budget_id, start_ms): Balance(settled, alerted)
        for budget_id, start_ms, settled, alerted in rows
    }


async def _write(transaction: PostgresTransaction, organization_id: str, changes: Changes) -> None:
    """Writes what has changed, with one statement for each kind of which there is something."""
    if changes.new_reservations:
        rows = map(row_of_reservation, changes.new_reservations)
        await transaction.execute(INSERT_RESERVATIONS, *_columns(rows))
    if changes.changed_reservations:
        changed = (
            (one.id, *(getattr(one, name) for name in CHANGING))
            for one in changes.changed_reservations
        )
        await transaction.execute(CHANGE_RESERVATIONS, organization_id, *_columns(changed))
    if changes.new_entries:
        rows = map(row_of_entry, changes.new_entries)
        await transaction.execute(INSERT_ENTRIES, *_columns(rows))
        sums = (
            (organization_id, *key, *_as_tuple(rollup)) for key, rollup in changes.rollups.items()
        )
        await transaction.execute(ADD_TO_ROLLUPS, *_columns(sums))
    if changes.reserved:
        held = ((one.budget_id, one.reserved_nano_usd) for one in changes.reserved)
        await transaction.execute(CHANGE_RESERVED, organization_id, *_columns(held))
    if changes.balances:
        balances = (
            (
                *(organization_id, one.budget_id, one.window_start_ms),
                *(one.settled_nano_usd, one.alerted_percent),
            )
            for one in changes.balances
        )
        await transaction.execute(PUT_BALANCES, *_columns(balances))
    if changes.events:
        events = map(row_of_event, changes.events)
        await transaction.execute(INSERT_EVENTS, *_columns(events))


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Returns rows, of which there is at least one, as columns."""
    return [list(column) for column in zip(*rows, strict=True)]

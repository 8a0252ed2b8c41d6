"""SQL of the books in SQLite: looked up and written for all commands of a batch at once.

Every function runs inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, TypeAlias, TypeVar

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
    by_organization,
    rows_needed,
    scope_keys,
    terms_needed,
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
from agent_executor.ledger.accounting.sqlite_statements import (
    ADD_TO_ROLLUP,
    ANY_BUDGET,
    BALANCES,
    BUDGETS,
    CARDS,
    CHANGE_RESERVATION,
    CHANGE_RESERVED,
    CORRECTIONS,
    ENTRIES,
    EXPIRED,
    INSERT_ENTRY,
    INSERT_EVENT,
    INSERT_RESERVATION,
    KEY_ROWS,
    PUT_BALANCE,
    RESERVATIONS,
    with_keys,
)
from agent_executor.ledger.accounting.stored_budgets import Asking
from agent_executor.ledger.prices.rate_card import RateCard

T = TypeVar("T")

Cards: TypeAlias = dict[str, RateCard]

_as_tuple: Final = msgspec.structs.astuple


def carry_out(
    connection: sqlite3.Connection, commands: Sequence[Command], now_ms: int, cards: Cards
) -> tuple[list[Outcome], Cards, int]:
    """Carries commands out.

    Returns:
        Their outcomes, the cards that ``cards`` lacked, and how many holds had expired.
    """
    new_cards: Cards = {}
    books = {
        organization_id: _open_book(
            connection, organization_id, own_commands, now_ms, cards, new_cards
        )
        for organization_id, own_commands in by_organization(commands).items()
    }
    outcomes = decide(books, commands)
    for organization_id, book in books.items():
        _write(connection, organization_id, book.changes())
    return outcomes, new_cards, sum(book.expired_count for book in books.values())


def free_expired(connection: sqlite3.Connection, organization_id: str, now_ms: int) -> int:
    """Ends the holds of an organization that have expired, and returns how many."""
    if connection.execute(f"{EXPIRED} LIMIT 1", (organization_id, now_ms)).fetchone() is None:
        return 0
    book = _open_book(connection, organization_id, (), now_ms, {}, {})
    decide({organization_id: book}, ())
    _write(connection, organization_id, book.changes())
    return book.expired_count


def find_reservation(
    connection: sqlite3.Connection, organization_id: str, reservation_id: str
) -> Reservation | None:
    """Returns a reservation as it is stored."""
    found = _by_keys(connection, RESERVATIONS, (reservation_id,), (organization_id,))
    return next((reservation_of_row(row) for row in found), None)


def find_entries(
    connection: sqlite3.Connection, organization_id: str, entry_ids: Collection[str]
) -> list[UsageEntry]:
    """Returns those of these entries that are recorded."""
    found = _by_keys(connection, ENTRIES, set(entry_ids), (organization_id,))
    return list({row[0]: entry_of_row(row) for row in found}.values())


def ask(connection: sqlite3.Connection, asking: Asking[T]) -> T:
    """Runs the statements that a generator yields, and returns its value."""
    try:
        statement, values = next(asking)
        while True:
            rows = connection.execute(statement, values).fetchall()
            statement, values = asking.send(rows)
    except StopIteration as ended:
        value: T = ended.value
        return value


def _open_book(
    connection: sqlite3.Connection,
    organization_id: str,
    commands: Sequence[Command],
    now_ms: int,
    cards: Cards,
    new_cards: Cards,
) -> Book:
    rows = _look_up_rows(connection, organization_id, rows_needed(commands), now_ms)
    terms = terms_needed(commands, rows)
    needed_cards = {one: cards[one] for one in terms.rate_card_ids if one in cards}
    for card_id, body in _by_keys(connection, CARDS, terms.rate_card_ids - needed_cards.keys()):
        needed_cards[card_id] = new_cards[card_id] = card_of_body(body)
    budgets: list[StoredBudget] = []
    balances: dict[BalanceKey, Balance] = {}
    any_budget, any_of_run = connection.execute(ANY_BUDGET, (organization_id,)).fetchone()
    if any_budget:
        keys = {
            key for scope in terms.scopes for key in scope_keys(scope) if any_of_run or not key[2]
        }
        budgets = _look_up_budgets(connection, organization_id, keys)
        needed = balances_needed((one.budget for one in budgets), terms.occurred_at_ms, now_ms)
        balances = _look_up_balances(connection, organization_id, needed)
    return Book(
        organization_id,
        now_ms,
        rows,
        cards=needed_cards,
        budgets=budgets,
        balances=balances,
    )


def _look_up_rows(
    connection: sqlite3.Connection, organization_id: str, needed: RowsNeeded, now_ms: int
) -> Rows:
    rows = Rows()
    key = (organization_id,)
    found = connection.execute(EXPIRED, (organization_id, now_ms)).fetchall()
    found += _by_keys(connection, RESERVATIONS, needed.reservation_ids, key)
    while found:
        for row in found:
            reservation = reservation_of_row(row)
            rows.reservations[reservation.id] = reservation
        parents = {rows.reservations[row[0]].parent_id for row in found}
        found = list(
            _by_keys(connection, RESERVATIONS, parents - rows.reservations.keys() - {""}, key)
        )
    for row in _by_keys(connection, ENTRIES, needed.entry_ids | needed.corrected_ids, key):
        entry = entry_of_row(row)
        rows.entries[entry.id] = entry
    seen: set[str] = set()
    for row in _by_keys(connection, CORRECTIONS, needed.corrected_ids, key):
        entry = entry_of_row(row)
        if entry.id not in seen:
            seen.add(entry.id)
            rows.corrections.setdefault(entry.corrects_entry_id, []).append(entry)
    return rows


def _look_up_budgets(
    connection: sqlite3.Connection, organization_id: str, keys: Collection[Scope]
) -> list[StoredBudget]:
    rows = {row[0]: row for row in _by_keys(connection, BUDGETS, keys, (organization_id,))}
    return [budget_of_row(row) for row in rows.values()]


def _look_up_balances(
    connection: sqlite3.Connection,
    organization_id: str,
    needed: Collection[BalanceKey],
) -> dict[BalanceKey, Balance]:
    return {
        (budget_id, start_ms): Balance(settled, alerted)
        for budget_id, start_ms, settled, alerted in _by_keys(
            connection, BALANCES, needed, (organization_id,)
        )
    }


def _write(connection: sqlite3.Connection, organization_id: str, changes: Changes) -> None:
    """Writes what has changed. A kind of which there is nothing costs nothing."""
    for statement, rows in (
        (INSERT_RESERVATION, map(row_of_reservation, changes.new_reservations)),
        (
            CHANGE_RESERVATION,
            (
                (
                    *(one.remaining_nano_usd, one.drawn_nano_usd, one.spent_nano_usd),
                    *(one.expires_at_ms, one.state, organization_id, one.id),
                )
                for one in changes.changed_reservations
            ),
        ),
        (INSERT_ENTRY, map(row_of_entry, changes.new_entries)),
        (
            ADD_TO_ROLLUP,
            ((organization_id, *key, *_as_tuple(sums)) for key, sums in changes.rollups.items()),
        ),
        (
            CHANGE_RESERVED,
            ((one.reserved_nano_usd, organization_id, one.budget_id) for one in changes.reserved),
        ),
        (
            PUT_BALANCE,
            (
                (
                    *(organization_id, one.budget_id, one.window_start_ms),
                    *(one.settled_nano_usd, one.alerted_percent),
                )
                for one in changes.balances
            ),
        ),
        (INSERT_EVENT, map(row_of_event, changes.events)),
    ):
        connection.executemany(statement, rows)


def _by_keys(
    connection: sqlite3.Connection,
    query: str,
    keys: Collection[Any],
    parameters: tuple[object, ...] = (),
) -> Iterator[tuple[Any, ...]]:
    """Yields the rows of a query for keys, each a value or a tuple of values.

    Rows may come more than once.
    """
    remaining = list(keys)
    for first in range(0, len(remaining), KEY_ROWS[-1]):
        part = remaining[first : first + KEY_ROWS[-1]]
        size = next(size for size in KEY_ROWS if size >= len(part))
        part += part[-1:] * (size - len(part))
        is_tuple = isinstance(part[0], tuple)
        values = [value for key in part for value in key] if is_tuple else part
        statement = with_keys(query, size, len(values) // size)
        yield from connection.execute(statement, (*values, *parameters))

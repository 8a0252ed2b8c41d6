"""SQL of the books in SQLite: looked up and written for all commands of a batch at once.

Every function runs inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
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
    BUDGET_NAMES,
    ENTRY_NAMES,
    EVENT_NAMES,
    RESERVATION_NAMES,
    TOKEN_NAMES,
    budget_of_row,
    entry_of_row,
    reservation_of_row,
    row_of_entry,
    row_of_event,
    row_of_reservation,
)
from agent_executor.ledger.accounting.stored_budgets import Asking
from agent_executor.ledger.prices.rate_card import RateCard

T = TypeVar("T")

Cards: TypeAlias = dict[str, RateCard]

# Keys are bound as a table of values, which SQLite reads faster than JSON. The number of rows is
# one of few, so that statements are prepared once; the last key stands in the rows that are left.
_KEY_ROWS: Final = (1, 4, 16, 64, 256, 1024)


def _names(names: Sequence[str], table: str = "") -> str:
    return ", ".join(f"{table}{name}" for name in names)


# S608: all parts of these statements are fixed names of columns; values are bound.
_RESERVATIONS: Final = (
    f"SELECT {_names(RESERVATION_NAMES, 'it.')} FROM keys"  # noqa: S608 -- see above
    " CROSS JOIN reservations AS it ON it.organization_id = ? AND it.id = keys.a"
)
_EXPIRED: Final = (
    f"SELECT {_names(RESERVATION_NAMES)} FROM reservations INDEXED BY reservations_open"  # noqa: S608 -- see above
    " WHERE organization_id = ? AND state = 'open' AND expires_at_ms <= ?"
)
_ENTRIES: Final = (
    f"SELECT {_names(ENTRY_NAMES, 'it.')} FROM keys"  # noqa: S608 -- see above
    " CROSS JOIN usage_entries AS it ON it.organization_id = ? AND it.id = keys.a"
)
_CORRECTIONS: Final = (
    f"SELECT {_names(ENTRY_NAMES, 'it.')} FROM keys"  # noqa: S608 -- see above
    " CROSS JOIN usage_entries AS it INDEXED BY usage_entries_by_corrected"
    " ON it.organization_id = ? AND it.corrects_entry_id = keys.a AND it.corrects_entry_id <> ''"
    " ORDER BY it.sequence"
)
_CARDS: Final = "SELECT it.id, it.body FROM keys CROSS JOIN rate_cards AS it ON it.id = keys.a"
_ANY_BUDGET: Final = "SELECT 1 FROM budgets WHERE organization_id = ? LIMIT 1"
# The index has to be named: the planner, which knows of no statistics, would walk through all.
_BUDGETS: Final = (
    f"SELECT {_names(BUDGET_NAMES, 'it.')} FROM keys"  # noqa: S608 -- see above
    " CROSS JOIN budgets AS it INDEXED BY budgets_by_scope ON it.organization_id = ?"
    " AND it.user_id = keys.a AND it.agent_id = keys.b AND it.run_id = keys.c"
)
_BALANCES: Final = (
    "SELECT it.budget_id, it.window_start_ms, it.settled_nano_usd, it.alerted_percent FROM keys"
    " CROSS JOIN budget_balances AS it ON it.organization_id = ?"
    " AND it.budget_id = keys.a AND it.window_start_ms = keys.b"
)


def _insert(table: str, names: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({_names(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 -- see above


_INSERT_RESERVATION: Final = _insert("reservations", RESERVATION_NAMES)
_INSERT_ENTRY: Final = _insert("usage_entries", ENTRY_NAMES)
_INSERT_EVENT: Final = _insert("budget_events", EVENT_NAMES)
_CHANGE_RESERVATION: Final = (
    "UPDATE reservations SET remaining_nano_usd = ?, drawn_nano_usd = ?, spent_nano_usd = ?,"
    " expires_at_ms = ?, state = ? WHERE organization_id = ? AND id = ?"
)
_CHANGE_RESERVED: Final = (
    "UPDATE budgets SET reserved_nano_usd = ? WHERE organization_id = ? AND id = ?"
)
_PUT_BALANCE: Final = (
    "INSERT INTO budget_balances (organization_id, budget_id, window_start_ms, settled_nano_usd,"
    " alerted_percent) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " settled_nano_usd = excluded.settled_nano_usd, alerted_percent = excluded.alerted_percent"
)
_ROLLUP_KEY: Final = (
    "organization_id",
    *("hour_ms", "user_id", "agent_id", "model", "tool_name", "kind"),
)
_ROLLUP_SUMS: Final = ("entry_count", *TOKEN_NAMES, "cost_nano_usd")
_ADD_TO_ROLLUP: Final = (
    f"{_insert('usage_rollups', (*_ROLLUP_KEY, *_ROLLUP_SUMS))} ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _ROLLUP_SUMS)
)

_as_tuple: Final = msgspec.structs.astuple


def carry_out(
    connection: sqlite3.Connection, commands: Sequence[Command], now_ms: int, cards: Cards
) -> tuple[list[Outcome], Cards]:
    """Carries commands out and returns their outcomes, and the cards that ``cards`` lacked."""
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
    return outcomes, new_cards


def free_expired(connection: sqlite3.Connection, organization_id: str, now_ms: int) -> None:
    """Ends the holds of an organization that have expired."""
    if connection.execute(f"{_EXPIRED} LIMIT 1", (organization_id, now_ms)).fetchone() is None:
        return
    book = _open_book(connection, organization_id, (), now_ms, {}, {})
    decide({organization_id: book}, ())
    _write(connection, organization_id, book.changes())


def find_reservation(
    connection: sqlite3.Connection, organization_id: str, reservation_id: str
) -> Reservation | None:
    """Returns a reservation as it is stored."""
    found = _by_keys(connection, _RESERVATIONS, (reservation_id,), (organization_id,))
    return next((reservation_of_row(row) for row in found), None)


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


def _open_book(  # noqa: PLR0913, PLR0917 -- what a book is opened with
    connection: sqlite3.Connection,
    organization_id: str,
    commands: Sequence[Command],
    now_ms: int,
    cards: Cards,
    new_cards: Cards,
) -> Book:
    rows = _look_up_rows(connection, organization_id, rows_needed(commands), now_ms)
    terms = terms_needed(commands, rows)
    unknown = [one for one in terms.rate_card_ids if one not in cards]
    for card_id, body in _by_keys(connection, _CARDS, unknown):
        new_cards[card_id] = card_of_body(body)
    budgets: list[StoredBudget] = []
    balances: dict[BalanceKey, Balance] = {}
    if terms.scopes and connection.execute(_ANY_BUDGET, (organization_id,)).fetchone():
        budgets = _look_up_budgets(connection, organization_id, terms.scopes)
        needed = balances_needed((one.budget for one in budgets), terms.occurred_at_ms, now_ms)
        balances = _look_up_balances(connection, organization_id, needed)
    return Book(
        organization_id,
        now_ms,
        rows,
        cards={**cards, **new_cards},
        budgets=budgets,
        balances=balances,
    )


def _look_up_rows(
    connection: sqlite3.Connection, organization_id: str, needed: RowsNeeded, now_ms: int
) -> Rows:
    rows = Rows()
    key = (organization_id,)
    found = connection.execute(_EXPIRED, (organization_id, now_ms)).fetchall()
    found += _by_keys(connection, _RESERVATIONS, needed.reservation_ids, key)
    while found:
        for row in found:
            reservation = reservation_of_row(row)
            rows.reservations[reservation.id] = reservation
        parents = {rows.reservations[row[0]].parent_id for row in found}
        found = list(
            _by_keys(connection, _RESERVATIONS, parents - rows.reservations.keys() - {""}, key)
        )
    for row in _by_keys(connection, _ENTRIES, needed.entry_ids | needed.corrected_ids, key):
        entry = entry_of_row(row)
        rows.entries[entry.id] = entry
    seen: set[str] = set()
    for row in _by_keys(connection, _CORRECTIONS, needed.corrected_ids, key):
        entry = entry_of_row(row)
        if entry.id not in seen:
            seen.add(entry.id)
            rows.corrections.setdefault(entry.corrects_entry_id, []).append(entry)
    return rows


def _look_up_budgets(
    connection: sqlite3.Connection, organization_id: str, scopes: Iterable[Scope]
) -> list[StoredBudget]:
    keys = {key for scope in scopes for key in scope_keys(scope)}
    rows = {row[0]: row for row in _by_keys(connection, _BUDGETS, keys, (organization_id,))}
    return [budget_of_row(row) for row in rows.values()]


def _look_up_balances(
    connection: sqlite3.Connection,
    organization_id: str,
    needed: Collection[BalanceKey],
) -> dict[BalanceKey, Balance]:
    return {
        (budget_id, start_ms): Balance(settled, alerted)
        for budget_id, start_ms, settled, alerted in _by_keys(
            connection, _BALANCES, needed, (organization_id,)
        )
    }


def _write(connection: sqlite3.Connection, organization_id: str, changes: Changes) -> None:
    """Writes what has changed. A kind of which there is nothing costs nothing."""
    for statement, rows in (
        (_INSERT_RESERVATION, map(row_of_reservation, changes.new_reservations)),
        (
            _CHANGE_RESERVATION,
            (
                (
                    *(one.remaining_nano_usd, one.drawn_nano_usd, one.spent_nano_usd),
                    *(one.expires_at_ms, one.state, organization_id, one.id),
                )
                for one in changes.changed_reservations
            ),
        ),
        (_INSERT_ENTRY, map(row_of_entry, changes.new_entries)),
        (
            _ADD_TO_ROLLUP,
            ((organization_id, *key, *_as_tuple(sums)) for key, sums in changes.rollups.items()),
        ),
        (
            _CHANGE_RESERVED,
            ((one.reserved_nano_usd, organization_id, one.budget_id) for one in changes.reserved),
        ),
        (
            _PUT_BALANCE,
            (
                (
                    *(organization_id, one.budget_id, one.window_start_ms),
                    *(one.settled_nano_usd, one.alerted_percent),
                )
                for one in changes.balances
            ),
        ),
        (_INSERT_EVENT, map(row_of_event, changes.events)),
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
    for first in range(0, len(remaining), _KEY_ROWS[-1]):
        part = remaining[first : first + _KEY_ROWS[-1]]
        size = next(size for size in _KEY_ROWS if size >= len(part))
        part += part[-1:] * (size - len(part))
        if isinstance(part[0], tuple):
            values = [value for key in part for value in key]
        else:
            values = part
        statement = _with_keys(query, size, len(values) // size)
        yield from connection.execute(statement, (*values, *parameters))


@lru_cache(maxsize=64)
def _with_keys(query: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"WITH keys ({', '.join('abc'[:columns])}) AS (VALUES {', '.join([row] * rows)}) {query}"

"""The statements of the books in SQLite.

Those that look up read from a table ``keys`` with the columns a, b and c; see ``with_keys``.
"""
# ruff: noqa: S608 -- all parts of these statements are fixed names of columns; values are bound

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from agent_executor.ledger.accounting.rollup import RollupKey
from agent_executor.ledger.accounting.rows import (
    BUDGET_NAMES,
    ENTRY_NAMES,
    EVENT_NAMES,
    RESERVATION_NAMES,
    TOKEN_NAMES,
)

# Keys are bound as a table of values, which SQLite reads faster than JSON. The number of rows is
# one of few, so that statements are prepared once; the last key stands in the rows that are left.
KEY_ROWS: Final = tuple(2**power for power in range(11))


def _names(names: Sequence[str], table: str = "") -> str:
    return ", ".join(f"{table}{name}" for name in names)


RESERVATIONS: Final = (
    f"SELECT {_names(RESERVATION_NAMES, 'it.')} FROM keys"
    " CROSS JOIN reservations AS it ON it.organization_id = ? AND it.id = keys.a"
)
EXPIRED: Final = (
    f"SELECT {_names(RESERVATION_NAMES)} FROM reservations INDEXED BY reservations_open"
    " WHERE organization_id = ? AND state = 'open' AND expires_at_ms <= ?"
)
ENTRIES: Final = (
    f"SELECT {_names(ENTRY_NAMES, 'it.')} FROM keys"
    " CROSS JOIN usage_entries AS it ON it.organization_id = ? AND it.id = keys.a"
)
CORRECTIONS: Final = (
    f"SELECT {_names(ENTRY_NAMES, 'it.')} FROM keys"
    " CROSS JOIN usage_entries AS it INDEXED BY usage_entries_by_corrected"
    " ON it.organization_id = ? AND it.corrects_entry_id = keys.a AND it.corrects_entry_id <> ''"
    " ORDER BY it.sequence"
)
CARDS: Final = "SELECT it.id, it.body FROM keys CROSS JOIN rate_cards AS it ON it.id = keys.a"
# Whether there is a budget at all, and one of a run.
ANY_BUDGET: Final = (
    "SELECT EXISTS (SELECT 1 FROM budgets WHERE organization_id = ?1), EXISTS ("
    "SELECT 1 FROM budgets INDEXED BY budgets_of_runs WHERE organization_id = ?1 AND run_id <> '')"
)
# The index has to be named: the planner, which knows of no statistics, would walk through all.
BUDGETS: Final = (
    f"SELECT {_names(BUDGET_NAMES, 'it.')} FROM keys"
    " CROSS JOIN budgets AS it INDEXED BY budgets_by_scope ON it.organization_id = ?"
    " AND it.user_id = keys.a AND it.agent_id = keys.b AND it.run_id = keys.c"
)
BALANCES: Final = (
    "SELECT it.budget_id, it.window_start_ms, it.settled_nano_usd, it.alerted_percent FROM keys"
    " CROSS JOIN budget_balances AS it ON it.organization_id = ?"
    " AND it.budget_id = keys.a AND it.window_start_ms = keys.b"
)


def _insert(table: str, names: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({_names(names)}) VALUES ({', '.join('?' * len(names))})"


INSERT_RESERVATION: Final = _insert("reservations", RESERVATION_NAMES)
INSERT_ENTRY: Final = _insert("usage_entries", ENTRY_NAMES)
INSERT_EVENT: Final = _insert("budget_events", EVENT_NAMES)
CHANGE_RESERVATION: Final = (
    "UPDATE reservations SET remaining_nano_usd = ?, drawn_nano_usd = ?, spent_nano_usd = ?,"
    " expires_at_ms = ?, state = ? WHERE organization_id = ? AND id = ?"
)
CHANGE_RESERVED: Final = (
    "UPDATE budgets SET reserved_nano_usd = ? WHERE organization_id = ? AND id = ?"
)
PUT_BALANCE: Final = (
    "INSERT INTO budget_balances (organization_id, budget_id, window_start_ms, settled_nano_usd,"
    " alerted_percent) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " settled_nano_usd = excluded.settled_nano_usd, alerted_percent = excluded.alerted_percent"
)
_ROLLUP_KEY: Final = ("organization_id", *RollupKey._fields)
_ROLLUP_SUMS: Final = ("entry_count", *TOKEN_NAMES, "cost_nano_usd")
ADD_TO_ROLLUP: Final = (
    f"{_insert('usage_rollups', (*_ROLLUP_KEY, *_ROLLUP_SUMS))} ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _ROLLUP_SUMS)
)


@lru_cache(maxsize=128)
def with_keys(query: str, rows: int, columns: int) -> str:
    """Returns a query of ``keys`` with places for so many rows of keys."""
    row = f"({', '.join('?' * columns)})"
    return f"WITH keys ({', '.join('abc'[:columns])}) AS (VALUES {', '.join([row] * rows)}) {query}"

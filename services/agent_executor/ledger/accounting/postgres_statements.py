"""The statements of the books in PostgreSQL."""
# ruff: noqa: S608 -- all parts of these statements are fixed names of columns; values are bound

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_executor.ledger.accounting.rollup import RollupKey
from agent_executor.ledger.accounting.rows import (
    BUDGET_NAMES,
    ENTRY_NAMES,
    EVENT_NAMES,
    RESERVATION_NAMES,
    TOKEN_NAMES,
)
from agent_executor.ledger.tables import METADATA

# Sets these advisory locks apart from others of the same database.
_LOCKS: Final = 0x4C454447
LOCK: Final = f"SELECT pg_advisory_xact_lock({_LOCKS}, hashtext($1))"


def _names(names: Sequence[str], table: str = "") -> str:
    return ", ".join(f"{table}{name}" for name in names)


# A subquery with OFFSET is looked up key by key; left to itself, a planner that knows of no
# statistics may read whole tables.
def _by_key(select: str, keys: str, where: str) -> str:
    return f"SELECT it.* FROM {keys}, LATERAL ({select} WHERE {where} OFFSET 0) AS it"


_SELECT_RESERVATIONS: Final = f"SELECT {_names(RESERVATION_NAMES)} FROM reservations"
_NAMED: Final = _by_key(
    _SELECT_RESERVATIONS,
    "unnest($2::text[]) AS keys (id)",
    "organization_id = $1 AND id = keys.id",
)
_PARENTS: Final = _by_key(
    _SELECT_RESERVATIONS,
    "found",
    "found.parent_id <> '' AND organization_id = $1 AND id = found.parent_id",
)
ANCESTORS: Final = f"""
    WITH RECURSIVE found AS (
        (
            {_NAMED}
            UNION
            {_SELECT_RESERVATIONS}
            WHERE organization_id = $1 AND state = 'open' AND expires_at_ms <= $3
        )
        UNION
        {_PARENTS}
    ) SELECT * FROM found
"""
ANY_EXPIRED: Final = """
    SELECT 1 FROM reservations
    WHERE organization_id = $1 AND state = 'open' AND expires_at_ms <= $2 LIMIT 1
"""
RESERVATION: Final = f"{_SELECT_RESERVATIONS} WHERE organization_id = $1 AND id = $2"
_SELECT_ENTRIES: Final = f"SELECT {_names(ENTRY_NAMES)} FROM usage_entries"
ENTRIES: Final = _by_key(
    _SELECT_ENTRIES,
    "unnest($2::text[]) AS keys (id)",
    "organization_id = $1 AND id = keys.id",
)
CORRECTIONS: Final = (
    _by_key(
        f"SELECT {_names(ENTRY_NAMES)}, sequence FROM usage_entries",
        "unnest($2::text[]) AS keys (id)",
        "organization_id = $1 AND corrects_entry_id = keys.id AND corrects_entry_id <> ''",
    )
    + " ORDER BY it.sequence"
)
CARDS: Final = "SELECT id, body FROM rate_cards WHERE id = ANY ($1::text[])"
ANY_BUDGET: Final = "SELECT 1 FROM budgets WHERE organization_id = $1 LIMIT 1"
BUDGETS: Final = _by_key(
    f"SELECT {_names(BUDGET_NAMES)} FROM budgets",
    "unnest($2::text[], $3::text[], $4::text[]) AS keys (user_id, agent_id, run_id)",
    "organization_id = $1 AND user_id = keys.user_id AND agent_id = keys.agent_id"
    " AND run_id = keys.run_id",
)
BALANCES: Final = _by_key(
    "SELECT budget_id, window_start_ms, settled_nano_usd, alerted_percent FROM budget_balances",
    "unnest($2::text[], $3::bigint[]) AS keys (budget_id, start_ms)",
    "organization_id = $1 AND budget_id = keys.budget_id AND window_start_ms = keys.start_ms",
)


def _arrays(table: str, names: Sequence[str], first: int = 1) -> str:
    """Returns the rows of arrays, one for each of these columns of a table."""
    columns = METADATA.tables[table].columns
    types = [columns[name].type.compile().lower() for name in names]
    places = ", ".join(f"${first + place}::{kind}[]" for place, kind in enumerate(types))
    return f"unnest({places})"


def _insert(table: str, names: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({_names(names)}) SELECT * FROM {_arrays(table, names)}"


def _update(table: str, keys: Sequence[str], values: Sequence[str]) -> str:
    settings = ", ".join(f"{name} = new.{name}" for name in values)
    return (
        f"UPDATE {table} AS it SET {settings}"
        f" FROM {_arrays(table, (*keys, *values), 2)} AS new ({_names((*keys, *values))})"
        f" WHERE it.organization_id = $1 AND {' AND '.join(f'it.{key} = new.{key}' for key in keys)}"
    )


CHANGING: Final = (
    *("remaining_nano_usd", "drawn_nano_usd", "spent_nano_usd", "expires_at_ms", "state"),
)
_BALANCE_NAMES: Final = (
    *("organization_id", "budget_id", "window_start_ms", "settled_nano_usd", "alerted_percent"),
)
_ROLLUP_KEY: Final = ("organization_id", *RollupKey._fields)
_ROLLUP_SUMS: Final = ("entry_count", *TOKEN_NAMES, "cost_nano_usd")
INSERT_RESERVATIONS: Final = _insert("reservations", RESERVATION_NAMES)
CHANGE_RESERVATIONS: Final = _update("reservations", ("id",), CHANGING)
INSERT_ENTRIES: Final = _insert("usage_entries", ENTRY_NAMES)
CHANGE_RESERVED: Final = _update("budgets", ("id",), ("reserved_nano_usd",))
PUT_BALANCES: Final = (
    f"{_insert('budget_balances', _BALANCE_NAMES)}"
    " ON CONFLICT (organization_id, budget_id, window_start_ms) DO UPDATE SET"
    " settled_nano_usd = excluded.settled_nano_usd, alerted_percent = excluded.alerted_percent"
)
ADD_TO_ROLLUPS: Final = (
    f"{_insert('usage_rollups', (*_ROLLUP_KEY, *_ROLLUP_SUMS))}"
    f" ON CONFLICT ({_names(_ROLLUP_KEY)}) DO UPDATE SET "
    + ", ".join(f"{name} = usage_rollups.{name} + excluded.{name}" for name in _ROLLUP_SUMS)
)
INSERT_EVENTS: Final = _insert("budget_events", EVENT_NAMES)

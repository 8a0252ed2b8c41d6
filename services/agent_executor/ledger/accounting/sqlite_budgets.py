"""SQL of budgets and their balances. Every function runs inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from agent_executor.ledger.accounting.budget import (
    Budget,
    BudgetStatus,
    Overrun,
    window_end_ms,
    window_start_ms,
)
from agent_executor.ledger.money import NanoUsd

# Eight look-ups in the index, however many budgets an organization has. It has to be named: the
# planner, which knows of no statistics, would walk through all of them.
_BY_SCOPE: Final = "budgets INDEXED BY budgets_by_scope"
_APPLIES: Final = """
    organization_id = :organization_id AND user_id IN ('', :user_id)
    AND agent_id IN ('', :agent_id) AND run_id IN ('', :run_id)
"""
# The start of a budget's present window; a missing balance is one of zero.
_WINDOW_START: Final = """
    CASE spending_window WHEN 'day' THEN :day_start_ms WHEN 'month' THEN :month_start_ms ELSE 0 END
"""
_STATUS: Final = f"""
    SELECT id, organization_id, limit_nano_usd, spending_window, user_id, agent_id, run_id,
        reserved_nano_usd,
        COALESCE((
            SELECT settled_nano_usd FROM budget_balances
            WHERE organization_id = budgets.organization_id AND budget_id = budgets.id
                AND window_start_ms = {_WINDOW_START}
        ), 0)
"""  # noqa: S608 -- made of constants
_STATUSES_THAT_APPLY: Final = f"{_STATUS} FROM {_BY_SCOPE} WHERE {_APPLIES}"
_STATUS_BY_ID: Final = (
    f"{_STATUS} FROM budgets WHERE organization_id = :organization_id AND id = :id"
)
_STATUSES_AFTER_ID: Final = f"""
    {_STATUS} FROM budgets WHERE organization_id = :organization_id AND id > :id
    ORDER BY id LIMIT :limit
"""
_ANY_BUDGET: Final = "SELECT 1 FROM budgets WHERE organization_id = ? LIMIT 1"
_CHANGE_RESERVED: Final = f"""
    UPDATE {_BY_SCOPE} SET reserved_nano_usd = reserved_nano_usd + :change WHERE {_APPLIES}
"""  # noqa: S608 -- made of constants
_ADD_SETTLED: Final = f"""
    INSERT INTO budget_balances (organization_id, budget_id, window_start_ms, settled_nano_usd)
    SELECT organization_id, id, {_WINDOW_START}, :cost FROM {_BY_SCOPE} WHERE {_APPLIES}
    ON CONFLICT DO UPDATE SET settled_nano_usd = settled_nano_usd + excluded.settled_nano_usd
"""  # noqa: S608 -- made of constants
_FREE_EXPIRED: Final = """
    UPDATE reservations SET state = 'expired'
    WHERE organization_id = ? AND state = 'open' AND expires_at_ms <= ?
    RETURNING user_id, agent_id, run_id, held_nano_usd
"""
_SCOPE: Final = """
    organization_id = :organization_id AND (:user_id = '' OR user_id = :user_id)
    AND (:agent_id = '' OR agent_id = :agent_id) AND (:run_id = '' OR run_id = :run_id)
"""
_INSERT_BUDGET: Final = f"""
    INSERT INTO budgets (organization_id, id, limit_nano_usd, spending_window, user_id, agent_id,
        run_id, reserved_nano_usd)
    VALUES (:organization_id, :id, :limit_nano_usd, :window, :user_id, :agent_id, :run_id,
        (SELECT COALESCE(SUM(held_nano_usd), 0) FROM reservations WHERE state = 'open' AND {_SCOPE})
    )
"""  # noqa: S608 -- made of constants
_INSERT_BALANCE: Final = f"""
    INSERT INTO budget_balances (organization_id, budget_id, window_start_ms, settled_nano_usd)
    SELECT :organization_id, :id, :start_ms, COALESCE(SUM(cost_nano_usd), 0)
    FROM usage_entries WHERE {_SCOPE} AND created_at_ms >= :start_ms
"""  # noqa: S608 -- made of constants
_SET_LIMIT: Final = """
    UPDATE budgets SET limit_nano_usd = :limit_nano_usd
    WHERE organization_id = :organization_id AND id = :id
"""
_INSERT_OVERRUN: Final = """
    INSERT INTO budget_overruns (organization_id, budget_id, entry_id, excess_nano_usd,
        recorded_at_ms)
    VALUES (?, ?, ?, ?, ?)
"""


_DAY_MS: Final = 86_400_000


class Scope:
    """Whose spending at which time: the parameters of every statement that finds budgets by it."""

    __slots__ = ("now_ms", "parameters")

    def __init__(
        self, organization_id: str, user_id: str, agent_id: str, run_id: str, now_ms: int
    ) -> None:
        self.now_ms = now_ms
        self.parameters: dict[str, Any] = {
            "organization_id": organization_id,
            "user_id": user_id,
            "agent_id": agent_id,
            "run_id": run_id,
            **_window_starts(now_ms),
        }


def has_budgets(connection: sqlite3.Connection, organization_id: str) -> bool:
    """Tells whether an organization has any budget: most have none, and this is the quickest way."""
    return connection.execute(_ANY_BUDGET, (organization_id,)).fetchone() is not None


def statuses_that_apply(connection: sqlite3.Connection, scope: Scope) -> list[BudgetStatus]:
    """Returns the budgets that spending of this scope counts against, by id."""
    rows = connection.execute(_STATUSES_THAT_APPLY, scope.parameters).fetchall()
    return [_status(row, scope.now_ms) for row in sorted(rows)]


def change_reserved(connection: sqlite3.Connection, scope: Scope, change_nano_usd: int) -> None:
    """Adds to what is held against every budget that applies; a negative change frees."""
    connection.execute(_CHANGE_RESERVED, {**scope.parameters, "change": change_nano_usd})


def add_settled(connection: sqlite3.Connection, scope: Scope, cost_nano_usd: NanoUsd) -> None:
    """Adds to what is settled in the present window of every budget that applies."""
    connection.execute(_ADD_SETTLED, {**scope.parameters, "cost": cost_nano_usd})


def free_expired(connection: sqlite3.Connection, organization_id: str, now_ms: int) -> None:
    """Ends the holds of an organization that have expired."""
    expired = connection.execute(_FREE_EXPIRED, (organization_id, now_ms)).fetchall()
    for user_id, agent_id, run_id, held_nano_usd in expired:
        scope = Scope(organization_id, user_id, agent_id, run_id, now_ms)
        change_reserved(connection, scope, -held_nano_usd)


def put_budget(
    connection: sqlite3.Connection, budget: Budget, now_ms: int
) -> tuple[BudgetStatus, Overrun | None]:
    """See ``BudgetStore.put_budget``."""
    stored = get_budget(connection, budget.organization_id, budget.id, now_ms)
    if stored is not None and not stored.budget.covers_the_same(budget):
        return stored, None
    parameters = {
        "organization_id": budget.organization_id,
        "id": budget.id,
        "limit_nano_usd": budget.limit_nano_usd,
        "window": budget.window,
        "user_id": budget.user_id,
        "agent_id": budget.agent_id,
        "run_id": budget.run_id,
        "start_ms": window_start_ms(budget.window, now_ms),
    }
    if stored is None:
        connection.execute(_INSERT_BUDGET, parameters)
        connection.execute(_INSERT_BALANCE, parameters)
    else:
        connection.execute(_SET_LIMIT, parameters)
    status = get_budget(connection, budget.organization_id, budget.id, now_ms)
    assert status is not None, "it was stored just now"  # noqa: S101 -- same transaction
    if status.left_nano_usd >= 0:
        return status, None
    return status, record_overrun(connection, status, "", now_ms)


def get_budget(
    connection: sqlite3.Connection, organization_id: str, budget_id: str, now_ms: int
) -> BudgetStatus | None:
    """See ``BudgetStore.get_budget``."""
    free_expired(connection, organization_id, now_ms)
    parameters = {"organization_id": organization_id, "id": budget_id, **_window_starts(now_ms)}
    row = connection.execute(_STATUS_BY_ID, parameters).fetchone()
    return None if row is None else _status(row, now_ms)


def list_budgets(
    connection: sqlite3.Connection, organization_id: str, now_ms: int, limit: int, after_id: str
) -> list[BudgetStatus]:
    """See ``BudgetStore.list_budgets``."""
    free_expired(connection, organization_id, now_ms)
    parameters = {
        "organization_id": organization_id,
        "id": after_id,
        "limit": limit,
        **_window_starts(now_ms),
    }
    return [_status(row, now_ms) for row in connection.execute(_STATUSES_AFTER_ID, parameters)]


def delete_budget(connection: sqlite3.Connection, organization_id: str, budget_id: str) -> bool:
    """See ``BudgetStore.delete_budget``."""
    key = (organization_id, budget_id)
    connection.execute(
        "DELETE FROM budget_balances WHERE organization_id = ? AND budget_id = ?", key
    )
    deleted = connection.execute("DELETE FROM budgets WHERE organization_id = ? AND id = ?", key)
    return deleted.rowcount > 0


def record_overrun(
    connection: sqlite3.Connection, status: BudgetStatus, entry_id: str, now_ms: int
) -> Overrun:
    """Writes down that a budget is over its limit."""
    overrun = Overrun(status.budget.id, entry_id, -status.left_nano_usd, now_ms)
    organization_id = status.budget.organization_id
    connection.execute(
        _INSERT_OVERRUN,
        (organization_id, overrun.budget_id, entry_id, overrun.excess_nano_usd, now_ms),
    )
    return overrun


def _window_starts(now_ms: int) -> Mapping[str, int]:
    return _window_starts_on(now_ms // _DAY_MS)


@lru_cache(maxsize=8)
def _window_starts_on(day: int) -> Mapping[str, int]:
    """Returns when the windows began that hold a day, counted from 1970-01-01."""
    return {
        "day_start_ms": window_start_ms("day", day * _DAY_MS),
        "month_start_ms": window_start_ms("month", day * _DAY_MS),
    }


def _status(row: tuple[Any, ...], now_ms: int) -> BudgetStatus:
    budget = Budget(
        id=row[0],
        organization_id=row[1],
        limit_nano_usd=row[2],
        window=row[3],
        user_id=row[4],
        agent_id=row[5],
        run_id=row[6],
    )
    return BudgetStatus(
        budget,
        settled_nano_usd=row[8],
        reserved_nano_usd=row[7],
        resets_at_ms=window_end_ms(budget.window, now_ms),
    )

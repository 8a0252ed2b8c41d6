"""Putting, reading and deleting budgets, in SQL that both databases understand.

What is done is the same on both; only who runs the statements differs. So each function is a
generator that yields a statement with its named values and is sent the rows; ``sqlite_books`` and
``postgres_books`` run it inside a transaction in which expired holds have been freed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from agent_executor.ledger.accounting.book import Balance, StoredBudget
from agent_executor.ledger.accounting.budget import (
    Budget,
    BudgetEvent,
    BudgetPosition,
    BudgetStatus,
    check_budgets_of_scope,
)
from agent_executor.ledger.accounting.rollup import HOUR_MS, RollupDetail
from agent_executor.ledger.accounting.rows import (
    BUDGET_NAMES,
    EVENT_NAMES,
    budget_of_row,
    event_of_row,
    row_of_budget,
    row_of_event,
)
from agent_executor.ledger.accounting.store import BudgetPut
from agent_executor.ledger.accounting.window import WindowBounds, window_at
from agent_executor.ledger.money import NanoUsd

T = TypeVar("T")
Values: TypeAlias = dict[str, Any]
Asking: TypeAlias = Generator[tuple[str, Values], Sequence[Sequence[Any]], T]
"""Yields statements with their values, is sent the rows of each, and returns a value."""


def _insert(table: str, names: Sequence[str]) -> str:
    places = ", ".join(f":{name}" for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"  # noqa: S608 -- fixed names; values are bound


# S608: all parts of these statements are fixed names of columns; values are bound.
_BUDGETS: Final = (
    f"SELECT {', '.join(BUDGET_NAMES)} FROM budgets WHERE organization_id = :organization_id"  # noqa: S608 -- see above
)
_FIND_BUDGET: Final = f"{_BUDGETS} AND id = :budget_id"
_LIST_BUDGETS: Final = f"{_BUDGETS} AND id > :after_id ORDER BY id LIMIT :limit"
_COUNT_OF_SCOPE: Final = """
    SELECT COUNT(*) FROM budgets WHERE organization_id = :organization_id
        AND user_id = :user_id AND agent_id = :agent_id AND run_id = :run_id
"""
_INSERT_BUDGET: Final = _insert("budgets", BUDGET_NAMES)
_CHANGE_BUDGET: Final = """
    UPDATE budgets SET limit_nano_usd = :limit_nano_usd, alert_percents = :alert_percents
    WHERE organization_id = :organization_id AND id = :id
"""
_DELETE_BUDGET: Final = """
    DELETE FROM budgets WHERE organization_id = :organization_id AND id = :budget_id RETURNING id
"""
_DELETE_OF_BUDGET: Final = tuple(
    f"DELETE FROM {table} WHERE organization_id = :organization_id AND budget_id = :budget_id"  # noqa: S608 -- see above
    for table in ("budget_balances", "budget_events")
)
_BALANCES: Final = """
    SELECT budget_id, window_start_ms, settled_nano_usd, alerted_percent FROM budget_balances
    WHERE organization_id = :organization_id AND budget_id BETWEEN :first_id AND :last_id
        AND (window_start_ms = 0 OR window_start_ms >= :earliest_ms)
"""
_PUT_BALANCE: Final = (
    "INSERT INTO budget_balances (organization_id, budget_id, window_start_ms, settled_nano_usd,"
    " alerted_percent) VALUES (:organization_id, :budget_id, :window_start_ms, :settled_nano_usd,"
    " :alerted_percent) ON CONFLICT (organization_id, budget_id, window_start_ms) DO UPDATE SET"
    " alerted_percent = excluded.alerted_percent"
)
_INSERT_EVENT: Final = f"{_insert('budget_events', EVENT_NAMES)} RETURNING sequence"
_EVENTS: Final = f"""
    SELECT {", ".join(EVENT_NAMES)}, sequence FROM budget_events
    WHERE organization_id = :organization_id AND sequence < :before_id
"""  # noqa: S608 -- see above
_NEWEST_EVENTS: Final = f"{_EVENTS} ORDER BY sequence DESC LIMIT :limit"
_NEWEST_EVENTS_OF_BUDGET: Final = (
    f"{_EVENTS} AND budget_id = :budget_id ORDER BY sequence DESC LIMIT :limit"
)
_NO_EVENT_BEFORE: Final = 2**63 - 1

_WHO: Final = """
    (:user_id = '' OR {it}.user_id = :user_id) AND (:agent_id = '' OR {it}.agent_id = :agent_id)
    AND (:run_id = '' OR {it}.run_id = :run_id)
"""
# Below a reservation to which the budget applies, what others draw is part of what that one holds.
_HELD: Final = f"""
    WITH RECURSIVE held AS (
        SELECT id, parent_id, remaining_nano_usd FROM reservations AS r
        WHERE organization_id = :organization_id AND state = 'open' AND {_WHO.format(it="r")}
        UNION ALL
        SELECT id, parent_id, remaining_nano_usd FROM reservations AS r
        WHERE organization_id = :organization_id AND state <> 'open' AND remaining_nano_usd > 0
            AND {_WHO.format(it="r")}
    ), above (id, ancestor_id) AS (
        SELECT id, parent_id FROM held WHERE parent_id <> ''
        UNION ALL
        SELECT above.id, r.parent_id FROM above
        JOIN reservations AS r ON r.organization_id = :organization_id AND r.id = above.ancestor_id
        WHERE r.parent_id <> ''
    )
    SELECT CAST(COALESCE(SUM(remaining_nano_usd), 0) AS BIGINT) FROM held WHERE id NOT IN (
        SELECT above.id FROM above
        JOIN reservations AS r ON r.organization_id = :organization_id AND r.id = above.ancestor_id
        WHERE {_WHO.format(it="r")}
    )
"""  # noqa: S608 -- see above
_SUM: Final = "SELECT CAST(COALESCE(SUM(cost_nano_usd), 0) AS BIGINT)"
_SUM_OF_SPANS: Final = f"""
    {_SUM} FROM usage_rollups AS r WHERE organization_id = :organization_id
        AND detail = :detail AND span_hours = :span_hours
        AND start_ms >= :start_ms AND start_ms < :end_ms AND (:user_id = '' OR user_id = :user_id)
        AND (:agent_id = '' OR agent_id = :agent_id)
"""
_SUM_OF_ENTRIES: Final = f"""
    {_SUM} FROM usage_entries AS e WHERE organization_id = :organization_id
        AND occurred_at_ms >= :start_ms AND occurred_at_ms < :end_ms
        AND (:user_id = '' OR user_id = :user_id) AND (:agent_id = '' OR agent_id = :agent_id)
"""
_SUM_OF_RUN: Final = f"""
    {_SUM} FROM usage_entries AS e WHERE organization_id = :organization_id AND run_id = :run_id
        AND occurred_at_ms >= :start_ms AND occurred_at_ms < :end_ms
        AND (:user_id = '' OR user_id = :user_id) AND (:agent_id = '' OR agent_id = :agent_id)
"""
_LATER_HOURS: Final = """
    SELECT DISTINCT start_ms FROM usage_rollups WHERE organization_id = :organization_id
        AND detail = 'users' AND span_hours = 1 AND start_ms > :hour_ms
"""


def put_budget(budget: Budget, now_ms: int) -> Asking[BudgetPut]:
    """See ``AccountingStore.put_budget``."""
    stored = yield from _find(budget.organization_id, budget.id)
    if stored is not None and not stored.budget.covers_the_same(budget):
        return BudgetPut((yield from _status(stored, now_ms)))
    left_nano_usd = 0
    if stored is None:
        stored = yield from _insert_budget(budget, now_ms)
    else:
        position, _ = yield from _position(stored, now_ms)
        left_nano_usd = position.left_nano_usd
        stored = StoredBudget(budget, stored.reserved_nano_usd, stored.counted_from_ms)
        values = dict(zip(BUDGET_NAMES, row_of_budget(stored), strict=True))
        changed = ("organization_id", "id", "limit_nano_usd", "alert_percents")
        yield _CHANGE_BUDGET, {name: values[name] for name in changed}
    position, balance = yield from _position(stored, now_ms)
    events = position.events(left_nano_usd, balance.alerted_percent, "", now_ms)
    if percent := max((event.percent for event in events), default=0):
        yield _balance(budget, position.window_start_ms, position.settled_nano_usd, percent)
    stored_events = yield from _insert_events(events)
    return BudgetPut(_status_at(position, now_ms), stored_events)


def get_budget(organization_id: str, budget_id: str, now_ms: int) -> Asking[BudgetStatus | None]:
    """See ``AccountingStore.get_budget``."""
    stored = yield from _find(organization_id, budget_id)
    return None if stored is None else (yield from _status(stored, now_ms))


def list_budgets(
    organization_id: str, now_ms: int, limit: int, after_id: str
) -> Asking[list[BudgetStatus]]:
    """See ``AccountingStore.list_budgets``."""
    values = {"organization_id": organization_id, "after_id": after_id, "limit": limit}
    budgets = [budget_of_row(row) for row in (yield _LIST_BUDGETS, values)]
    positions = yield from _positions(budgets, now_ms)
    return [_status_at(position, now_ms) for position, _ in positions]


def delete_budget(organization_id: str, budget_id: str) -> Asking[bool]:
    """See ``AccountingStore.delete_budget``."""
    values = {"organization_id": organization_id, "budget_id": budget_id}
    for statement in _DELETE_OF_BUDGET:
        yield statement, values
    return bool((yield _DELETE_BUDGET, values))


def budget_events(
    organization_id: str, limit: int, budget_id: str, before_id: int
) -> Asking[list[BudgetEvent]]:
    """See ``AccountingStore.budget_events``."""
    values: Values = {
        "organization_id": organization_id,
        "before_id": before_id or _NO_EVENT_BEFORE,
        "limit": limit,
    }
    if not budget_id:
        return [event_of_row(row) for row in (yield _NEWEST_EVENTS, values)]
    values["budget_id"] = budget_id
    return [event_of_row(row) for row in (yield _NEWEST_EVENTS_OF_BUDGET, values)]


def _insert_budget(budget: Budget, now_ms: int) -> Asking[StoredBudget]:
    """Stores a new budget, with what is held and what was spent in its present window and later."""
    who = _who(budget)
    check_budgets_of_scope((yield _COUNT_OF_SCOPE, who)[0][0])
    held_nano_usd = (yield _HELD, who)[0][0]
    present = window_at(budget.window, budget.time_zone, now_ms)
    stored = StoredBudget(budget, held_nano_usd, present.start_ms)
    yield _INSERT_BUDGET, dict(zip(BUDGET_NAMES, row_of_budget(stored), strict=True))
    windows = {present}
    if present.resets_at_ms is not None:
        # The clocks of those who record are not quite the same.
        later = {
            "organization_id": budget.organization_id,
            "hour_ms": present.end_ms - HOUR_MS,
        }
        for (hour_ms,) in (yield _LATER_HOURS, later):
            for at_ms in (hour_ms, hour_ms + HOUR_MS - 1):
                windows.add(window_at(budget.window, budget.time_zone, at_ms))
        windows = {window for window in windows if window.start_ms >= present.start_ms}
    for window in windows:
        settled_nano_usd = yield from _settled_in(budget, window)
        yield _balance(budget, window.start_ms, settled_nano_usd, 0)
    return stored


def _settled_in(budget: Budget, window: WindowBounds) -> Asking[int]:
    """Returns the sum of the entries of a window; of whole spans of time it is there already."""
    who = _who(budget)
    if budget.run_id:
        bounds = {"start_ms": window.start_ms, "end_ms": window.end_ms}
        return int((yield _SUM_OF_RUN, {**who, **bounds})[0][0])
    del who["run_id"]
    detail, span_hours = _spans(budget)
    span_ms = span_hours * HOUR_MS
    spans = {"detail": detail, "span_hours": span_hours}
    first_ms = -(-window.start_ms // span_ms) * span_ms
    last_ms = max(window.end_ms // span_ms * span_ms, first_ms)
    settled_nano_usd = 0
    for statement, start_ms, end_ms, more in (
        (_SUM_OF_ENTRIES, window.start_ms, min(first_ms, window.end_ms), {}),
        (_SUM_OF_SPANS, first_ms, last_ms, spans),
        (_SUM_OF_ENTRIES, last_ms, window.end_ms, {}),
    ):
        if start_ms < end_ms:
            values = {**who, **more, "start_ms": start_ms, "end_ms": end_ms}
            settled_nano_usd += (yield statement, values)[0][0]
    return settled_nano_usd


def _spans(budget: Budget) -> tuple[RollupDetail, int]:
    """Returns the finest roll-ups that tell apart what a budget does, and have few rows."""
    if budget.user_id and budget.agent_id:
        return "all", 24
    return ("agents" if budget.agent_id else "users"), 1


def _find(organization_id: str, budget_id: str) -> Asking[StoredBudget | None]:
    values = {"organization_id": organization_id, "budget_id": budget_id}
    rows = yield _FIND_BUDGET, values
    return budget_of_row(rows[0]) if rows else None


def _status(stored: StoredBudget, now_ms: int) -> Asking[BudgetStatus]:
    position, _ = yield from _position(stored, now_ms)
    return _status_at(position, now_ms)


def _status_at(position: BudgetPosition, now_ms: int) -> BudgetStatus:
    budget = position.budget
    return BudgetStatus(
        budget,
        NanoUsd(position.settled_nano_usd),
        NanoUsd(position.reserved_nano_usd),
        window_at(budget.window, budget.time_zone, now_ms).resets_at_ms,
    )


def _position(stored: StoredBudget, now_ms: int) -> Asking[tuple[BudgetPosition, Balance]]:
    return (yield from _positions([stored], now_ms))[0]


def _positions(
    budgets: Sequence[StoredBudget], now_ms: int
) -> Asking[list[tuple[BudgetPosition, Balance]]]:
    """Returns where budgets of one organization, which are sorted by id, are at present."""
    if not budgets:
        return []
    starts = [
        window_at(one.budget.window, one.budget.time_zone, now_ms).start_ms for one in budgets
    ]
    values = {
        "organization_id": budgets[0].budget.organization_id,
        "first_id": budgets[0].budget.id,
        "last_id": budgets[-1].budget.id,
        "earliest_ms": min((start for start in starts if start), default=_NO_EVENT_BEFORE),
    }
    balances = {
        (budget_id, start_ms): Balance(settled, alerted)
        for budget_id, start_ms, settled, alerted in (yield _BALANCES, values)
    }
    positions = []
    for stored, start_ms in zip(budgets, starts, strict=True):
        balance = balances.get((stored.budget.id, start_ms), Balance())
        position = BudgetPosition(
            stored.budget, start_ms, balance.settled_nano_usd, stored.reserved_nano_usd
        )
        positions.append((position, balance))
    return positions


def _insert_events(events: Iterable[BudgetEvent]) -> Asking[tuple[BudgetEvent, ...]]:
    stored = []
    for event in events:
        row = row_of_event(event)
        rows = yield _INSERT_EVENT, dict(zip(EVENT_NAMES, row, strict=True))
        stored.append(event_of_row((*row, rows[0][0])))
    return tuple(stored)


def _balance(
    budget: Budget, window_start_ms: int, settled_nano_usd: int, alerted_percent: int
) -> tuple[str, Values]:
    return _PUT_BALANCE, {
        "organization_id": budget.organization_id,
        "budget_id": budget.id,
        "window_start_ms": window_start_ms,
        "settled_nano_usd": settled_nano_usd,
        "alerted_percent": alerted_percent,
    }


def _who(budget: Budget) -> Values:
    return {
        "organization_id": budget.organization_id,
        "user_id": budget.user_id,
        "agent_id": budget.agent_id,
        "run_id": budget.run_id,
    }

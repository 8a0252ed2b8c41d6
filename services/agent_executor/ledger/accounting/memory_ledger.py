"""What is in the ledger when it is kept in memory."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from agent_executor.ledger.accounting.book import (
    Balance,
    BalanceKey,
    Book,
    Changes,
    Rollup,
    StoredBudget,
)
from agent_executor.ledger.accounting.budget import Budget, BudgetEvent
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.needs import Rows, RowsNeeded, Scope, scope_keys
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.rollup import RollupKey
from agent_executor.ledger.accounting.window import WindowBounds
from agent_executor.ledger.prices.rate_card import RateCard


class MemoryOrganization:
    """What one organization has in the ledger.

    Attributes:
        entries: In the order of their writing; the position of an entry is its place, from 1.
        entries_by_id: The same entries.
        corrections: Of them those that correct or rate again, by the corrected entry.
        rollups: As in the table ``usage_rollups``.
        reservations: By id, those that have ended too, in the order of their making.
        budgets: By id.
        balances: What is settled, by budget and window.
        events: Oldest first; the id of an event is its place in the ledger, from 1.
    """

    def __init__(self) -> None:
        self.entries: list[UsageEntry] = []
        self.entries_by_id: dict[str, UsageEntry] = {}
        self.corrections: dict[str, list[UsageEntry]] = {}
        self.rollups: dict[RollupKey, Rollup] = {}
        self.reservations: dict[str, Reservation] = {}
        self.budgets: dict[str, StoredBudget] = {}
        self.balances: dict[BalanceKey, Balance] = {}
        self.events: list[BudgetEvent] = []
        self._budgets_by_scope: defaultdict[Scope, set[str]] = defaultdict(set)
        # Ends of open holds. Some of these holds have ended or been renewed since.
        self._ends: list[tuple[int, str]] = []

    def take_expired(self, now_ms: int) -> RowsNeeded:
        """Returns which holds may have expired since this was asked; the asker frees them."""
        needed = RowsNeeded()
        while self._ends and self._ends[0][0] <= now_ms:
            needed.reservation_ids.add(heapq.heappop(self._ends)[1])
        return needed

    def read(self, needed: RowsNeeded) -> Rows:
        """Returns the rows that are needed."""
        rows = Rows()
        for reservation_id in needed.reservation_ids:
            one = self.reservations.get(reservation_id)
            while one is not None and one.id not in rows.reservations:
                rows.reservations[one.id] = one
                one = self.reservations.get(one.parent_id)
        for entry_id in needed.entry_ids | needed.corrected_ids:
            if entry_id in self.entries_by_id:
                rows.entries[entry_id] = self.entries_by_id[entry_id]
        for entry_id in needed.corrected_ids:
            rows.corrections[entry_id] = list(self.corrections.get(entry_id, ()))
        return rows

    def budgets_for(self, scopes: Iterable[Scope]) -> list[StoredBudget]:
        """Returns the budgets that apply to any of these."""
        if not self.budgets:
            return []
        keys = {key for scope in scopes for key in scope_keys(scope)}
        return [
            self.budgets[budget_id]
            for key in keys
            for budget_id in self._budgets_by_scope.get(key, ())
        ]

    def write(self, changes: Changes) -> None:
        """Writes what has changed."""
        for entry in changes.new_entries:
            self.entries.append(entry)
            self.entries_by_id[entry.id] = entry
            if entry.corrects_entry_id:
                self.corrections.setdefault(entry.corrects_entry_id, []).append(entry)
        for key, rollup in changes.rollups.items():
            self.rollups.setdefault(key, Rollup()).add_all(rollup)
        for one in (*changes.new_reservations, *changes.changed_reservations):
            known = self.reservations.get(one.id)
            self.reservations[one.id] = one
            if known is None or known.expires_at_ms != one.expires_at_ms:
                heapq.heappush(self._ends, (one.expires_at_ms, one.id))
        for reserved in changes.reserved:
            self.budgets[reserved.budget_id].reserved_nano_usd = reserved.reserved_nano_usd
        for change in changes.balances:
            self.balances[change.budget_id, change.window_start_ms] = Balance(
                change.settled_nano_usd, change.alerted_percent
            )

    def put_budget(self, stored: StoredBudget, start_ms: int, balance: Balance) -> None:
        """Adds a budget or replaces the one of its id, which covers the same."""
        budget = stored.budget
        self.budgets[budget.id] = stored
        self.balances[budget.id, start_ms] = balance
        self._budgets_by_scope[budget.user_id, budget.agent_id, budget.run_id].add(budget.id)

    def count_budgets_of_scope(self, budget: Budget) -> int:
        """Returns how many budgets there are of the same user, agent and run."""
        scope = (budget.user_id, budget.agent_id, budget.run_id)
        return len(self._budgets_by_scope.get(scope, ()))

    def delete_budget(self, budget_id: str) -> bool:
        """Deletes a budget with its balances and events."""
        stored = self.budgets.pop(budget_id, None)
        if stored is None:
            return False
        budget = stored.budget
        self._budgets_by_scope[budget.user_id, budget.agent_id, budget.run_id].discard(budget_id)
        for key in [key for key in self.balances if key[0] == budget_id]:
            del self.balances[key]
        self.events = [event for event in self.events if event.budget_id != budget_id]
        return True

    def reserved(self, budget: Budget) -> int:
        """Returns what is held against a budget, summed up from the reservations."""
        return sum(
            one.remaining_nano_usd
            for one in self.reservations.values()
            if one.remaining_nano_usd
            if budget.applies_to(one.user_id, one.agent_id, one.run_id)
            if not self._applies_above(budget, one)
        )

    def _applies_above(self, budget: Budget, reservation: Reservation) -> bool:
        parent = self.reservations.get(reservation.parent_id)
        while parent is not None:
            if budget.applies_to(parent.user_id, parent.agent_id, parent.run_id):
                return True
            parent = self.reservations.get(parent.parent_id)
        return False

    def settled(self, budget: Budget, window: WindowBounds) -> int:
        """Returns what is settled in a window of a budget, summed up from the entries."""
        return sum(
            entry.cost_nano_usd
            for entry in self.entries
            if window.start_ms <= entry.occurred_at_ms < window.end_ms
            if budget.applies_to(entry.user_id, entry.agent_id, entry.run_id)
        )


class MemoryLedger:
    """What is in the ledger, for the stores that keep and read it."""

    def __init__(self) -> None:
        self.organizations: defaultdict[str, MemoryOrganization] = defaultdict(MemoryOrganization)
        self.cards: dict[str, RateCard] = {}
        self.newest_event_id = 0

    def write(self, book: Book) -> None:
        """Writes what has changed in a book."""
        changes = book.changes()
        self.organizations[book.organization_id].write(changes)
        self.add_events(changes.events)

    def add_events(self, events: Iterable[BudgetEvent]) -> tuple[BudgetEvent, ...]:
        """Adds events and returns them with the ids that they are given."""
        added = []
        for event in events:
            self.newest_event_id += 1
            added.append(msgspec.structs.replace(event, id=self.newest_event_id))
            self.organizations[event.organization_id].events.append(added[-1])
        return tuple(added)

"""The books of one organization, as far as some commands need them, and what has changed in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from agent_executor.ledger.accounting.budget import Budget, BudgetEvent, BudgetStatus
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.needs import Rows, Scope, scope_keys
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.rollup import (
    RollupKey,
    SpendingKey,
    rollup_keys,
    spending_key,
)
from agent_executor.ledger.accounting.window import window_at
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.rate_card import RateCard

BalanceKey: TypeAlias = tuple[str, int]
"""Budget and ``window_start_ms``: the primary key of ``budget_balances``."""


class Rollup(msgspec.Struct):
    """Sums to be added to a row of ``usage_rollups``, which may not be there yet."""

    entry_count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens_5m: int = 0
    cache_creation_input_tokens_1h: int = 0
    cost_nano_usd: int = 0

    def add(self, entry: UsageEntry) -> None:
        """Counts an entry."""
        usage = entry.usage
        self.entry_count += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cache_read_input_tokens += usage.cache_read_input_tokens
        self.cache_creation_input_tokens_5m += usage.cache_creation_input_tokens_5m
        self.cache_creation_input_tokens_1h += usage.cache_creation_input_tokens_1h
        self.cost_nano_usd += entry.cost_nano_usd

    def add_all(self, other: Rollup) -> None:
        """Adds the sums of other entries."""
        self.entry_count += other.entry_count
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cache_read_input_tokens += other.cache_read_input_tokens
        self.cache_creation_input_tokens_5m += other.cache_creation_input_tokens_5m
        self.cache_creation_input_tokens_1h += other.cache_creation_input_tokens_1h
        self.cost_nano_usd += other.cost_nano_usd


class Balance(msgspec.Struct):
    """What is settled in one window of a budget.

    Attributes:
        alerted_percent: The highest percentage that has raised an event; 0: none.
    """

    settled_nano_usd: int = 0
    alerted_percent: int = 0


class StoredBudget(msgspec.Struct):
    """A budget and what is kept with it.

    Attributes:
        reserved_nano_usd: What is held against it.
        counted_from_ms: When the window began in which it was made. What occurred in a window before
            that one is not counted.
    """

    budget: Budget
    reserved_nano_usd: int = 0
    counted_from_ms: int = 0


class BalanceChange(msgspec.Struct, frozen=True):
    """A balance that has changed; its row may not be there yet.

    Attributes:
        settled_change_nano_usd: To be added to what is stored.
        settled_nano_usd: What it comes to.
        alerted_percent: To be stored.
    """

    budget_id: str
    window_start_ms: int
    settled_change_nano_usd: int
    settled_nano_usd: int
    alerted_percent: int


class ReservedChange(msgspec.Struct, frozen=True):
    """A budget against which another sum is held than before.

    Attributes:
        change_nano_usd: To be added to what is stored.
        reserved_nano_usd: What it comes to.
    """

    budget_id: str
    change_nano_usd: int
    reserved_nano_usd: int


class Changes(msgspec.Struct):
    """What is to be written, in the transaction that the book was read in.

    Attributes:
        new_entries: In the order of their writing.
        new_reservations: Their stored columns are the fields.
        changed_reservations: Only amounts, state and end (``remaining_nano_usd``,
            ``drawn_nano_usd``, ``spent_nano_usd``, ``expires_at_ms``, ``state``) can differ.
        events: In their order; the store gives them ids.
    """

    new_entries: list[UsageEntry]
    new_reservations: list[Reservation]
    changed_reservations: list[Reservation]
    reserved: list[ReservedChange]
    balances: list[BalanceChange]
    events: list[BudgetEvent]
    rollups: dict[RollupKey, Rollup]


class Account:
    """A budget with its balances, as they stand while commands are carried out."""

    __slots__ = (
        "_balances",
        "_read_reserved_nano_usd",
        "_read_settled_nano_usd",
        "budget",
        "counted_from_ms",
        "end_ms",
        "present",
        "reserved_nano_usd",
        "start_ms",
    )

    def __init__(self, stored: StoredBudget, balances: dict[int, Balance], now_ms: int) -> None:
        """Opens it with its balances by the start of their window; one that is missing is zero."""
        budget = stored.budget
        self.budget = budget
        self.counted_from_ms = stored.counted_from_ms
        self.reserved_nano_usd = stored.reserved_nano_usd
        self._read_reserved_nano_usd = stored.reserved_nano_usd
        self._balances = balances
        self._read_settled_nano_usd: dict[int, int] = {}
        self.start_ms, self.end_ms = window_at(budget.window, budget.time_zone, now_ms)
        self.present = balances.setdefault(self.start_ms, Balance())

    @property
    def left_nano_usd(self) -> int:
        """What can be held now."""
        return self.budget.limit_nano_usd - self.present.settled_nano_usd - self.reserved_nano_usd

    def window_start_ms(self, at_ms: int) -> int:
        """Returns when the window began that holds a time."""
        if self.start_ms <= at_ms < self.end_ms:
            return self.start_ms
        return window_at(self.budget.window, self.budget.time_zone, at_ms).start_ms

    def reserved_in(self, window_start_ms: int) -> int:
        """Returns what is held and would be settled in a window: nothing, if it has ended."""
        return self.reserved_nano_usd if window_start_ms >= self.start_ms else 0

    def balance(self, window_start_ms: int) -> Balance:
        """Returns the balance of a window."""
        if window_start_ms == self.start_ms:
            return self.present
        return self._balances.setdefault(window_start_ms, Balance())

    def settle(self, window_start_ms: int, cost_nano_usd: int) -> None:
        """Adds a cost to a window."""
        balance = self.balance(window_start_ms)
        self._read_settled_nano_usd.setdefault(window_start_ms, balance.settled_nano_usd)
        balance.settled_nano_usd += cost_nano_usd

    def status(self) -> BudgetStatus:
        """Returns the budget as it stands."""
        return BudgetStatus(
            self.budget,
            NanoUsd(self.present.settled_nano_usd),
            NanoUsd(self.reserved_nano_usd),
            None if self.budget.window == "total" else self.end_ms,
        )

    def reserved_change(self) -> ReservedChange | None:
        """Returns how what is held has changed; None if it has not."""
        change = self.reserved_nano_usd - self._read_reserved_nano_usd
        return ReservedChange(self.budget.id, change, self.reserved_nano_usd) if change else None

    def balance_changes(self) -> Iterable[BalanceChange]:
        """Yields the balances that were charged."""
        for start_ms, read_nano_usd in self._read_settled_nano_usd.items():
            balance = self._balances[start_ms]
            yield BalanceChange(
                self.budget.id,
                start_ms,
                balance.settled_nano_usd - read_nano_usd,
                balance.settled_nano_usd,
                balance.alerted_percent,
            )


class Book:
    """The books of one organization.

    Attributes:
        organization_id: Whose they are.
        now_ms: The present, in milliseconds since 1970-01-01 UTC.
        reservations: By id.
        entries: By id.
        corrections: By the id of the entry that they correct or rate again, oldest first.
        cards: Rate cards by id.
        events: What happened to budgets.
        expired_count: How many of its holds were found expired.
    """

    def __init__(
        self,
        organization_id: str,
        now_ms: int,
        rows: Rows,
        *,
        cards: dict[str, RateCard],
        budgets: Iterable[StoredBudget] = (),
        balances: Mapping[BalanceKey, Balance] | None = None,
    ) -> None:
        """Opens it with what was looked up as ``needs`` says, which becomes the book's own.

        Args:
            organization_id: Whose it is.
            now_ms: The present.
            rows: What commands name.
            cards: By id.
            budgets: Those that apply.
            balances: Those that there are.
        """
        self.organization_id = organization_id
        self.now_ms = now_ms
        self.reservations = rows.reservations
        self.entries = rows.entries
        self.corrections = rows.corrections
        self.cards = cards
        self.events: list[BudgetEvent] = []
        self.expired_count = 0
        self._new_entries: list[UsageEntry] = []
        self._new_reservations: dict[str, None] = {}
        self._changed_reservations: dict[str, None] = {}
        self._spending: dict[SpendingKey, Rollup] = {}
        self._accounts = _open_accounts(budgets, balances or {}, now_ms)
        self._accounts_by_scope: dict[Scope, tuple[Account, ...]] = {}

    def accounts_for(self, scope: Scope) -> tuple[Account, ...]:
        """Returns the budgets that apply to who spends, by id."""
        if not self._accounts:
            return ()
        found = self._accounts_by_scope.get(scope)
        if found is None:
            applying = [one for key in scope_keys(scope) for one in self._accounts.get(key, ())]
            found = tuple(sorted(applying, key=lambda account: account.budget.id))
            self._accounts_by_scope[scope] = found
        return found

    def add_card(self, card: RateCard) -> None:
        """Adds the card that a command names, for the commands after it."""
        self.cards.setdefault(card.id, card)

    def put_reservation(self, reservation: Reservation) -> None:
        """Adds a reservation, or changes the one of its id."""
        if reservation.id not in self.reservations:
            self._new_reservations[reservation.id] = None
        elif reservation.id not in self._new_reservations:
            self._changed_reservations[reservation.id] = None
        self.reservations[reservation.id] = reservation

    def add_entry(self, entry: UsageEntry) -> None:
        """Adds an entry, whose id must be new."""
        self.entries[entry.id] = entry
        self._new_entries.append(entry)
        if entry.corrects_entry_id:
            self.corrections.setdefault(entry.corrects_entry_id, []).append(entry)
        key = spending_key(entry)
        sums = self._spending.get(key)
        if sums is None:
            sums = self._spending[key] = Rollup()
        sums.add(entry)

    def changes(self) -> Changes:
        """Returns what has changed since the book was opened."""
        accounts = [one for same in self._accounts.values() for one in same]
        return Changes(
            new_entries=self._new_entries,
            new_reservations=[self.reservations[one] for one in self._new_reservations],
            changed_reservations=[self.reservations[one] for one in self._changed_reservations],
            reserved=[change for one in accounts if (change := one.reserved_change())],
            balances=[change for one in accounts for change in one.balance_changes()],
            events=self.events,
            rollups=rollups_of(self._spending),
        )


def rollups_of(spending: Mapping[SpendingKey, Rollup]) -> dict[RollupKey, Rollup]:
    """Returns the sums of which these are part."""
    rollups: dict[RollupKey, Rollup] = {}
    for spent, sums in spending.items():
        for key in rollup_keys(spent):
            rollup = rollups.get(key)
            if rollup is None:
                rollup = rollups[key] = Rollup()
            rollup.add_all(sums)
    return rollups


def _open_accounts(
    budgets: Iterable[StoredBudget], balances: Mapping[BalanceKey, Balance], now_ms: int
) -> dict[Scope, list[Account]]:
    by_budget: dict[str, dict[int, Balance]] = {}
    for (budget_id, start_ms), balance in balances.items():
        by_budget.setdefault(budget_id, {})[start_ms] = balance
    accounts: dict[Scope, list[Account]] = {}
    for stored in budgets:
        budget = stored.budget
        account = Account(stored, by_budget.get(budget.id, {}), now_ms)
        scope = (budget.user_id, budget.agent_id, budget.run_id)
        accounts.setdefault(scope, []).append(account)
    return accounts

"""The ledger in memory, for the library without a data folder and for tests."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent_executor.ledger.accounting.book import Balance, Book, StoredBudget
from agent_executor.ledger.accounting.budget import (
    Budget,
    BudgetEvent,
    BudgetPosition,
    BudgetStatus,
    check_budgets_of_scope,
)
from agent_executor.ledger.accounting.commands import Command, Outcome
from agent_executor.ledger.accounting.decide import carry_out
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.hold_tree import free_expired
from agent_executor.ledger.accounting.memory_ledger import MemoryLedger, MemoryOrganization
from agent_executor.ledger.accounting.needs import (
    Rows,
    balances_needed,
    by_organization,
    rows_needed,
    terms_needed,
)
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import BudgetPut
from agent_executor.ledger.accounting.window import window_at
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.rate_card import RateCard


class MemoryAccountingStore:
    """An ``AccountingStore`` that lives as long as its process.

    No method waits for anything, so that in one event loop each is atomic.
    """

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        self._ledger = ledger or MemoryLedger()
        self.expired_count = 0

    async def close(self) -> None:
        """See ``AccountingStore``."""

    async def apply(self, commands: Sequence[Command], now_ms: int) -> list[Outcome]:
        """See ``AccountingStore``."""
        books = {}
        for organization_id, own in by_organization(commands).items():
            organization = self._current(organization_id, now_ms)
            rows = organization.read(rows_needed(own))
            books[organization_id] = self._open(organization_id, own, rows, now_ms)
        outcomes = carry_out(books, commands)
        self.expired_count += sum(book.expired_count for book in books.values())
        for book in books.values():
            self._ledger.write(book)
        return outcomes

    async def get_reservation(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """See ``AccountingStore``."""
        return self._current(organization_id, now_ms).reservations.get(reservation_id)

    async def get_entries(self, organization_id: str, entry_ids: Sequence[str]) -> list[UsageEntry]:
        """See ``AccountingStore``."""
        recorded = self._ledger.organizations[organization_id].entries_by_id
        return [recorded[one] for one in entry_ids if one in recorded]

    async def put_rate_card(self, card: RateCard, source: str) -> None:
        """See ``AccountingStore``. The source is not kept: it could not be asked for."""
        del source
        self._ledger.cards.setdefault(card.id, card)

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """See ``AccountingStore``."""
        return self._ledger.cards.get(rate_card_id)

    async def put_budget(self, budget: Budget, now_ms: int) -> BudgetPut:
        """See ``AccountingStore``."""
        organization = self._current(budget.organization_id, now_ms)
        window = window_at(budget.window, budget.time_zone, now_ms)
        stored = organization.budgets.get(budget.id)
        if stored is None:
            check_budgets_of_scope(organization.count_budgets_of_scope(budget))
            balance = Balance(organization.settled(budget, window))
            stored = StoredBudget(budget, organization.reserved(budget), window.start_ms)
            left_before = 0
        else:
            before = _status(organization, stored, now_ms)
            if not stored.budget.covers_the_same(budget):
                return BudgetPut(before)
            balance = organization.balances.get((budget.id, window.start_ms)) or Balance()
            stored = msgspec.structs.replace(stored, budget=budget)
            left_before = before.left_nano_usd
        position = BudgetPosition(
            budget, window.start_ms, balance.settled_nano_usd, stored.reserved_nano_usd
        )
        events = position.events(left_before, balance.alerted_percent, "", now_ms)
        balance.alerted_percent = max(balance.alerted_percent, *(one.percent for one in events), 0)
        organization.put_budget(stored, window.start_ms, balance)
        added = self._ledger.add_events(events)
        return BudgetPut(_status(organization, stored, now_ms), added)

    async def get_budget(
        self, organization_id: str, budget_id: str, now_ms: int
    ) -> BudgetStatus | None:
        """See ``AccountingStore``."""
        organization = self._current(organization_id, now_ms)
        stored = organization.budgets.get(budget_id)
        return None if stored is None else _status(organization, stored, now_ms)

    async def list_budgets(
        self, organization_id: str, now_ms: int, limit: int, after_id: str = ""
    ) -> list[BudgetStatus]:
        """See ``AccountingStore``."""
        organization = self._current(organization_id, now_ms)
        ids = sorted(one for one in organization.budgets if one > after_id)[:limit]
        return [_status(organization, organization.budgets[one], now_ms) for one in ids]

    async def delete_budget(self, organization_id: str, budget_id: str) -> bool:
        """See ``AccountingStore``."""
        return self._ledger.organizations[organization_id].delete_budget(budget_id)

    async def budget_events(
        self, organization_id: str, limit: int, *, budget_id: str = "", before_id: int = 0
    ) -> list[BudgetEvent]:
        """See ``AccountingStore``."""
        found = (
            event
            for event in reversed(self._ledger.organizations[organization_id].events)
            if budget_id in ("", event.budget_id)
            if not before_id or event.id < before_id
        )
        return [event for event, _ in zip(found, range(limit), strict=False)]

    def _current(self, organization_id: str, now_ms: int) -> MemoryOrganization:
        """Returns an organization in which the holds that have expired are freed."""
        organization = self._ledger.organizations[organization_id]
        expired = organization.take_expired(now_ms)
        if expired.reservation_ids:
            book = self._open(organization_id, (), organization.read(expired), now_ms)
            free_expired(book)
            self.expired_count += book.expired_count
            self._ledger.write(book)
        return organization

    def _open(
        self, organization_id: str, commands: Sequence[Command], rows: Rows, now_ms: int
    ) -> Book:
        organization = self._ledger.organizations[organization_id]
        terms = terms_needed(commands, rows)
        budgets = organization.budgets_for(terms.scopes)
        keys = balances_needed((one.budget for one in budgets), terms.occurred_at_ms, now_ms)
        return Book(
            organization_id,
            now_ms,
            rows,
            cards={one: self._ledger.cards[one] for one in terms.rate_card_ids},
            budgets=budgets,
            balances={
                key: msgspec.structs.replace(organization.balances[key])
                for key in keys
                if key in organization.balances
            },
        )


def _status(organization: MemoryOrganization, stored: StoredBudget, now_ms: int) -> BudgetStatus:
    budget = stored.budget
    window = window_at(budget.window, budget.time_zone, now_ms)
    balance = organization.balances.get((budget.id, window.start_ms)) or Balance()
    return BudgetStatus(
        budget,
        NanoUsd(balance.settled_nano_usd),
        NanoUsd(stored.reserved_nano_usd),
        window.resets_at_ms,
    )

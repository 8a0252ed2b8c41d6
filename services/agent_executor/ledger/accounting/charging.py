"""What is spent: entries are added to the budgets that apply, and what that brings about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting.book import Account, Book
from agent_executor.ledger.accounting.budget import BudgetEvent, BudgetPosition
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD, NanoUsd, format_usd

# A thousand entries of this size still fit the 64 bits of a sum.
MAX_ENTRY_NANO_USD: Final = MAX_LIMIT_NANO_USD


def charge(
    book: Book, entries: Sequence[UsageEntry], free_holds: Callable[[], None] | None = None
) -> tuple[BudgetEvent, ...]:
    """Adds entries to the book and to the budgets that apply, in the windows of their own times.

    Args:
        book: The book.
        entries: What one command records; their ids are new.
        free_holds: Frees what was held for it. What that frees is set off against what it costs.

    Returns:
        What happened to budgets: thresholds that were reached, and budgets that are above their
        limit and further so than before.

    Raises:
        InvalidArgumentError: An entry costs more than an entry can. Nothing is changed.
    """
    for entry in entries:
        _check_cost(entry.cost_nano_usd)
    charges = _charges(book, entries)
    if free_holds is not None:
        free_holds()
    for entry in entries:
        book.add_entry(entry)
    if not charges:
        return ()
    events = tuple(event for one in charges for event in one.settle(book.now_ms))
    book.events.extend(events)
    return events


class _Charge:
    """What one command adds to one window of one budget."""

    __slots__ = ("account", "cost_nano_usd", "entry_id", "left_nano_usd", "window_start_ms")

    def __init__(self, account: Account, window_start_ms: int) -> None:
        self.account = account
        self.window_start_ms = window_start_ms
        self.cost_nano_usd = 0
        self.entry_id = ""
        self.left_nano_usd = self._left()

    def add(self, entry: UsageEntry) -> None:
        """Counts an entry; the first one that costs anything is told to have done it."""
        if not self.cost_nano_usd:
            self.entry_id = entry.id
        self.cost_nano_usd += entry.cost_nano_usd

    def settle(self, now_ms: int) -> list[BudgetEvent]:
        """Adds it and returns what that brings about; what was held for it is freed already."""
        account = self.account
        account.settle(self.window_start_ms, self.cost_nano_usd)
        balance = account.balance(self.window_start_ms)
        position = BudgetPosition(
            account.budget,
            self.window_start_ms,
            balance.settled_nano_usd,
            account.reserved_in(self.window_start_ms),
        )
        events = position.events(self.left_nano_usd, balance.alerted_percent, self.entry_id, now_ms)
        balance.alerted_percent = max(
            balance.alerted_percent, *(event.percent for event in events), 0
        )
        return events

    def _left(self) -> int:
        account = self.account
        return (
            account.budget.limit_nano_usd
            - account.balance(self.window_start_ms).settled_nano_usd
            - account.reserved_in(self.window_start_ms)
        )


def _charges(book: Book, entries: Sequence[UsageEntry]) -> list[_Charge]:
    charges: dict[tuple[str, int], _Charge] = {}
    for entry in entries:
        for account in book.accounts_for((entry.user_id, entry.agent_id, entry.run_id)):
            start_ms = account.window_start_ms(entry.occurred_at_ms)
            if start_ms < account.counted_from_ms:
                continue
            key = (account.budget.id, start_ms)
            charge = charges.get(key)
            if charge is None:
                charge = charges[key] = _Charge(account, start_ms)
            charge.add(entry)
    return list(charges.values())


def _check_cost(cost_nano_usd: NanoUsd) -> None:
    if not -MAX_ENTRY_NANO_USD <= cost_nano_usd <= MAX_ENTRY_NANO_USD:
        raise InvalidArgumentError(
            f"An entry of {format_usd(cost_nano_usd)} is above the most that one can record, "
            f"{format_usd(MAX_ENTRY_NANO_USD)}."
        )

"""The ports to where the ledger is kept. Each use case asks for the part that it needs.

What a method has written is durable, and seen by every later call, once it has returned. A method
is atomic: concurrent calls have the effect of some order of them, one after the other. No method
sees rows of another organization than the one it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from agent_executor.ledger.accounting.budget import Budget, BudgetEvent, BudgetStatus
from agent_executor.ledger.accounting.commands import Command, Outcome
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.prices.rate_card import RateCard


class BudgetPut(msgspec.Struct, frozen=True):
    """What putting a budget gave.

    Attributes:
        status: The budget as it is stored, which may cover something else than was put.
        events: What the change brought about: alerts that are reached now, and an overrun if a new
            limit, or a lower one, is below what is settled and held.
    """

    status: BudgetStatus
    events: tuple[BudgetEvent, ...] = ()


class AccountingStore(Protocol):
    """Keeps reservations, entries and budgets, and their balances in step with them.

    At every moment the reserved money of a budget is the sum of ``remaining_nano_usd`` of the
    reservations that it applies to, without those of which it applies to an ancestor. Its settled
    money of a window is the sum of the entries that it applies to and that occurred in the window;
    windows that had ended when it was put are not kept.

    Attributes:
        expired_count: How many holds were freed here since their time was over.
    """

    expired_count: int

    async def apply(self, commands: Sequence[Command], now_ms: int) -> list[Outcome]:
        """Carries commands out in their order and returns the outcome of each.

        Each command takes effect wholly or not at all, and sees what those before it did; those of
        one organization are one transaction. Holds that have expired at ``now_ms``, or at the
        ``now_ms`` of a concurrent call, are freed first. Commands of several organizations may be
        mixed; if one organization's cannot be carried out, those of others may have been.

        Raises:
            InvalidArgumentError: An entry costs more than an entry can, or a text cannot be stored.
            UnavailableError: The storage failed.
        """
        ...

    async def get_reservation(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """Returns a reservation as it stands at a time, expired holds freed; None if there is none."""
        ...

    async def get_entries(self, organization_id: str, entry_ids: Sequence[str]) -> list[UsageEntry]:
        """Returns those of these entries that are recorded, in no order; at most 1,000 ids a call."""
        ...

    async def put_rate_card(self, card: RateCard, source: str) -> None:
        """Stores a card with its origin. Does nothing if it is stored: its id is its content.

        A card must be stored before a command names it.
        """
        ...

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """Returns a card, or None if none of this id was stored."""
        ...

    async def put_budget(self, budget: Budget, now_ms: int) -> BudgetPut:
        """Stores a budget, or the new limit and alerts of one that covers the same.

        A new budget counts what was spent earlier in the present window and what is held. If the
        budget of this id covers something else, nothing is changed.

        Raises:
            LimitExceededError: There are ``MAX_BUDGETS_OF_SCOPE`` others of its scope already.
        """
        ...

    async def get_budget(
        self, organization_id: str, budget_id: str, now_ms: int
    ) -> BudgetStatus | None:
        """Returns a budget as it stands at a time, expired holds freed; None if there is none."""
        ...

    async def list_budgets(
        self, organization_id: str, now_ms: int, limit: int, after_id: str = ""
    ) -> list[BudgetStatus]:
        """Returns budgets by id, as ``get_budget`` does, those with a greater id than given."""
        ...

    async def delete_budget(self, organization_id: str, budget_id: str) -> bool:
        """Deletes a budget, its balances and its events; returns False if there is none."""
        ...

    async def budget_events(
        self, organization_id: str, limit: int, *, budget_id: str = "", before_id: int = 0
    ) -> list[BudgetEvent]:
        """Returns events, newest first: of one budget or all, those older than one if given."""
        ...

    async def close(self) -> None:
        """Releases what the store holds open, once everything under way has been written."""
        ...

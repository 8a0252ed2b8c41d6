"""The port to where the ledger is kept. Each use case asks for the part that it needs.

What a method has written is durable, and seen by every later call, once it has returned. A method
is atomic: concurrent calls have the effect of some order of them, one after the other. No method
sees rows of another organization than the one it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from agent_executor.ledger.accounting.budget import Budget, BudgetStatus, Overrun, Refusal
from agent_executor.ledger.accounting.entry import Settlement, UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.reports.usage_query import Dimension, EntryFilter, SummaryRows


class Settled(msgspec.Struct, frozen=True):
    """What settling gave.

    Attributes:
        entry: The entry of this id.
        is_new: Whether this call wrote it.
        overruns: The budgets that this call left over their limit, or further over it, by id.
    """

    entry: UsageEntry
    is_new: bool
    overruns: tuple[Overrun, ...] = ()


class RateCardStore(Protocol):
    """Keeps the rate cards that were used; they belong to no organization."""

    async def put_rate_card(self, card: RateCard, source: str) -> None:
        """Stores a card with its origin. Does nothing if it is stored: its id is its content."""
        ...

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """Returns a card, or None if it was never used."""
        ...


class ReservationStore(Protocol):
    """Keeps reservations and entries, and the balances of budgets in step with them.

    At every moment a budget's reserved money is the sum of the open reservations that it applies
    to, and its settled money of a window is the sum of the entries in that window that it applies
    to.
    """

    async def reserve(self, reservation: Reservation) -> Reservation | Refusal:
        """Holds money against every budget that applies, or against none.

        ``reservation.created_at_ms`` is the present. Holds that have expired by then are freed
        first.

        Returns:
            The reservation; if one of this id exists, that one as it stands, and nothing is
            changed, whether or not it asks for the same. A refusal if the worst case does not fit
            ``limit - settled - reserved`` of some budget; nothing is changed then either.
        """
        ...

    async def settle(self, settlement: Settlement, card: RateCard, now_ms: int) -> Settled:
        """Writes an entry and frees its hold. Nothing prevents that: what was used counts.

        The entry is priced by the card of its reservation if that is for the same model, and by
        ``card`` if not. An open reservation becomes settled; one in another state stays in it, and
        the entry says which.

        Returns:
            The entry; if one of this id exists, that one, and nothing is changed, whether or not it
            records the same.
        """
        ...

    async def void(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """Frees an open hold; leaves a reservation in another state as it is.

        Returns:
            The reservation as it then stands, or None if there is none.
        """
        ...

    async def get_reservation(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """Returns a reservation as it stands at a time, or None if there is none."""
        ...


class BudgetStore(Protocol):
    """Keeps budgets."""

    async def put_budget(self, budget: Budget, now_ms: int) -> tuple[BudgetStatus, Overrun | None]:
        """Stores a budget, or the new limit of one that covers the same.

        A new budget counts what was spent earlier in the present window and what is held. If the
        budget of this id covers something else, nothing is changed.

        Returns:
            The status of the stored budget, and the overrun if this call has lowered its limit
            below what is settled and held.
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
        """Deletes a budget and its balances; returns False if there is none."""
        ...


class EntryStore(Protocol):
    """Reads the ledger.

    Entries are ordered by the time at which they were recorded, and within one millisecond by the
    order of their writing. While the clock does not go back, that is the order of their writing.
    """

    async def newest_entry_id(self, organization_id: str) -> str:
        """Returns the id of the newest entry; empty if there is none."""
        ...

    async def entries(
        self,
        organization_id: str,
        entry_filter: EntryFilter,
        limit: int,
        before_entry_id: str = "",
    ) -> list[UsageEntry] | None:
        """Returns entries, newest first.

        Args:
            organization_id: Whose entries.
            entry_filter: Which of them.
            limit: How many at most.
            before_entry_id: Only entries older than this one; empty: from the newest.

        Returns:
            The entries, or None if there is no entry ``before_entry_id``.
        """
        ...

    async def summarize(
        self,
        organization_id: str,
        entry_filter: EntryFilter,
        up_to_entry_id: str,
        group_by: Sequence[Dimension],
        limit: int,
        offset: int = 0,
    ) -> SummaryRows | None:
        """Returns sums by group, by cost, highest first, then by the dimensions in their order.

        Args:
            organization_id: Whose entries.
            entry_filter: Which of them.
            up_to_entry_id: No newer entry is counted, so that the same call has the same answer
                however many are written meanwhile; empty: nothing is counted.
            group_by: The dimensions; none: one row, also if there are no entries.
            limit: How many rows at most.
            offset: How many rows to leave out first.

        Returns:
            The sums, or None if there is no entry ``up_to_entry_id``.
        """
        ...


class LedgerStore(RateCardStore, ReservationStore, BudgetStore, EntryStore, Protocol):
    """All of it, as a database keeps it."""

    async def close(self) -> None:
        """Releases what the store holds open, once everything under way has been written."""
        ...

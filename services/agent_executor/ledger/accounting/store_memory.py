"""The ledger in memory, for the library without a data folder and for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from agent_executor.ledger.accounting.budget import (
    Budget,
    BudgetStatus,
    Overrun,
    Refusal,
    refuse,
    window_end_ms,
    window_start_ms,
)
from agent_executor.ledger.accounting.entry import (
    Settlement,
    UsageEntry,
    price,
    reservation_outcome,
)
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import Settled
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.reports.usage_query import (
    Dimension,
    EntryFilter,
    SummaryRows,
    UsageSummary,
)


class _Organization:
    """What one organization has in the ledger.

    Balances are summed up when they are asked for: there is nothing that could disagree.
    """

    def __init__(self) -> None:
        self.reservations: dict[str, Reservation] = {}
        self.open_ids: set[str] = set()
        self.entries: list[UsageEntry] = []
        self.positions: dict[str, tuple[int, int]] = {}
        self.budgets: dict[str, Budget] = {}

    def add(self, entry: UsageEntry) -> None:
        self.positions[entry.id] = (entry.created_at_ms, len(self.entries))
        self.entries.append(entry)

    def put(self, reservation: Reservation) -> None:
        self.reservations[reservation.id] = reservation
        (self.open_ids.add if reservation.state == "open" else self.open_ids.discard)(
            reservation.id
        )

    def free_expired(self, now_ms: int) -> None:
        for reservation_id in tuple(self.open_ids):
            self.put(self.reservations[reservation_id].as_of(now_ms))

    def status(self, budget: Budget, now_ms: int) -> BudgetStatus:
        start_ms = window_start_ms(budget.window, now_ms)
        end_ms = window_end_ms(budget.window, now_ms)
        settled = sum(
            entry.cost_nano_usd
            for entry in self.entries
            if entry.created_at_ms >= start_ms
            if end_ms is None or entry.created_at_ms < end_ms
            if budget.applies_to(entry.user_id, entry.agent_id, entry.run_id)
        )
        open_holds = (self.reservations[one] for one in self.open_ids)
        reserved = sum(
            hold.held_nano_usd
            for hold in open_holds
            if budget.applies_to(hold.user_id, hold.agent_id, hold.run_id)
        )
        return BudgetStatus(budget, NanoUsd(settled), NanoUsd(reserved), end_ms)

    def statuses_that_apply(
        self, user_id: str, agent_id: str, run_id: str, now_ms: int
    ) -> list[BudgetStatus]:
        return [
            self.status(budget, now_ms)
            for _, budget in sorted(self.budgets.items())
            if budget.applies_to(user_id, agent_id, run_id)
        ]

    def matching(self, entry_filter: EntryFilter) -> list[UsageEntry]:
        """Returns the entries that are meant, newest first."""
        found = [entry for entry in self.entries if _matches(entry_filter, entry)]
        return sorted(found, key=lambda entry: self.positions[entry.id], reverse=True)


class MemoryLedgerStore:
    """A ``LedgerStore`` that lives as long as its process.

    No method waits for anything, so that in one event loop each is atomic.
    """

    def __init__(self) -> None:
        self._organizations: dict[str, _Organization] = {}
        self._rate_cards: dict[str, RateCard] = {}

    async def close(self) -> None:
        """See ``LedgerStore``."""

    async def put_rate_card(self, card: RateCard, source: str) -> None:
        """See ``RateCardStore``. The source is not kept: it could not be asked for."""
        del source
        self._rate_cards.setdefault(card.id, card)

    async def get_rate_card(self, rate_card_id: str) -> RateCard | None:
        """See ``RateCardStore``."""
        return self._rate_cards.get(rate_card_id)

    async def reserve(self, reservation: Reservation) -> Reservation | Refusal:
        """See ``ReservationStore``."""
        now_ms = reservation.created_at_ms
        organization = self._organization(reservation.organization_id)
        organization.free_expired(now_ms)
        stored = organization.reservations.get(reservation.id)
        if stored is not None:
            return stored
        statuses = organization.statuses_that_apply(
            reservation.user_id, reservation.agent_id, reservation.run_id, now_ms
        )
        refusal = refuse(statuses, reservation.held_nano_usd)
        if refusal is None:
            organization.put(reservation)
        return refusal or reservation

    async def settle(self, settlement: Settlement, card: RateCard, now_ms: int) -> Settled:
        """See ``ReservationStore``."""
        organization = self._organization(settlement.organization_id)
        organization.free_expired(now_ms)
        position = organization.positions.get(settlement.entry_id)
        if position is not None:
            return Settled(organization.entries[position[1]], is_new=False)
        reservation = organization.reservations.get(settlement.reservation_id)
        if reservation is not None and reservation.model == settlement.model:
            card = self._rate_cards.get(reservation.rate_card_id, card)
        entry = price(settlement, card, reservation_outcome(settlement, reservation), now_ms)
        organization.add(entry)
        freed_nano_usd = 0
        if reservation is not None and reservation.state == "open":
            freed_nano_usd = reservation.held_nano_usd
            organization.put(reservation.in_state("settled"))
        if entry.cost_nano_usd <= freed_nano_usd:
            return Settled(entry, is_new=True)
        statuses = organization.statuses_that_apply(
            entry.user_id, entry.agent_id, entry.run_id, now_ms
        )
        overruns = (_overrun(status, entry.id, now_ms) for status in statuses)
        return Settled(entry, is_new=True, overruns=tuple(one for one in overruns if one))

    async def void(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """See ``ReservationStore``."""
        organization = self._organization(organization_id)
        organization.free_expired(now_ms)
        reservation = organization.reservations.get(reservation_id)
        if reservation is not None and reservation.state == "open":
            reservation = reservation.in_state("voided")
            organization.put(reservation)
        return reservation

    async def get_reservation(
        self, organization_id: str, reservation_id: str, now_ms: int
    ) -> Reservation | None:
        """See ``ReservationStore``."""
        stored = self._organization(organization_id).reservations.get(reservation_id)
        return None if stored is None else stored.as_of(now_ms)

    async def put_budget(self, budget: Budget, now_ms: int) -> tuple[BudgetStatus, Overrun | None]:
        """See ``BudgetStore``."""
        organization = self._organization(budget.organization_id)
        organization.free_expired(now_ms)
        stored = organization.budgets.get(budget.id)
        if stored is not None and not stored.covers_the_same(budget):
            return organization.status(stored, now_ms), None
        organization.budgets[budget.id] = budget
        status = organization.status(budget, now_ms)
        return status, _overrun(status, "", now_ms)

    async def get_budget(
        self, organization_id: str, budget_id: str, now_ms: int
    ) -> BudgetStatus | None:
        """See ``BudgetStore``."""
        organization = self._organization(organization_id)
        organization.free_expired(now_ms)
        budget = organization.budgets.get(budget_id)
        return None if budget is None else organization.status(budget, now_ms)

    async def list_budgets(
        self, organization_id: str, now_ms: int, limit: int, after_id: str = ""
    ) -> list[BudgetStatus]:
        """See ``BudgetStore``."""
        organization = self._organization(organization_id)
        organization.free_expired(now_ms)
        ids = sorted(budget_id for budget_id in organization.budgets if budget_id > after_id)
        return [organization.status(organization.budgets[one], now_ms) for one in ids[:limit]]

    async def delete_budget(self, organization_id: str, budget_id: str) -> bool:
        """See ``BudgetStore``."""
        return self._organization(organization_id).budgets.pop(budget_id, None) is not None

    async def newest_entry_id(self, organization_id: str) -> str:
        """See ``EntryStore``."""
        positions = self._organization(organization_id).positions
        return max(positions, key=positions.__getitem__, default="")

    async def entries(
        self,
        organization_id: str,
        entry_filter: EntryFilter,
        limit: int,
        before_entry_id: str = "",
    ) -> list[UsageEntry] | None:
        """See ``EntryStore``."""
        organization = self._organization(organization_id)
        found = organization.matching(entry_filter)
        if before_entry_id:
            before = organization.positions.get(before_entry_id)
            if before is None:
                return None
            found = [entry for entry in found if organization.positions[entry.id] < before]
        return found[:limit]

    async def summarize(
        self,
        organization_id: str,
        entry_filter: EntryFilter,
        up_to_entry_id: str,
        group_by: Sequence[Dimension],
        limit: int,
        offset: int = 0,
    ) -> SummaryRows | None:
        """See ``EntryStore``."""
        organization = self._organization(organization_id)
        found: list[UsageEntry] = []
        if up_to_entry_id:
            up_to = organization.positions.get(up_to_entry_id)
            if up_to is None:
                return None
            matching = organization.matching(entry_filter)
            found = [entry for entry in matching if organization.positions[entry.id] <= up_to]
        total = _sum(found)
        rows = list(_sum_by(found, group_by)) if group_by else [total]
        return SummaryRows(tuple(rows[offset : offset + limit]), total)

    def _organization(self, organization_id: str) -> _Organization:
        return self._organizations.setdefault(organization_id, _Organization())


def _overrun(status: BudgetStatus, entry_id: str, now_ms: int) -> Overrun | None:
    if status.left_nano_usd >= 0:
        return None
    return Overrun(status.budget.id, entry_id, -status.left_nano_usd, now_ms)


def _matches(entry_filter: EntryFilter, entry: UsageEntry) -> bool:
    return (
        entry_filter.run_id in ("", entry.run_id)
        and entry_filter.agent_id in ("", entry.agent_id)
        and entry_filter.user_id in ("", entry.user_id)
        and entry_filter.model in ("", entry.model)
        and (entry_filter.start_ms is None or entry.created_at_ms >= entry_filter.start_ms)
        and (entry_filter.end_ms is None or entry.created_at_ms < entry_filter.end_ms)
    )


def _sum_by(entries: Iterable[UsageEntry], group_by: Sequence[Dimension]) -> Iterator[UsageSummary]:
    groups: dict[tuple[str, ...], list[UsageEntry]] = {}
    for entry in entries:
        key = tuple(_value(entry, dimension) for dimension in group_by)
        groups.setdefault(key, []).append(entry)
    sums = {key: _sum(group) for key, group in groups.items()}
    for key in sorted(sums, key=lambda key: (-sums[key].cost_nano_usd, key)):
        yield msgspec.structs.replace(sums[key], **dict(zip(group_by, key, strict=True)))


def _value(entry: UsageEntry, dimension: Dimension) -> str:
    match dimension:
        case "user":
            return entry.user_id
        case "agent":
            return entry.agent_id
        case "model":
            return entry.model
        case "run":
            return entry.run_id
        case "day":
            return datetime.fromtimestamp(entry.created_at_ms // 1000, UTC).date().isoformat()


def _sum(entries: Sequence[UsageEntry]) -> UsageSummary:
    usages = [entry.usage for entry in entries]
    return UsageSummary(
        entry_count=len(entries),
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cache_read_input_tokens=sum(usage.cache_read_input_tokens for usage in usages),
        cache_creation_input_tokens_5m=sum(
            usage.cache_creation_input_tokens_5m for usage in usages
        ),
        cache_creation_input_tokens_1h=sum(
            usage.cache_creation_input_tokens_1h for usage in usages
        ),
        cost_nano_usd=NanoUsd(sum(entry.cost_nano_usd for entry in entries)),
    )

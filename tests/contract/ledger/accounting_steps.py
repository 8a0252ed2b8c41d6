"""The steps of which the accounting tests are made."""

from __future__ import annotations

from typing import Any

from agent_executor.ledger.accounting.budget import Budget, BudgetEvent, BudgetStatus, Refusal
from agent_executor.ledger.accounting.commands import (
    Command,
    Correct,
    Outcome,
    Record,
    Recorded,
    Renew,
    Rerate,
    Reserve,
    Settle,
    Void,
)
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store import AccountingStore
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices.rate_card import RateCard
from tests.unit.ledger.accounting_samples import (
    CARD,
    NOW_MS,
    ORGANIZATION,
    amount,
    entry,
    hold,
    priced,
)


async def do(store: AccountingStore, command: Command, now_ms: int = NOW_MS) -> Outcome:
    """Carries out one command."""
    (outcome,) = await store.apply([command], now_ms)
    return outcome


async def ask(
    store: AccountingStore,
    reservation: Reservation,
    now_ms: int = NOW_MS,
    card: RateCard | None = CARD,
) -> Outcome:
    """Asks for a hold, whatever the answer."""
    return await do(store, Reserve(reservation, card if reservation.model else None), now_ms)


async def reserve(
    store: AccountingStore, reservation_id: str = "call-1", now_ms: int = NOW_MS, **changes: Any
) -> Reservation:
    """Holds money for a call, which must be admitted."""
    outcome = await ask(store, hold(reservation_id, created_at_ms=now_ms, **changes), now_ms)
    assert isinstance(outcome, Reservation)
    return outcome


async def refused(
    store: AccountingStore, reservation_id: str = "refused", now_ms: int = NOW_MS, **changes: Any
) -> Refusal:
    """Asks for a hold that must be refused."""
    outcome = await ask(store, hold(reservation_id, created_at_ms=now_ms, **changes), now_ms)
    assert isinstance(outcome, Refusal)
    assert await store.get_reservation(ORGANIZATION, reservation_id, now_ms) is None
    return outcome


async def reserve_amount(
    store: AccountingStore,
    reservation_id: str = "run",
    nano_usd: int = 1_000,
    now_ms: int = NOW_MS,
    **changes: Any,
) -> Reservation:
    """Holds an amount, which must be admitted."""
    asked = amount(reservation_id, nano_usd, created_at_ms=now_ms, **changes)
    outcome = await ask(store, asked, now_ms)
    assert isinstance(outcome, Reservation)
    return outcome


async def settle(
    store: AccountingStore,
    entry_id: str = "call-1",
    now_ms: int = NOW_MS,
    *,
    card: RateCard = CARD,
    tools: tuple[UsageEntry, ...] = (),
    **changes: Any,
) -> Recorded:
    """Settles a call under the reservation of the same id."""
    asked = entry(entry_id, **{"created_at_ms": now_ms, "occurred_at_ms": now_ms, **changes})
    outcome = await do(store, Settle(asked, card, tools), now_ms)
    assert isinstance(outcome, Recorded)
    return outcome


async def record(
    store: AccountingStore,
    entry_id: str = "entry-1",
    cost_nano_usd: int = 100,
    now_ms: int = NOW_MS,
    **changes: Any,
) -> Recorded:
    """Records an entry."""
    asked = priced(
        entry_id, cost_nano_usd, **{"created_at_ms": now_ms, "occurred_at_ms": now_ms, **changes}
    )
    outcome = await do(store, Record(asked), now_ms)
    assert isinstance(outcome, Recorded)
    return outcome


async def correct(
    store: AccountingStore,
    entry_id: str,
    usage: TokenUsage,
    now_ms: int = NOW_MS,
    corrects: str = "call-1",
) -> Outcome:
    """Corrects a call."""
    asked = UsageEntry(
        id=entry_id,
        organization_id=ORGANIZATION,
        kind="correction",
        corrects_entry_id=corrects,
        description="the provider's count",
        occurred_at_ms=now_ms,
        created_at_ms=now_ms,
    )
    return await do(store, Correct(asked, usage), now_ms)


async def rerate(
    store: AccountingStore,
    entry_id: str,
    card: RateCard,
    now_ms: int = NOW_MS,
    corrects: str = "call-1",
) -> Outcome:
    """Rates a call again."""
    asked = UsageEntry(
        id=entry_id,
        organization_id=ORGANIZATION,
        kind="rerating",
        corrects_entry_id=corrects,
        occurred_at_ms=now_ms,
        created_at_ms=now_ms,
    )
    return await do(store, Rerate(asked, card), now_ms)


async def void(store: AccountingStore, reservation_id: str, now_ms: int = NOW_MS) -> Outcome:
    """Voids a reservation."""
    return await do(store, Void(ORGANIZATION, reservation_id), now_ms)


async def renew(
    store: AccountingStore, reservation_id: str, expires_at_ms: int, now_ms: int = NOW_MS
) -> Outcome:
    """Renews a reservation."""
    return await do(store, Renew(ORGANIZATION, reservation_id, expires_at_ms), now_ms)


async def put(
    store: AccountingStore, asked: Budget, now_ms: int = NOW_MS
) -> tuple[BudgetEvent, ...]:
    """Puts a budget, which must cover what it is asked to, and returns what that brought about."""
    answer = await store.put_budget(asked, now_ms)
    assert answer.status.budget == asked
    assert answer.status == await status(store, asked.id, now_ms)
    return answer.events


async def status(
    store: AccountingStore, budget_id: str = "all", now_ms: int = NOW_MS
) -> BudgetStatus:
    """Returns a budget as it stands."""
    found = await store.get_budget(ORGANIZATION, budget_id, now_ms)
    assert found is not None
    return found


async def gone(
    store: AccountingStore, budget_id: str = "all", now_ms: int = NOW_MS
) -> tuple[int, int]:
    """Returns what is settled and what is held of a budget."""
    found = await status(store, budget_id, now_ms)
    return found.settled_nano_usd, found.reserved_nano_usd


async def sums(
    store: AccountingStore, reservation_id: str = "run", now_ms: int = NOW_MS
) -> tuple[int, int, int]:
    """Returns what a reservation holds, what is drawn from it, and what was spent of it."""
    found = await stored(store, reservation_id, now_ms)
    return found.remaining_nano_usd, found.drawn_nano_usd, found.spent_nano_usd


async def stored(store: AccountingStore, reservation_id: str, now_ms: int = NOW_MS) -> Reservation:
    """Returns a reservation as it stands."""
    found = await store.get_reservation(ORGANIZATION, reservation_id, now_ms)
    assert found is not None
    return found


def kinds(events: tuple[BudgetEvent, ...]) -> list[str]:
    """Returns what happened, as ``budget kind percent``."""
    return [f"{one.budget_id} {one.kind} {one.percent}".removesuffix(" 0") for one in events]

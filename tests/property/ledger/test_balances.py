"""Random histories on both adapters at once: they answer alike, and the books always balance."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from agent_executor.ledger.accounting.budget import Budget, Refusal, Window, window_start_ms
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.store_memory import MemoryLedgerStore
from agent_executor.ledger.accounting.store_sqlite import SqliteLedgerStore
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.reports.usage_query import EntryFilter
from tests.unit.ledger.samples import CARD, DAY_MS, HOUR_MS, NOW_MS, hold, settlement

T = TypeVar("T")

USERS = st.sampled_from(["ada", "bob"])
RUNS = st.sampled_from(["run-1", "run-2"])
WINDOWS: st.SearchStrategy[Window] = st.sampled_from(["total", "day", "month"])
AMOUNTS = st.integers(0, 400).map(NanoUsd)
BUDGET_IDS = ("all", "ada", "run-1")


class Stores:
    """Both adapters and the event loop they live in; each example has organizations of its own."""

    def __init__(self, path: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.memory = MemoryLedgerStore()
        self.sqlite = self.run(SqliteLedgerStore.open(path))
        self.organizations = (f"organization-{number}" for number in itertools.count())
        for store in (self.memory, self.sqlite):
            self.run(store.put_rate_card(CARD, "test"))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        self.run(self.sqlite.close())
        self.loop.close()


class Balances(RuleBasedStateMachine):
    """One organization's history, kept a third time in the plainest way."""

    reservation_ids: Bundle[str] = Bundle("reservation_ids")
    entry_ids: Bundle[str] = Bundle("entry_ids")

    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self.stores = stores
        self.organization = next(stores.organizations)
        self.now_ms = NOW_MS
        self.numbers = itertools.count()
        self.budgets: dict[str, Budget] = {}
        self.reservations: dict[str, Reservation] = {}
        self.entries: dict[str, UsageEntry] = {}

    def both(self, call: str, *arguments: Any) -> Any:
        """Calls both adapters and returns their one answer."""
        answers = [
            self.stores.run(getattr(store, call)(*arguments))
            for store in (self.stores.memory, self.stores.sqlite)
        ]
        assert answers[0] == answers[1]
        return answers[1]

    def settled(self, budget: Budget) -> int:
        return sum(
            entry.cost_nano_usd
            for entry in self.entries.values()
            if budget.applies_to(entry.user_id, entry.agent_id, entry.run_id)
            if window_start_ms(budget.window, entry.created_at_ms)
            == window_start_ms(budget.window, self.now_ms)
        )

    def reserved(self, budget: Budget) -> int:
        return sum(
            one.held_nano_usd
            for one in self.reservations.values()
            if one.as_of(self.now_ms).state == "open"
            if budget.applies_to(one.user_id, one.agent_id, one.run_id)
        )

    @initialize()
    def begin(self) -> None:
        self.put_budget("all", NanoUsd(600), "day")

    @rule(budget_id=st.sampled_from(BUDGET_IDS), limit=AMOUNTS, window=WINDOWS)
    def put_budget(self, budget_id: str, limit: NanoUsd, window: Window) -> None:
        budget = Budget(
            budget_id,
            self.organization,
            limit,
            window,
            user_id="ada" if budget_id == "ada" else "",
            run_id="run-1" if budget_id == "run-1" else "",
        )
        status, overrun = self.both("put_budget", budget, self.now_ms)
        known = self.budgets.get(budget_id, budget)
        if known.covers_the_same(budget):
            self.budgets[budget_id] = budget
            left = limit - self.settled(budget) - self.reserved(budget)
            assert (overrun.excess_nano_usd if overrun else 0) == max(0, -left)
        assert status.budget == self.budgets[budget_id]

    @rule(budget_id=st.sampled_from(BUDGET_IDS))
    def delete_budget(self, budget_id: str) -> None:
        deleted = self.both("delete_budget", self.organization, budget_id)
        assert deleted == (self.budgets.pop(budget_id, None) is not None)

    @rule(milliseconds=st.sampled_from([1, HOUR_MS, DAY_MS, 31 * DAY_MS]))
    def wait(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule(
        target=reservation_ids,
        user=USERS,
        run=RUNS,
        held=AMOUNTS,
        ttl_ms=st.sampled_from([1, HOUR_MS, 2 * DAY_MS]),
    )
    def reserve(self, user: str, run: str, held: NanoUsd, ttl_ms: int) -> str:
        reservation = hold(
            f"reservation-{next(self.numbers)}",
            organization_id=self.organization,
            user_id=user,
            run_id=run,
            held_nano_usd=held,
            created_at_ms=self.now_ms,
            expires_at_ms=self.now_ms + ttl_ms,
        )
        fits = all(
            self.settled(budget) + self.reserved(budget) + held <= budget.limit_nano_usd
            for budget in self.budgets.values()
            if budget.applies_to(user, "agent", run)
        )
        answer = self.both("reserve", reservation)
        assert isinstance(answer, Refusal) == (not fits)
        if fits:
            self.reservations[reservation.id] = reservation
        return reservation.id

    @rule(reservation_id=reservation_ids, held=AMOUNTS)
    def reserve_again(self, reservation_id: str, held: NanoUsd) -> None:
        known = self.reservations.get(reservation_id)
        if known is not None:
            again = hold(
                reservation_id,
                organization_id=self.organization,
                held_nano_usd=held,
                created_at_ms=self.now_ms,
                expires_at_ms=self.now_ms + 1,
            )
            assert self.both("reserve", again) == known.as_of(self.now_ms)

    @rule(
        target=entry_ids,
        reservation_id=reservation_ids | st.sampled_from(["", "unknown"]),
        user=USERS,
        run=RUNS,
        tokens=st.integers(0, 500),
    )
    def settle(self, reservation_id: str, user: str, run: str, tokens: int) -> str:
        asked = settlement(
            f"entry-{next(self.numbers)}",
            organization_id=self.organization,
            user_id=user,
            run_id=run,
            usage=TokenUsage(tokens),
            reservation_id=reservation_id,
        )
        settled = self.both("settle", asked, CARD, self.now_ms)
        assert settled.is_new
        assert settled.entry.records(asked)
        self.entries[asked.entry_id] = settled.entry
        reservation = self.reservations.get(reservation_id)
        if reservation is not None:
            reservation = reservation.as_of(self.now_ms)
            assert settled.entry.reservation_outcome == reservation.state
            if reservation.state == "open":
                reservation = reservation.in_state("settled")
            self.reservations[reservation_id] = reservation
        return asked.entry_id

    @rule(entry_id=entry_ids, tokens=st.integers(0, 500), reservation_id=reservation_ids)
    def settle_again(self, entry_id: str, tokens: int, reservation_id: str) -> None:
        asked = settlement(
            entry_id,
            organization_id=self.organization,
            usage=TokenUsage(tokens),
            reservation_id=reservation_id,
        )
        settled = self.both("settle", asked, CARD, self.now_ms)
        assert (settled.entry, settled.is_new) == (self.entries[entry_id], False)

    @rule(reservation_id=reservation_ids)
    def void(self, reservation_id: str) -> None:
        known = self.reservations.get(reservation_id)
        answer = self.both("void", self.organization, reservation_id, self.now_ms)
        if known is None:
            assert answer is None
            return
        known = known.as_of(self.now_ms)
        if known.state == "open":
            known = known.in_state("voided")
        assert answer == known
        self.reservations[reservation_id] = known

    @invariant()
    def the_books_balance(self) -> None:
        for budget in self.budgets.values():
            status = self.both("get_budget", self.organization, budget.id, self.now_ms)
            assert status.settled_nano_usd == self.settled(budget)
            assert status.reserved_nano_usd == self.reserved(budget)

    @invariant()
    def every_entry_counts_once(self) -> None:
        newest = self.both("newest_entry_id", self.organization)
        sums = self.both("summarize", self.organization, EntryFilter(), newest, ("run",), 10)
        assert sums.total.entry_count == len(self.entries)
        assert sums.total.cost_nano_usd == sum(
            entry.cost_nano_usd for entry in self.entries.values()
        )


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(tmp_path / "ledger.sqlite3")
    yield stores
    stores.close()


def test_any_history_balances(stores: Stores) -> None:
    run_state_machine_as_test(
        lambda: Balances(stores),  # type: ignore[arg-type]  # it calls it, class or not
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )

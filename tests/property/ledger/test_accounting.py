"""Random histories on every store at once: they answer alike, and the books always balance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from agent_executor.ledger.accounting.budget import Budget
from agent_executor.ledger.accounting.commands import (
    Correct,
    NotFound,
    Record,
    Recorded,
    Renew,
    Rerate,
    Reserve,
    Settle,
    Unchanged,
    Void,
)
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from agent_executor.ledger.accounting.window import Window, window_at
from agent_executor.ledger.money import NanoUsd
from tests.property.ledger.accounting_history import AccountingHistory, Stores
from tests.unit.ledger.accounting_samples import (
    CARD,
    DAY_MS,
    HOUR_MS,
    RAISED,
    adjustment,
    entry,
    tool_entry,
)

USERS = st.sampled_from(["ada", "bob"])
RUNS = st.sampled_from(["run-1", "run-2"])
WINDOWS: st.SearchStrategy[Window] = st.sampled_from(["total", "day", "month"])
ZONES = st.sampled_from(["UTC", "Pacific/Auckland"])
AMOUNTS = st.integers(0, 400).map(NanoUsd)
TTLS_MS = st.sampled_from([1, HOUR_MS, 2 * DAY_MS])
# Entries may be late, or as much ahead as two clocks may differ.
AGES_MS = st.sampled_from([0, 0, 0, HOUR_MS, DAY_MS, 40 * DAY_MS, -300_000])
SCOPES: dict[str, dict[str, str]] = {
    "all": {},
    "ada": {"user_id": "ada"},
    "run-1": {"run_id": "run-1"},
    "bob-run-2": {"user_id": "bob", "run_id": "run-2"},
}


class Accounting(AccountingHistory):
    """The steps."""

    reservation_ids: Bundle[str] = Bundle("reservation_ids")
    amount_ids: Bundle[str] = Bundle("amount_ids")
    entry_ids: Bundle[str] = Bundle("entry_ids")

    @initialize(target=amount_ids, limit=st.sampled_from([600, 3_000]).map(NanoUsd))
    def begin(self, limit: NanoUsd) -> MultipleResults[str]:
        self.put_budget("all", limit, "day", "UTC", ())
        top = self.hold("top", model="", held_nano_usd=500, ttl_ms=2 * DAY_MS)
        middle = self.hold("middle", model="", held_nano_usd=300, parent_id="top", user_id="bob")
        ids = [self.reserved_as_it_must_be(one) for one in (top, middle)]
        return multiple(*ids)

    @rule(
        budget_id=st.sampled_from(sorted(SCOPES)),
        limit=st.integers(0, 2_000).map(NanoUsd),
        window=WINDOWS,
        time_zone=ZONES,
        alerts=st.sampled_from([(), (50,), (20, 100)]),
    )
    def put_budget(
        self,
        budget_id: str,
        limit: NanoUsd,
        window: Window,
        time_zone: str,
        alerts: tuple[int, ...],
    ) -> None:
        asked = Budget(
            budget_id,
            self.organization,
            limit,
            window,
            time_zone=time_zone,
            alert_percents=alerts,
            **SCOPES[budget_id],
        )
        self.look()
        left_before = self.left.get(budget_id, 0)
        stored = self.budgets.get(budget_id)
        answer = self.stores.ask("put_budget", asked, self.now_ms)
        if stored is not None and not stored.covers_the_same(asked):
            assert (answer.status.budget, answer.events) == (stored, ())
            return
        if stored is None:
            self.counted_from_ms[budget_id] = window_at(window, time_zone, self.now_ms).start_ms
        self.budgets[budget_id] = asked
        self.look()
        is_overrun = any(one.kind == "overrun" for one in answer.events)
        assert is_overrun == (self.left[budget_id] < min(0, left_before))

    @rule(budget_id=st.sampled_from(sorted(SCOPES)))
    def delete_budget(self, budget_id: str) -> None:
        deleted = self.stores.ask("delete_budget", self.organization, budget_id)
        assert deleted == (self.budgets.pop(budget_id, None) is not None)
        self.counted_from_ms.pop(budget_id, None)

    @rule(milliseconds=st.sampled_from([1, HOUR_MS, DAY_MS, 31 * DAY_MS]))
    def wait(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    @rule(
        target=reservation_ids,
        user=USERS,
        run=RUNS,
        held=AMOUNTS,
        least_output=st.integers(0, 40),
        ttl_ms=TTLS_MS,
        parent_id=st.just("") | amount_ids,
    )
    def reserve(
        self, user: str, run: str, held: NanoUsd, least_output: int, ttl_ms: int, parent_id: str
    ) -> str:
        output = held // 5
        asked = self.hold(
            f"reservation-{next(self.numbers)}",
            user_id=user,
            run_id=run,
            max_input_tokens=held % 5,
            max_output_tokens=output,
            min_output_tokens=min(least_output, output),
            held_nano_usd=held,
            ttl_ms=ttl_ms,
            parent_id=parent_id,
        )
        return self.reserved_as_it_must_be(asked)

    @rule(
        target=amount_ids,
        user=USERS,
        run=RUNS,
        held=AMOUNTS,
        ttl_ms=TTLS_MS,
        parent_id=st.just("") | amount_ids,
    )
    def reserve_amount(
        self, user: str, run: str, held: NanoUsd, ttl_ms: int, parent_id: str
    ) -> str:
        asked = self.hold(
            f"amount-{next(self.numbers)}",
            model="",
            user_id=user,
            run_id=run,
            held_nano_usd=held,
            ttl_ms=ttl_ms,
            parent_id=parent_id,
        )
        return self.reserved_as_it_must_be(asked)

    @rule(reservation_id=reservation_ids | amount_ids, held=AMOUNTS)
    def reserve_again(self, reservation_id: str, held: NanoUsd) -> None:
        self.look()
        known = self.reservations.get(reservation_id)
        if known is not None:
            asked = self.hold(reservation_id, held_nano_usd=held, ttl_ms=1)
            assert self.apply(Reserve(asked, CARD)) == [known]

    @rule(
        target=entry_ids,
        reservation_id=reservation_ids | amount_ids | st.sampled_from(["", "unknown"]),
        user=USERS,
        run=RUNS,
        tokens=st.integers(0, 500),
        fee=st.sampled_from([0, 0, 30]),
        age_ms=AGES_MS,
    )
    def settle(
        self, reservation_id: str, user: str, run: str, tokens: int, fee: int, age_ms: int
    ) -> str:
        asked = entry(
            f"entry-{next(self.numbers)}",
            organization_id=self.organization,
            user_id=user,
            run_id=run,
            usage=TokenCounts(tokens),
            reservation_id=reservation_id,
            created_at_ms=self.now_ms,
            occurred_at_ms=self.now_ms - age_ms,
        )
        tool = tool_entry(
            f"{asked.id}-tool",
            fee,
            organization_id=self.organization,
            user_id=user,
            run_id=run,
            occurred_at_ms=self.now_ms - age_ms,
            created_at_ms=self.now_ms,
        )
        self.look()
        before = self.reservations
        (outcome,) = self.apply(Settle(asked, CARD, (tool,)))
        assert isinstance(outcome, Recorded)
        assert outcome.is_new
        assert outcome.entry.records_the_same(asked)
        assert outcome.entry.cost_nano_usd == tokens
        settled_with = msgspec.structs.replace(
            tool,
            reservation_id=reservation_id,
            reservation_outcome=outcome.entry.reservation_outcome,
        )
        assert outcome.tool_entries == (settled_with,)
        assert outcome.tool_cost_nano_usd == fee
        found = before.get(reservation_id)
        if found is None:
            assert outcome.entry.reservation_outcome == ("unknown" if reservation_id else "none")
            assert self.reservations == before
            return asked.id
        assert outcome.entry.reservation_outcome == found.state
        self.check_taken(found, before, tokens + fee)
        return asked.id

    @rule(entry_id=entry_ids, tokens=st.integers(0, 500), reservation_id=reservation_ids)
    def settle_again(self, entry_id: str, tokens: int, reservation_id: str) -> None:
        asked = entry(
            entry_id,
            organization_id=self.organization,
            usage=TokenCounts(tokens),
            reservation_id=reservation_id,
            created_at_ms=self.now_ms,
            occurred_at_ms=self.now_ms,
        )
        self.look()
        before = self.reservations
        (outcome,) = self.apply(Settle(asked, RAISED))
        assert outcome == Recorded(self.entries[entry_id], is_new=False)
        assert self.reservations == before

    @rule(user=USERS, run=RUNS, cost=st.integers(-200, 300), age_ms=AGES_MS)
    def record(self, user: str, run: str, cost: int, age_ms: int) -> None:
        made = tool_entry if cost >= 0 else adjustment
        asked = made(
            f"entry-{next(self.numbers)}",
            cost,
            organization_id=self.organization,
            user_id=user,
            run_id=run,
            created_at_ms=self.now_ms,
            occurred_at_ms=self.now_ms - age_ms,
        )
        for is_new in (True, False):
            (outcome,) = self.apply(Record(asked))
            assert isinstance(outcome, Recorded)
            assert (outcome.entry, outcome.is_new) == (asked, is_new)

    @rule(entry_id=entry_ids, tokens=st.integers(0, 500))
    def correct(self, entry_id: str, tokens: int) -> None:
        asked = self.changing(entry_id)
        usage = TokenUsage(tokens)
        for is_new in (True, False):
            (outcome,) = self.apply(Correct(asked, usage))
            assert isinstance(outcome, Recorded)
            assert outcome.is_new == is_new
            assert outcome.corrected_usage is not None
            assert msgspec.structs.astuple(outcome.corrected_usage) == (tokens, 0, 0, 0, 0)
        call = self.entries[entry_id]
        rerated = [
            one.rate_card_id
            for one in self.entries.values()
            if one.corrects_entry_id == entry_id and one.kind == "rerating"
        ]
        card = RAISED if [call.rate_card_id, *rerated][-1] == RAISED.id else CARD
        assert self.net(call) == (TokenCounts(tokens), card.cost(usage))

    @rule(entry_id=entry_ids, card=st.sampled_from([CARD, RAISED]))
    def rerate(self, entry_id: str, card: Any) -> None:
        call = self.entries[entry_id]
        before = self.net(call)
        (outcome,) = self.apply(Rerate(self.changing(entry_id), card))
        if before[1] == card.cost(before[0]):
            assert outcome == Unchanged(call)
        else:
            assert isinstance(outcome, Recorded)
            assert self.net(call) == (before[0], card.cost(before[0]))

    @rule(reservation_id=reservation_ids | amount_ids)
    def void(self, reservation_id: str) -> None:
        self.look()
        known = self.reservations.get(reservation_id)
        (outcome,) = self.apply(Void(self.organization, reservation_id))
        if known is None:
            assert outcome == NotFound("reservation")
            return
        assert outcome == self.reservations[reservation_id]
        assert outcome.state == ("voided" if known.state == "open" else known.state)

    @rule(reservation_id=reservation_ids | amount_ids, ttl_ms=TTLS_MS)
    def renew(self, reservation_id: str, ttl_ms: int) -> None:
        self.look()
        known = self.reservations.get(reservation_id)
        end_ms = self.now_ms + ttl_ms
        (outcome,) = self.apply(Renew(self.organization, reservation_id, end_ms))
        if known is None:
            assert outcome == NotFound("reservation")
            return
        if known.state == "open":
            end_ms = max(known.expires_at_ms, end_ms)
            known = msgspec.structs.replace(known, expires_at_ms=end_ms)
        assert outcome == known


@pytest.fixture
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(request, tmp_path)
    yield stores
    stores.close()


@pytest.mark.timeout(1_800)
def test_any_history_balances(stores: Stores, full: bool) -> None:
    run_state_machine_as_test(
        lambda: Accounting(stores),  # type: ignore[arg-type]  # it calls it, class or not
        settings=settings(
            max_examples=1_000 if full else 12,
            stateful_step_count=60 if full else 25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )

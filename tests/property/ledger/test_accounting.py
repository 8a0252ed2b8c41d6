"""Random histories on every store at once: they answer alike, and the books always balance."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from agent_executor.ledger.accounting.book import Rollup
from agent_executor.ledger.accounting.budget import Budget, BudgetEvent, Refusal
from agent_executor.ledger.accounting.commands import (
    Command,
    Correct,
    NotFound,
    Outcome,
    Record,
    Recorded,
    Renew,
    Rerate,
    Reserve,
    Settle,
    Unchanged,
    Void,
)
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.rollup import RollupKey
from agent_executor.ledger.accounting.store import BudgetPut
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from agent_executor.ledger.accounting.window import Window, window_at
from agent_executor.ledger.money import NanoUsd
from tests.contract.ledger.stores import ADAPTERS, open_store
from tests.unit.ledger.accounting_samples import (
    CARD,
    CARDS,
    DAY_MS,
    HOUR_MS,
    NOW_MS,
    RAISED,
    adjustment,
    amount,
    entry,
    hold,
    tool_entry,
)

T = TypeVar("T")

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


def without_event_ids(answer: Any) -> Any:
    """Returns an answer as all stores give it: each counts its events in its own way."""
    if isinstance(answer, BudgetPut):
        events = tuple(msgspec.structs.replace(one, id=0) for one in answer.events)
        return msgspec.structs.replace(answer, events=events)
    if isinstance(answer, list) and answer and isinstance(answer[0], BudgetEvent):
        return [msgspec.structs.replace(one, id=0) for one in answer]
    return answer


class Stores:
    """Every adapter and the event loop they live in; each example has an organization."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self._exits = AsyncExitStack()
        self.opened = [
            self.run(self._exits.enter_async_context(open_store(adapter, request, folder)))
            for adapter in ADAPTERS
        ]
        self.organizations = (f"organization-{number}" for number in itertools.count())
        for opened in self.opened:
            for card in CARDS:
                self.run(opened.store.put_rate_card(card, "test"))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def ask(self, call: str, *arguments: Any, **named: Any) -> Any:
        """Calls every adapter and returns their one answer."""
        answers = [
            self.run(getattr(opened.store, call)(*arguments, **named)) for opened in self.opened
        ]
        first = without_event_ids(answers[0])
        for answer in answers[1:]:
            assert without_event_ids(answer) == first
        return answers[0]

    def close(self) -> None:
        self.run(self._exits.aclose())
        self.loop.close()


class Accounting(RuleBasedStateMachine):
    """One organization's history.

    What a step does is compared with the state before it, and the state with its definition: the
    sums over all entries and reservations that the contract of the store names.
    """

    reservation_ids: Bundle[str] = Bundle("reservation_ids")
    amount_ids: Bundle[str] = Bundle("amount_ids")
    entry_ids: Bundle[str] = Bundle("entry_ids")

    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self.stores = stores
        self.organization = next(stores.organizations)
        self.now_ms = NOW_MS
        self.numbers = itertools.count()
        self.budgets: dict[str, Budget] = {}
        self.counted_from_ms: dict[str, int] = {}
        self.known: set[str] = set()
        self.entries: dict[str, UsageEntry] = {}
        self.reservations: dict[str, Reservation] = {}
        self.left: dict[str, int] = {}

    # What is there, by its definition

    def ancestors(self, one: Reservation) -> Iterator[Reservation]:
        while one.parent_id:
            one = self.reservations[one.parent_id]
            yield one

    def charged(self, one: Reservation) -> list[Budget]:
        return [
            budget
            for budget in self.budgets.values()
            if budget.applies_to(one.user_id, one.agent_id, one.run_id)
            if not any(
                budget.applies_to(above.user_id, above.agent_id, above.run_id)
                for above in self.ancestors(one)
            )
        ]

    def reserved(self, budget: Budget) -> int:
        return sum(
            one.remaining_nano_usd
            for one in self.reservations.values()
            if budget in self.charged(one)
        )

    def settled(self, budget: Budget, at_ms: int) -> int:
        window = window_at(budget.window, budget.time_zone, at_ms)
        return sum(
            one.cost_nano_usd
            for one in self.entries.values()
            if budget.applies_to(one.user_id, one.agent_id, one.run_id)
            if window.start_ms <= one.occurred_at_ms < window.end_ms
        )

    def look(self) -> None:
        """Reads every reservation as it stands now."""
        self.reservations = {
            one: self.stores.ask("get_reservation", self.organization, one, self.now_ms)
            for one in sorted(self.known)
        }
        self.left = {
            budget.id: budget.limit_nano_usd
            - self.settled(budget, self.now_ms)
            - self.reserved(budget)
            for budget in self.budgets.values()
        }

    # Steps

    def apply(self, *commands: Command) -> list[Outcome]:
        """Carries commands out and takes note of what was recorded."""
        self.look()
        before = self.left
        outcomes: list[Outcome] = self.stores.ask("apply", commands, self.now_ms)
        events: list[BudgetEvent] = []
        for outcome in outcomes:
            if isinstance(outcome, Recorded) and outcome.is_new:
                for one in (outcome.entry, *outcome.tool_entries):
                    assert one.id not in self.entries
                    self.entries[one.id] = one
                events.extend(outcome.events)
        self.look()
        overrun = {one.budget_id for one in events if one.kind == "overrun"}
        if len(commands) == 1:
            for budget_id, left in self.left.items():
                if left < min(0, before[budget_id]):
                    assert budget_id in overrun
            for one in events:
                self.check_event(one)
        newest = self.stores.ask("budget_events", self.organization, len(events))
        for told, kept in zip(reversed(events), newest, strict=False):
            assert kept == msgspec.structs.replace(told, id=kept.id)
        return outcomes

    def check_event(self, told: BudgetEvent) -> None:
        """Compares an event that the last command has brought about with the state after it."""
        budget = self.budgets[told.budget_id]
        start_ms = told.window_start_ms
        assert start_ms >= self.counted_from_ms[budget.id]
        is_past = start_ms < window_at(budget.window, budget.time_zone, self.now_ms).start_ms
        assert told.limit_nano_usd == budget.limit_nano_usd
        assert told.settled_nano_usd == self.settled(budget, start_ms)
        assert told.reserved_nano_usd == (0 if is_past else self.reserved(budget))
        gone_nano_usd = told.settled_nano_usd + told.reserved_nano_usd
        if told.kind == "overrun":
            assert gone_nano_usd > budget.limit_nano_usd
        else:
            assert told.settled_nano_usd * 100 >= told.percent * budget.limit_nano_usd

    def hold(self, reservation_id: str, **changes: Any) -> Reservation:
        made = hold if changes.get("model", "model") else amount
        return made(
            reservation_id,
            organization_id=self.organization,
            created_at_ms=self.now_ms,
            **changes,
        )

    @initialize(target=amount_ids, limit=st.sampled_from([600, 3_000]).map(NanoUsd))
    def begin(self, limit: NanoUsd) -> MultipleResults[str]:
        self.put_budget("all", limit, "day", "UTC", ())
        top = self.reserve_amount("ada", "run-1", NanoUsd(500), 2 * DAY_MS, "")
        middle = self.reserve_amount("ada", "run-2", NanoUsd(300), 2 * DAY_MS, top)
        return multiple(top, middle)

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
        return self._reserve(asked)

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
        return self._reserve(asked)

    def _reserve(self, asked: Reservation) -> str:
        self.look()
        limits = []
        parent = self.reservations.get(asked.parent_id)
        if asked.parent_id and parent is None:
            # Its parent was refused.
            (outcome,) = self.apply(Reserve(asked, CARD if asked.model else None))
            assert outcome == NotFound("parent")
            return asked.id
        if parent is not None:
            left = parent.remaining_nano_usd - parent.drawn_nano_usd
            limits.append(left if parent.state == "open" else -1)
        limits.extend(self.left[budget.id] for budget in self.charged(asked))
        (outcome,) = self.apply(Reserve(asked, CARD if asked.model else None))
        least = min(limits, default=10**9)
        if asked.held_nano_usd <= least:
            assert outcome == asked
        elif asked.min_output_tokens and asked.max_input_tokens <= least:
            fitting = (least - asked.max_input_tokens) // 5
            if fitting >= asked.min_output_tokens:
                event("less output")
                assert isinstance(outcome, Reservation)
                assert outcome.max_output_tokens == fitting
                assert outcome.held_nano_usd == asked.max_input_tokens + 5 * fitting <= least
            else:
                assert isinstance(outcome, Refusal)
        else:
            assert isinstance(outcome, Refusal)
        if isinstance(outcome, Refusal):
            if outcome.status is not None:
                assert outcome.status.left_nano_usd == least
            else:
                assert outcome.parent_left_nano_usd == max(0, least)
            return asked.id
        self.known.add(asked.id)
        return asked.id

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
        assert outcome.tool_entries == (tool,)
        found = before.get(reservation_id)
        if found is None:
            assert outcome.entry.reservation_outcome == ("unknown" if reservation_id else "none")
            assert self.reservations == before
            return asked.id
        assert outcome.entry.reservation_outcome == found.state
        self._took(found, before, tokens + fee)
        return asked.id

    def _took(self, found: Reservation, before: dict[str, Reservation], cost: int) -> None:
        """Looks whether a cost was taken out of a tree as it should have been."""
        after = self.reservations
        ended = after[found.id]
        assert ended.state == ("settled" if found.state == "open" else found.state)
        assert ended.spent_nano_usd == found.spent_nano_usd
        for one in self.ancestors(ended):
            was = before[one.id]
            assert one.spent_nano_usd == was.spent_nano_usd + cost
            if was.state == "open":
                assert one.remaining_nano_usd == max(
                    one.drawn_nano_usd, was.remaining_nano_usd - cost
                )

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

    def net(self, call: UsageEntry) -> tuple[TokenCounts, int]:
        of_call = [
            one for one in self.entries.values() if call.id in (one.id, one.corrects_entry_id)
        ]
        usage = TokenCounts()
        for one in of_call:
            usage = usage.plus(one.usage)
        return usage, sum(one.cost_nano_usd for one in of_call)

    @rule(entry_id=entry_ids, tokens=st.integers(0, 500))
    def correct(self, entry_id: str, tokens: int) -> None:
        asked = self._changing(entry_id)
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
        (outcome,) = self.apply(Rerate(self._changing(entry_id), card))
        if before[1] == card.cost(before[0]):
            assert outcome == Unchanged(call)
        else:
            assert isinstance(outcome, Recorded)
            assert self.net(call) == (before[0], card.cost(before[0]))

    def _changing(self, entry_id: str) -> UsageEntry:
        return UsageEntry(
            id=f"entry-{next(self.numbers)}",
            organization_id=self.organization,
            corrects_entry_id=entry_id,
            created_at_ms=self.now_ms,
            occurred_at_ms=self.now_ms,
        )

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

    # What must always hold

    @invariant()
    def budgets_are_what_they_are_defined_as(self) -> None:
        self.look()
        for budget in self.budgets.values():
            status = self.stores.ask("get_budget", self.organization, budget.id, self.now_ms)
            assert status.budget == budget
            assert status.settled_nano_usd == self.settled(budget, self.now_ms)
            assert status.reserved_nano_usd == self.reserved(budget)
            yesterday_ms = self.now_ms - DAY_MS
            window = window_at(budget.window, budget.time_zone, yesterday_ms)
            if window.start_ms >= self.counted_from_ms[budget.id]:
                then = self.stores.ask("get_budget", self.organization, budget.id, yesterday_ms)
                assert then.settled_nano_usd == self.settled(budget, yesterday_ms)

    @invariant()
    def trees_conserve_money(self) -> None:
        for one in self.reservations.values():
            drawn = sum(
                other.remaining_nano_usd
                for other in self.reservations.values()
                if other.parent_id == one.id
            )
            assert one.drawn_nano_usd == drawn
            assert 0 <= one.drawn_nano_usd <= one.remaining_nano_usd <= one.held_nano_usd
            if one.state == "open":
                assert one.expires_at_ms > self.now_ms
                assert one.remaining_nano_usd >= one.held_nano_usd - one.spent_nano_usd
            else:
                assert one.remaining_nano_usd == drawn

    @invariant()
    def no_budget_is_overrun_without_an_event(self) -> None:
        events = self.stores.ask("budget_events", self.organization, 10_000)
        overrun = {one.budget_id for one in events if one.kind == "overrun"}
        assert all(left >= 0 or budget_id in overrun for budget_id, left in self.left.items())
        thresholds = [
            (one.budget_id, one.window_start_ms, one.percent)
            for one in events
            if one.kind == "threshold_reached"
        ]
        assert len(thresholds) == len(set(thresholds))

    @invariant()
    def rollups_are_the_sums_of_entries(self) -> None:
        expected: dict[RollupKey, Rollup] = {}
        for one in self.entries.values():
            hour_ms = one.occurred_at_ms // HOUR_MS * HOUR_MS
            day_ms = one.occurred_at_ms // DAY_MS * DAY_MS
            what = (one.agent_id, one.model, one.tool_name, one.kind)
            for key in (
                RollupKey("all", 24, day_ms, one.user_id, *what),
                RollupKey("agents", 24, day_ms, "", *what),
                RollupKey("agents", 1, hour_ms, "", *what),
                RollupKey("users", 24, day_ms, one.user_id, "", "", "", ""),
                RollupKey("users", 1, hour_ms, one.user_id, "", "", "", ""),
            ):
                expected.setdefault(key, Rollup()).add(one)
        for opened in self.stores.opened:
            assert self.stores.run(opened.rollups(self.organization)) == expected


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
            max_examples=1_000 if full else 40,
            stateful_step_count=60 if full else 25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )

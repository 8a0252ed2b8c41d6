"""A history of one organization in every store at once, and what must hold of it at any time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import event
from hypothesis.stateful import RuleBasedStateMachine, invariant

from agent_executor.ledger.accounting.book import Rollup
from agent_executor.ledger.accounting.budget import Budget, BudgetEvent, Refusal
from agent_executor.ledger.accounting.commands import (
    Command,
    NotFound,
    Outcome,
    Recorded,
    Reserve,
)
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.rollup import RollupKey
from agent_executor.ledger.accounting.store import BudgetPut
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.accounting.window import window_at
from tests.contract.ledger.stores import ADAPTERS, Rollups, open_store
from tests.unit.ledger.accounting_samples import (
    CARD,
    CARDS,
    DAY_MS,
    HOUR_MS,
    NOW_MS,
    amount,
    hold,
)

T = TypeVar("T")


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

    def all_rollups(self, organization: str) -> list[Rollups]:
        """Returns the roll-ups of every store."""

        async def read() -> list[Rollups]:
            return [await opened.rollups(organization) for opened in self.opened]

        return self.run(read())

    def close(self) -> None:
        self.run(self._exits.aclose())
        self.loop.close()


class AccountingHistory(RuleBasedStateMachine):
    """One organization's history, to which a test adds the steps.

    What a step does is compared with the state before it, and the state with its definition: the
    sums over all entries and reservations that the contract of the store names.
    """

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
            for told in events:
                self.check_event(told)
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

    def reserved_as_it_must_be(self, asked: Reservation) -> str:
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

    def check_taken(self, found: Reservation, before: dict[str, Reservation], cost: int) -> None:
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

    def net(self, call: UsageEntry) -> tuple[TokenCounts, int]:
        of_call = [
            one for one in self.entries.values() if call.id in (one.id, one.corrects_entry_id)
        ]
        usage = TokenCounts()
        for one in of_call:
            usage = usage.plus(one.usage)
        return usage, sum(one.cost_nano_usd for one in of_call)

    def changing(self, entry_id: str) -> UsageEntry:
        return UsageEntry(
            id=f"entry-{next(self.numbers)}",
            organization_id=self.organization,
            corrects_entry_id=entry_id,
            created_at_ms=self.now_ms,
            occurred_at_ms=self.now_ms,
        )

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
        for rollups in self.stores.all_rollups(self.organization):
            assert rollups == expected

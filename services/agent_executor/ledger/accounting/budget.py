"""A limit on spending, the window it holds for, and when it refuses."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from agent_executor.errors import BudgetExceededError, LimitExceededError
from agent_executor.ledger.accounting.window import Window
from agent_executor.ledger.money import NanoUsd, format_usd

BudgetEventKind: TypeAlias = Literal["threshold_reached", "overrun"]

# Each call is held against all budgets of its eight scopes in one transaction, for which others wait.
MAX_BUDGETS_OF_SCOPE: Final = 20


class Budget(msgspec.Struct, frozen=True):
    """A limit on what a part of an organization may spend in a window of time.

    The identifiers that are set must all match; with none set it is the whole organization's.

    Attributes:
        id: Chosen by the operator, unique in the organization.
        limit_nano_usd: Settled in the window plus held may not be made to exceed it.
        window: ``total``, ``day`` or ``month``.
        user_id: Only this user's spending; empty: every user's.
        agent_id: Only this agent's spending; empty: every agent's.
        run_id: Only this run's spending; empty: every run's.
        time_zone: The IANA time zone whose days and months are meant.
        alert_percents: Parts of the limit that raise an event when what is settled in a window
            first reaches them, ascending.
    """

    id: str
    organization_id: str
    limit_nano_usd: NanoUsd
    window: Window = "total"
    user_id: str = ""
    agent_id: str = ""
    run_id: str = ""
    time_zone: str = "UTC"
    alert_percents: tuple[int, ...] = ()

    def applies_to(self, user_id: str, agent_id: str, run_id: str) -> bool:
        """Tells whether spending of this user, agent and run counts."""
        return (
            self.user_id in ("", user_id)
            and self.agent_id in ("", agent_id)
            and self.run_id in ("", run_id)
        )

    def covers_the_same(self, other: Budget) -> bool:
        """Tells whether both are the same budget but for the limit and the alerts."""
        return other == msgspec.structs.replace(
            self, limit_nano_usd=other.limit_nano_usd, alert_percents=other.alert_percents
        )


def check_budgets_of_scope(count: int) -> None:
    """Refuses one more budget where there are so many of the same user, agent and run.

    Raises:
        LimitExceededError: There are ``MAX_BUDGETS_OF_SCOPE``.
    """
    if count >= MAX_BUDGETS_OF_SCOPE:
        raise LimitExceededError(
            f"There are {MAX_BUDGETS_OF_SCOPE} budgets of the same user, agent and run, which is "
            "the limit; delete those that are not needed."
        )


class BudgetStatus(msgspec.Struct, frozen=True):
    """A budget and how much of it is gone.

    Attributes:
        settled_nano_usd: The sum of its entries in the present window.
        reserved_nano_usd: Held by open reservations. A hold counts in whatever window is the
            present one, since that is where its call would be settled.
        resets_at_ms: When the present window ends; None for ``total``.
    """

    budget: Budget
    settled_nano_usd: NanoUsd
    reserved_nano_usd: NanoUsd
    resets_at_ms: int | None

    @property
    def left_nano_usd(self) -> int:
        """What can still be held; negative if the budget is overrun."""
        return self.budget.limit_nano_usd - self.settled_nano_usd - self.reserved_nano_usd


class BudgetEvent(msgspec.Struct, frozen=True):
    """Something that happened to a budget.

    Attributes:
        id: Given by the store, ascending; 0 before it is stored.
        kind: ``threshold_reached``, once per window and percentage; or ``overrun``: settled and held
            came to exceed the limit, which no reservation can do.
        percent: Of ``threshold_reached``: the percentage; else 0.
        entry_id: The entry that did it; empty if it was a change of the budget.
        limit_nano_usd: The limit then.
        settled_nano_usd: What was settled in the window then.
        reserved_nano_usd: What was held then.
        window_start_ms: When the window began; 0 for ``total``.
        created_at_ms: When, in milliseconds since 1970-01-01 UTC.
    """

    organization_id: str
    budget_id: str
    kind: BudgetEventKind
    percent: int
    entry_id: str
    limit_nano_usd: NanoUsd
    settled_nano_usd: NanoUsd
    reserved_nano_usd: NanoUsd
    window_start_ms: int
    created_at_ms: int
    id: int = 0


class BudgetPosition(msgspec.Struct, frozen=True):
    """Where a budget is in one of its windows.

    Attributes:
        window_start_ms: When the window began; 0 for ``total``.
        settled_nano_usd: The sum of the window's entries.
        reserved_nano_usd: What is held and would be settled in it.
    """

    budget: Budget
    window_start_ms: int
    settled_nano_usd: int
    reserved_nano_usd: int

    @property
    def left_nano_usd(self) -> int:
        """What is left; negative if the budget is overrun."""
        return self.budget.limit_nano_usd - self.settled_nano_usd - self.reserved_nano_usd

    def events(
        self, left_before_nano_usd: int, alerted_percent: int, entry_id: str, now_ms: int
    ) -> list[BudgetEvent]:
        """Returns what has happened by coming here.

        Args:
            left_before_nano_usd: What was left before, of the limit of that time; 0 of a new budget.
            alerted_percent: The highest percentage of which an event was raised in this window.
            entry_id: What did it; empty: a change of the budget.
            now_ms: The present.
        """
        settled, budget = self.settled_nano_usd, self.budget
        events = [
            self._event("threshold_reached", percent, entry_id, now_ms)
            for percent in budget.alert_percents
            if percent > alerted_percent and 0 < percent * budget.limit_nano_usd <= settled * 100
        ]
        if self.left_nano_usd < min(0, left_before_nano_usd):
            events.append(self._event("overrun", 0, entry_id, now_ms))
        return events

    def _event(
        self, kind: BudgetEventKind, percent: int, entry_id: str, now_ms: int
    ) -> BudgetEvent:
        return BudgetEvent(
            organization_id=self.budget.organization_id,
            budget_id=self.budget.id,
            kind=kind,
            percent=percent,
            entry_id=entry_id,
            limit_nano_usd=self.budget.limit_nano_usd,
            settled_nano_usd=NanoUsd(self.settled_nano_usd),
            reserved_nano_usd=NanoUsd(self.reserved_nano_usd),
            window_start_ms=self.window_start_ms,
            created_at_ms=now_ms,
        )


class Refusal(msgspec.Struct, frozen=True):
    """Why no money is held: a budget, or the parent reservation, does not cover it.

    Attributes:
        status: The budget that refuses; of several the one with the least left. None if it is the
            parent.
        worst_case_nano_usd: What the call could have cost, with the least output it can do with.
        parent_reservation_id: The parent that refuses; empty if it is a budget.
        parent_left_nano_usd: What can still be drawn from that parent; 0 if it has ended.
        parent_run_id: The run for which that parent was held.
    """

    status: BudgetStatus | None
    worst_case_nano_usd: NanoUsd
    parent_reservation_id: str = ""
    parent_left_nano_usd: int = 0
    parent_run_id: str = ""

    def to_error(self, now_ms: int) -> BudgetExceededError:
        """Returns it as the error that a caller is told, at a time."""
        worst_case = format_usd(self.worst_case_nano_usd)
        if self.status is None:
            left_nano_usd = self.parent_left_nano_usd
            return BudgetExceededError(
                f"The run {self.parent_run_id!r} has {format_usd(left_nano_usd)} left of what it may "
                f"cost; the call may cost {worst_case}.",
                metadata={
                    "parent_reservation_id": self.parent_reservation_id,
                    "left_nano_usd": str(left_nano_usd),
                    "worst_case_nano_usd": str(self.worst_case_nano_usd),
                },
            )
        budget, resets_at_ms = self.status.budget, self.status.resets_at_ms
        retry_after_seconds = None
        # What exceeds the limit by itself will not fit the next window either.
        if resets_at_ms is not None and self.worst_case_nano_usd <= budget.limit_nano_usd:
            retry_after_seconds = (resets_at_ms - now_ms) / 1000
        return BudgetExceededError(
            f"The budget {budget.id!r} has {format_usd(self.status.left_nano_usd)} left of "
            f"{format_usd(budget.limit_nano_usd)}; the call may cost {worst_case}.",
            metadata=self._budget_metadata(self.status),
            retry_after_seconds=retry_after_seconds,
        )

    def _budget_metadata(self, status: BudgetStatus) -> dict[str, str]:
        budget = status.budget
        metadata = {
            "budget_id": budget.id,
            "user_id": budget.user_id,
            "agent_id": budget.agent_id,
            "run_id": budget.run_id,
            "window": budget.window,
            "limit_nano_usd": str(budget.limit_nano_usd),
            "left_nano_usd": str(status.left_nano_usd),
            "worst_case_nano_usd": str(self.worst_case_nano_usd),
        }
        if status.resets_at_ms is not None:
            metadata["time_zone"] = budget.time_zone
            metadata["resets_at_unix_ms"] = str(status.resets_at_ms)
        return {name: value for name, value in metadata.items() if value}

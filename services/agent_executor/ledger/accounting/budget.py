"""A limit on spending, the window it holds for, and when it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

import msgspec

from agent_executor.errors import BudgetExceededError
from agent_executor.ledger.money import NanoUsd, format_usd

Window: TypeAlias = Literal["total", "day", "month"]

_DAY: Final = timedelta(days=1)
# From the first day of any month, this reaches into the next month and not beyond it.
_LONGEST_MONTH: Final = timedelta(days=31)


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


class Refusal(msgspec.Struct, frozen=True):
    """Why no money is held: a budget, or the parent reservation, does not cover it.

    Attributes:
        status: The budget that refuses; of several the one with the least left. None if it is the
            parent.
        worst_case_nano_usd: What the call could have cost.
        parent_reservation_id: The parent that refuses; empty if it is a budget.
        parent_left_nano_usd: What can still be drawn from that parent; 0 if it has ended.
    """

    status: BudgetStatus | None
    worst_case_nano_usd: NanoUsd
    parent_reservation_id: str = ""
    parent_left_nano_usd: int = 0

    def to_error(self, now_ms: int) -> BudgetExceededError:
        """Returns it as the error that a caller is told, at a time."""
        budget, resets_at_ms = self.status.budget, self.status.resets_at_ms
        metadata = {
            "budget_id": budget.id,
            "window": budget.window,
            "limit_nano_usd": str(budget.limit_nano_usd),
            "left_nano_usd": str(self.status.left_nano_usd),
            "worst_case_nano_usd": str(self.worst_case_nano_usd),
        }
        retry_after_seconds = None
        if resets_at_ms is not None:
            metadata["resets_at_unix_ms"] = str(resets_at_ms)
            # A call that exceeds the limit by itself will not fit the next window either.
            if self.worst_case_nano_usd <= budget.limit_nano_usd:
                retry_after_seconds = (resets_at_ms - now_ms) / 1000
        return BudgetExceededError(
            f"The budget {budget.id!r} has {format_usd(self.status.left_nano_usd)} left of "
            f"{format_usd(budget.limit_nano_usd)}; the call may cost "
            f"{format_usd(self.worst_case_nano_usd)}.",
            metadata=metadata,
            retry_after_seconds=retry_after_seconds,
        )


class BudgetEvent(msgspec.Struct, frozen=True):
    """Something that happened to a budget.

    Attributes:
        id: Given by the store, ascending; 0 before it is stored.
        kind: ``threshold_reached``, once per window and percentage; or ``overrun``: settled and held
            came to exceed the limit, which no reservation can do.
        percent: Of ``threshold_reached``: the percentage; else 0.
        entry_id: The entry that did it; empty if the limit was lowered.
        limit_nano_usd: The limit then.
        settled_nano_usd: What was settled in the window then.
        reserved_nano_usd: What was held then.
        window_start_ms: When the window began; 0 for ``total``.
        created_at_ms: When, in milliseconds since 1970-01-01 UTC.
    """

    organization_id: str
    budget_id: str
    kind: Literal["threshold_reached", "overrun"]
    percent: int
    entry_id: str
    limit_nano_usd: NanoUsd
    settled_nano_usd: NanoUsd
    reserved_nano_usd: NanoUsd
    window_start_ms: int
    created_at_ms: int
    id: int = 0


def refuse(statuses: Iterable[BudgetStatus], worst_case_nano_usd: NanoUsd) -> Refusal | None:
    """Returns why a hold does not fit all of these budgets, or None if it does."""
    tightest = min(statuses, key=_tightness, default=None)
    if tightest is None or worst_case_nano_usd <= tightest.left_nano_usd:
        return None
    return Refusal(tightest, worst_case_nano_usd)


def _tightness(status: BudgetStatus) -> tuple[int, str]:
    return status.left_nano_usd, status.budget.id


def window_start_ms(window: Window, now_ms: int) -> int:
    """Returns when the window that holds a time began; 0 for ``total``."""
    if window == "total":
        return 0
    start = _midnight(now_ms)
    return _to_ms(start.replace(day=1) if window == "month" else start)


def window_end_ms(window: Window, now_ms: int) -> int | None:
    """Returns when the window that holds a time ends, which is when the next begins."""
    if window == "total":
        return None
    start = _midnight(now_ms)
    if window == "day":
        return _to_ms(start + _DAY)
    return _to_ms((start.replace(day=1) + _LONGEST_MONTH).replace(day=1))


def _midnight(now_ms: int) -> datetime:
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return moment.replace(hour=0, minute=0, second=0)


def _to_ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000

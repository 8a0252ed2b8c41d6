"""What Prometheus and the log are told of what was held and recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import msgspec

from agent_executor.ledger.accounting.budget import BudgetEvent
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.serving.metric_names import (
    BUDGET_OVERRUNS,
    BUDGET_THRESHOLDS,
    RESERVATIONS,
    UNPRICED_MODELS,
    USAGE_COST,
    USAGE_CREDIT,
    USAGE_ENTRIES,
    USAGE_TOKENS,
)
from agent_executor.serving.metrics import Metrics

_TOKEN_CLASSES: Final = TokenCounts.__struct_fields__
_LOGGER = logging.getLogger(__name__)


def tell_first(metrics: Metrics) -> None:
    """Shows at zero what is to be noticed when it happens for the first time."""
    metrics.show(BUDGET_OVERRUNS, BUDGET_THRESHOLDS, UNPRICED_MODELS)
    for outcome in ("admitted", "reduced", "refused"):
        metrics.increment(RESERVATIONS, outcome, by=0)


class Happened:
    """What some operations have brought about, to be told at once.

    Attributes:
        reservations: How each request to hold money has ended, as the metric says it.
        entries: What was recorded.
        events: What happened to budgets.
    """

    __slots__ = ("entries", "events", "reservations")

    def __init__(self) -> None:
        self.reservations: list[str] = []
        self.entries: list[UsageEntry] = []
        self.events: list[BudgetEvent] = []

    def tell(self, metrics: Metrics) -> None:
        """Counts and logs it."""
        for outcome in set(self.reservations):
            metrics.increment(RESERVATIONS, outcome, by=self.reservations.count(outcome))
        _count_entries(metrics, self.entries)
        report_events(metrics, self.events)


class _Sums(msgspec.Struct):
    """Sums of entries of one model. A counter never falls, so what is given back is apart."""

    entry_count: int = 0
    cost_nano_usd: int = 0
    credit_nano_usd: int = 0
    tokens: list[int] = msgspec.field(default_factory=lambda: [0] * len(_TOKEN_CLASSES))

    def add(self, entry: UsageEntry) -> None:
        self.entry_count += 1
        cost = entry.cost_nano_usd
        if cost < 0:
            self.credit_nano_usd -= cost
        else:
            self.cost_nano_usd += cost
        tokens = self.tokens
        for place, count in enumerate(msgspec.structs.astuple(entry.usage)):
            if count > 0:
                tokens[place] += count


def _count_entries(metrics: Metrics, entries: Iterable[UsageEntry]) -> None:
    found: dict[tuple[str, str], _Sums] = {}
    for entry in entries:
        key = entry.rate_card_id, entry.reservation_outcome
        sums = found.get(key)
        if sums is None:
            sums = found[key] = _Sums()
        sums.add(entry)
    for (rate_card_id, outcome), sums in found.items():
        # As the price list names it, for callers may spell a model in ways without number.
        model = rate_card_id.partition("@")[0]
        metrics.increment(USAGE_ENTRIES, model, outcome, by=sums.entry_count)
        metrics.increment(USAGE_COST, model, by=sums.cost_nano_usd)
        if sums.credit_nano_usd:
            metrics.increment(USAGE_CREDIT, model, by=sums.credit_nano_usd)
        for token_class, count in zip(_TOKEN_CLASSES, sums.tokens, strict=True):
            if count:
                metrics.increment(USAGE_TOKENS, model, token_class, by=count)


def report_events(metrics: Metrics, events: Iterable[BudgetEvent]) -> None:
    """Counts and logs what has happened to budgets."""
    for event in events:
        if event.kind == "threshold_reached":
            metrics.increment(BUDGET_THRESHOLDS)
            _LOGGER.warning(
                "The budget %s has reached %d percent of its limit.", event.budget_id, event.percent
            )
            continue
        metrics.increment(BUDGET_OVERRUNS)
        _LOGGER.warning(
            "The budget %s is %d nano-dollars over its limit after %s.",
            event.budget_id,
            event.settled_nano_usd + event.reserved_nano_usd - event.limit_nano_usd,
            f"the entry {event.entry_id}" if event.entry_id else "its limit was lowered",
        )

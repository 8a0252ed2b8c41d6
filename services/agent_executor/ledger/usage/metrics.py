"""What Prometheus and the log are told of entries and of what happens to budgets."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from agent_executor.ledger.accounting.budget import BudgetEvent
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.serving.metrics import (
    BUDGET_OVERRUNS,
    BUDGET_THRESHOLDS,
    USAGE_COST,
    USAGE_CREDIT,
    USAGE_ENTRIES,
    USAGE_TOKENS,
    CounterDefinition,
    Metrics,
)

_CLASSES: Final = TokenCounts.__struct_fields__
_LOGGER = logging.getLogger(__name__)


def count_entries(metrics: Metrics, entries: Iterable[UsageEntry]) -> None:
    """Counts entries that were just recorded."""
    counts: Counter[tuple[CounterDefinition, *tuple[str, ...]]] = Counter()
    for entry in entries:
        # As the price list names it, for callers may spell a model in ways without number.
        model = entry.rate_card_id.partition("@")[0]
        counts[USAGE_ENTRIES, model, entry.reservation_outcome] += 1
        # A counter never falls, so what is given back has one of its own.
        if entry.cost_nano_usd < 0:
            counts[USAGE_CREDIT, model] -= entry.cost_nano_usd
        else:
            counts[USAGE_COST, model] += entry.cost_nano_usd
        for token_class, tokens in zip(_CLASSES, msgspec.structs.astuple(entry.usage), strict=True):
            if tokens > 0:
                counts[USAGE_TOKENS, model, token_class] += tokens
    for (definition, *labels), count in counts.items():
        metrics.increment(definition, *labels, by=count)


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

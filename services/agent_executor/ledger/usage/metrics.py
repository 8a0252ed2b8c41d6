"""What Prometheus and the log are told of entries and overruns."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import msgspec

from agent_executor.ledger.accounting.budget import Overrun
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.serving.metrics import (
    BUDGET_OVERRUNS,
    USAGE_COST,
    USAGE_ENTRIES,
    USAGE_TOKENS,
    Metrics,
)

_KINDS: Final = TokenUsage.__struct_fields__
_LOGGER = logging.getLogger(__name__)


def count_entry(metrics: Metrics, entry: UsageEntry) -> None:
    """Counts an entry that was just recorded."""
    # As the price list names it, for callers may spell a model in ways without number.
    model = entry.rate_card_id.partition("@")[0]
    metrics.increment(USAGE_ENTRIES, model, entry.reservation_outcome)
    metrics.increment(USAGE_COST, model, by=entry.cost_nano_usd)
    for kind, tokens in zip(_KINDS, msgspec.structs.astuple(entry.usage), strict=True):
        if tokens:
            metrics.increment(USAGE_TOKENS, model, kind, by=tokens)


def report_overruns(metrics: Metrics, overruns: Iterable[Overrun]) -> None:
    """Counts and logs budgets that were left over their limit."""
    for overrun in overruns:
        metrics.increment(BUDGET_OVERRUNS)
        _LOGGER.warning(
            "The budget %s is %d nano-dollars over its limit after %s.",
            overrun.budget_id,
            overrun.excess_nano_usd,
            f"the entry {overrun.entry_id}" if overrun.entry_id else "its limit was lowered",
        )

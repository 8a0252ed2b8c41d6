"""In long runs the earlier turns are paid for again with every call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from agent_executor.ledger.money import NanoUsd, to_usd
from agent_executor.ledger.prices.rate_card import Rates
from agent_executor.ledger.suggestions.evidence import (
    KEPT_TURNS_FEWEST,
    KEPT_TURNS_MOST,
    LONG_RUN_MIN_MODEL_CALLS,
    HistorySums,
)
from agent_executor.ledger.suggestions.prices import CardOptions
from agent_executor.ledger.suggestions.suggestion import Saving, Subject, Suggestion
from agent_executor.ledger.suggestions.wording import counted, dollars, of_agent, percent

MIN_HISTORY_PERCENT: Final = 50


def find(sums: Sequence[HistorySums], options: Mapping[str, CardOptions]) -> list[Suggestion]:
    """Returns a suggestion for each agent and model in whose long runs history dominates.

    Args:
        sums: Of all agents.
        options: By id of the card.
    """
    by_model: dict[tuple[str, str], list[tuple[HistorySums, Rates]]] = defaultdict(list)
    for one in sums:
        option = options.get(one.rate_card_id)
        if option is not None:
            rates = option.card.rates_for(one.above_input_tokens + 1)
            by_model[one.agent_id, one.model].append((one, rates))
    return [
        _suggestion(Subject(*key), priced)
        for key, priced in by_model.items()
        if _history_dominates([one for one, _ in priced])
    ]


def _history_dominates(sums: Sequence[HistorySums]) -> bool:
    history = sum(one.history_tokens for one in sums)
    return history * 100 >= sum(one.input_tokens for one in sums) * MIN_HISTORY_PERCENT


def _suggestion(subject: Subject, priced: Sequence[tuple[HistorySums, Rates]]) -> Suggestion:
    spent = sum(sums.cost_nano_usd for sums, _ in priced)
    calls = sum(sums.call_count for sums, _ in priced)
    inputs = sum(sums.input_tokens for sums, _ in priced)
    history = sum(sums.history_tokens for sums, _ in priced)
    low = sum(sums.least_removed_tokens * rates.input for sums, rates in priced)
    high = sum(sums.most_removed_tokens * rates.input for sums, rates in priced)
    return Suggestion(
        kind="history_trimming",
        subject=subject,
        finding=(
            f"{percent(history, inputs)} % of the input of {subject.model} in runs of "
            f"{LONG_RUN_MIN_MODEL_CALLS} calls and more is earlier turns: "
            f"{of_agent(subject.agent_id)} spent {dollars(spent)} on {counted(calls, 'call')}. The "
            f"low end is with the last {KEPT_TURNS_MOST} turns kept, the high end with the last "
            f"{KEPT_TURNS_FEWEST}, all turns taken as equally long."
        ),
        change=(
            f"Keep only the last {KEPT_TURNS_FEWEST} to {KEPT_TURNS_MOST} turns in the prompt, and "
            "a summary of those before."
        ),
        saving=Saving.between(low, high, spent),
        figures={
            "call_count": float(calls),
            "input_tokens": float(inputs),
            "history_tokens": float(history),
            "least_removed_tokens": float(sum(one.least_removed_tokens for one, _ in priced)),
            "most_removed_tokens": float(sum(one.most_removed_tokens for one, _ in priced)),
            "spent_usd": to_usd(NanoUsd(spent)),
        },
    )

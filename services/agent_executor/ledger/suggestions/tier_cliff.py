"""A call whose input is just above the start of a dearer tier pays that tier for all its tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from agent_executor.ledger.money import PICO_USD_PER_NANO_USD, NanoUsd, to_usd
from agent_executor.ledger.prices.rate_card import Rates
from agent_executor.ledger.suggestions.evidence import JUST_ABOVE_PERCENT, CallSums
from agent_executor.ledger.suggestions.prices import CardOptions, just_above
from agent_executor.ledger.suggestions.suggestion import Saving, Subject, Suggestion
from agent_executor.ledger.suggestions.wording import counted, dollars, of_agent

# Not every call can do with less input.
LEAST_AVOIDED_PERCENT: Final = 50


def find(sums: Sequence[CallSums], options: Mapping[str, CardOptions]) -> list[Suggestion]:
    """Returns a suggestion for each agent, model and tier that calls are just above of.

    Args:
        sums: Of all agents; their bands end where ``band_edges`` says.
        options: By id of the card.
    """
    by_tier: dict[tuple[str, str, int], list[tuple[CallSums, Rates]]] = defaultdict(list)
    for one in sums:
        option = options.get(one.rate_card_id)
        for tier in option.card.tiers if option else ():
            start = tier.above_input_tokens
            if option and start <= one.above_input_tokens < just_above(start):
                below = option.card.rates_for(start)
                by_tier[one.agent_id, one.model, start].append((one, below))
    return [
        _suggestion(Subject(agent_id, model, part=str(start)), start, priced)
        for (agent_id, model, start), priced in by_tier.items()
    ]


def _suggestion(
    subject: Subject, start: int, priced: Sequence[tuple[CallSums, Rates]]
) -> Suggestion:
    spent = sum(sums.cost_nano_usd for sums, _ in priced)
    calls = sum(sums.call_count for sums, _ in priced)
    # What is left out to stay below is not even counted: the tier is the saving.
    below = sum(rates.cost(sums.tokens) for sums, rates in priced)
    high = spent * PICO_USD_PER_NANO_USD - below
    return Suggestion(
        kind="tier_cliff",
        subject=subject,
        finding=(
            f"{of_agent(subject.agent_id)} made {counted(calls, 'call')} of {subject.model} with "
            f"at most {JUST_ABOVE_PERCENT} % more than {start:,} input tokens, above which every "
            f"token of a call costs more: {dollars(spent)} instead of "
            f"{dollars(below // PICO_USD_PER_NANO_USD)}. The low end is with "
            f"{LEAST_AVOIDED_PERCENT} % of them kept below."
        ),
        change=(
            f"Keep the input at {start:,} tokens or below: trim the history, or shorten what tools "
            "return."
        ),
        saving=Saving.between(high * LEAST_AVOIDED_PERCENT // 100, high, spent),
        figures={
            "tier_start_tokens": float(start),
            "call_count": float(calls),
            "input_tokens_per_call": sum(s.tokens.total_input_tokens for s, _ in priced) / calls,
            "spent_usd": to_usd(NanoUsd(spent)),
        },
    )

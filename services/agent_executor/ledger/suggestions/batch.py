"""Work that nobody waits for may be done at the batch price."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from agent_executor.ledger.money import PICO_USD_PER_NANO_USD, NanoUsd, to_usd
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.suggestions.evidence import CallSums
from agent_executor.ledger.suggestions.prices import CardOptions, rates_of
from agent_executor.ledger.suggestions.suggestion import Saving, Subject, Suggestion
from agent_executor.ledger.suggestions.wording import counted, dollars, of_agent

# A batch may take a day, which not all that runs in the background can wait for.
LEAST_WAITING_PERCENT: Final = 50


def find(sums: Sequence[CallSums], options: Mapping[str, CardOptions]) -> list[Suggestion]:
    """Returns a suggestion for each agent and model with calls in the background.

    Args:
        sums: Of all agents.
        options: By id of the card.
    """
    by_model: dict[tuple[str, str], list[tuple[CallSums, RateCard]]] = defaultdict(list)
    for one in sums:
        option = options.get(one.rate_card_id)
        if one.is_background and option is not None and option.batch is not None:
            by_model[one.agent_id, one.model].append((one, option.batch))
    return [_suggestion(Subject(*key), priced) for key, priced in by_model.items()]


def _suggestion(subject: Subject, priced: Sequence[tuple[CallSums, RateCard]]) -> Suggestion:
    spent = sum(sums.cost_nano_usd for sums, _ in priced)
    calls = sum(sums.call_count for sums, _ in priced)
    as_batch = sum(rates_of(sums, card).cost(sums.tokens) for sums, card in priced)
    high = spent * PICO_USD_PER_NANO_USD - as_batch
    return Suggestion(
        kind="batch",
        subject=subject,
        finding=(
            f"{of_agent(subject.agent_id)} made {counted(calls, 'call')} of {subject.model} in the "
            f"background for {dollars(spent)}; in batches they cost "
            f"{dollars(as_batch // PICO_USD_PER_NANO_USD)}. The low end is with "
            f"{LEAST_WAITING_PERCENT} % of them, for a batch may take a day."
        ),
        change=(
            "Send what can wait for a day through the provider's batch API, at its batch price."
        ),
        saving=Saving.between(high * LEAST_WAITING_PERCENT // 100, high, spent),
        figures={
            "call_count": float(calls),
            "spent_usd": to_usd(NanoUsd(spent)),
            "batch_usd": to_usd(NanoUsd(as_batch // PICO_USD_PER_NANO_USD)),
        },
    )

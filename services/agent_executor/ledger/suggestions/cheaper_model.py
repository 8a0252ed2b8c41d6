"""An agent whose work is small may do it with a cheaper model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import PICO_USD_PER_NANO_USD, NanoUsd, to_usd
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.suggestions.evidence import (
    SHORT_RUN_MAX_MODEL_CALLS,
    SHORT_RUN_MAX_OUTPUT_TOKENS,
    SHORT_RUN_MAX_TOOL_CALLS,
    CallSums,
    RunShape,
)
from agent_executor.ledger.suggestions.prices import (
    MORE_TOKENS_PERCENT,
    CardOptions,
    rates_of,
    with_more_tokens,
)
from agent_executor.ledger.suggestions.suggestion import Saving, Subject, Suggestion
from agent_executor.ledger.suggestions.wording import counted, dollars, percent

MIN_RUNS: Final = 10
MIN_SHORT_RUNS_PERCENT: Final = 90


def find(
    shapes: Sequence[RunShape], sums: Sequence[CallSums], options: Mapping[str, CardOptions]
) -> list[Suggestion]:
    """Returns a suggestion for each agent and model whose runs are short.

    The same tokens are priced at the next cheaper model. That one may be more verbose, so that the
    low end of the saving is with more tokens of every class.

    Args:
        shapes: Of all agents.
        sums: Of all agents.
        options: By id of the card.
    """
    small = {
        shape.agent_id: shape
        for shape in shapes
        if shape.run_count >= MIN_RUNS
        and shape.short_run_count * 100 >= shape.run_count * MIN_SHORT_RUNS_PERCENT
    }
    by_model: dict[tuple[str, str, str], list[tuple[CallSums, RateCard]]] = defaultdict(list)
    for one in sums:
        option = options.get(one.rate_card_id)
        if one.agent_id in small and option is not None and option.cheaper is not None:
            key = (one.agent_id, one.model, option.cheaper.model)
            by_model[key].append((one, option.cheaper))
    return [
        _suggestion(Subject(agent_id, model), proposed, small[agent_id], priced)
        for (agent_id, model, proposed), priced in by_model.items()
    ]


def _suggestion(
    subject: Subject,
    proposed: str,
    shape: RunShape,
    priced: Sequence[tuple[CallSums, RateCard]],
) -> Suggestion:
    spent = sum(sums.cost_nano_usd for sums, _ in priced)
    as_measured = sum(rates_of(sums, card).cost(sums.tokens) for sums, card in priced)
    with_more = sum(_cost_with_more_tokens(sums, card) for sums, card in priced)
    spent_pico = spent * PICO_USD_PER_NANO_USD
    runs = counted(shape.run_count, "run")
    return Suggestion(
        kind="cheaper_model",
        subject=subject,
        proposed=proposed,
        finding=(
            f"{percent(shape.short_run_count, shape.run_count)} % of the {runs} of agent "
            f"{subject.agent_id} are short (at most {SHORT_RUN_MAX_MODEL_CALLS} model calls, "
            f"{SHORT_RUN_MAX_TOOL_CALLS} tool calls and {SHORT_RUN_MAX_OUTPUT_TOKENS:,} output "
            f"tokens a call), and {subject.model} cost {dollars(spent)} for them; the same tokens "
            f"cost {dollars(as_measured // PICO_USD_PER_NANO_USD)} with {proposed}, and "
            f"{MORE_TOKENS_PERCENT} % more tokens, the low end, "
            f"{dollars(with_more // PICO_USD_PER_NANO_USD)}."
        ),
        change=(
            f"Try model {proposed} for the agent on its test route, and set it if the answers are "
            "as good."
        ),
        saving=Saving.between(spent_pico - with_more, spent_pico - as_measured, spent),
        figures={
            "run_count": float(shape.run_count),
            "short_run_count": float(shape.short_run_count),
            "model_calls_per_run": shape.model_call_count / shape.run_count,
            "tool_calls_per_run": shape.tool_call_count / shape.run_count,
            "output_tokens_per_call": shape.output_tokens / max(shape.model_call_count, 1),
            "spent_usd": to_usd(NanoUsd(spent)),
        },
    )


def _cost_with_more_tokens(sums: CallSums, card: RateCard) -> int:
    """Returns pico-dollars; with its additional tokens a call may be in a higher tier."""
    rates = card.rates_for(with_more_tokens(sums.above_input_tokens + 1))
    tokens = sums.tokens
    return rates.cost(
        TokenCounts(
            with_more_tokens(tokens.input_tokens),
            with_more_tokens(tokens.output_tokens),
            with_more_tokens(tokens.cache_read_input_tokens),
            with_more_tokens(tokens.cache_creation_input_tokens_5m),
            with_more_tokens(tokens.cache_creation_input_tokens_1h),
        )
    )

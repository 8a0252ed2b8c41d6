"""Equal calls of a tool within an hour are paid for once if the result is kept."""

from __future__ import annotations

from collections.abc import Sequence

from agent_executor.ledger.money import PICO_USD_PER_NANO_USD, NanoUsd, to_usd
from agent_executor.ledger.suggestions.evidence import ToolRepeats
from agent_executor.ledger.suggestions.suggestion import Saving, Subject, Suggestion
from agent_executor.ledger.suggestions.wording import counted, dollars


def find(repeats: Sequence[ToolRepeats]) -> list[Suggestion]:
    """Returns a suggestion for each tool with a fee that is called again with equal arguments.

    Only fees are saved: a tool without one is not suggested, whatever time it takes.
    """
    return [_suggestion(one) for one in repeats if one.certain_cost_nano_usd > 0]


def _suggestion(repeats: ToolRepeats) -> Suggestion:
    return Suggestion(
        kind="tool_result_cache",
        subject=Subject(tool_name=repeats.tool_name),
        finding=(
            f"{counted(repeats.possible_count, 'call')} of {repeats.call_count:,} of tool "
            f"{repeats.tool_name} repeated one of the hour before with equal arguments, for fees of "
            f"{dollars(repeats.possible_cost_nano_usd)}. The low end is with the "
            f"{repeats.certain_count:,} that fell into the same hour by the clock; only fees are "
            "counted."
        ),
        change=(
            "Let the tool's results be kept for an hour, if the same arguments have the same answer "
            "for so long."
        ),
        saving=Saving.between(
            repeats.certain_cost_nano_usd * PICO_USD_PER_NANO_USD,
            repeats.possible_cost_nano_usd * PICO_USD_PER_NANO_USD,
            repeats.cost_nano_usd,
        ),
        figures={
            "call_count": float(repeats.call_count),
            "certain_repeat_count": float(repeats.certain_count),
            "possible_repeat_count": float(repeats.possible_count),
            "spent_usd": to_usd(NanoUsd(repeats.cost_nano_usd)),
        },
    )

"""The Claude models that are known by name, as data.

A model that is not listed here may be used all the same, by its id; it then has no known
limits. Prices are the ledger's matter and are not here.

The dates and successors are those of the provider's pages on deprecations and models, as of
November 2026. Not verified there: the limits and the thinking of the 4.7 to 5.2 models beyond what
the 5.5 generation's pages compare, the retirement of Opus 4.1 and the successor of Opus 4.5.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeAlias

ModelFamily: TypeAlias = Literal["haiku", "sonnet", "opus", "fable", "mythos"]


class LLMModel(StrEnum):
    """A model's id at the provider. Each is a plain string too."""

    CLAUDE_HAIKU_3_5 = "claude-3-5-haiku-20241022"
    CLAUDE_HAIKU_4_5 = "claude-haiku-4-5-20251001"
    CLAUDE_HAIKU_5_5 = "claude-haiku-5-5"
    CLAUDE_SONNET_4 = "claude-sonnet-4-20250514"
    CLAUDE_SONNET_4_5 = "claude-sonnet-4-5-20250929"
    CLAUDE_SONNET_4_6 = "claude-sonnet-4-6"
    CLAUDE_SONNET_5 = "claude-sonnet-5"
    CLAUDE_SONNET_5_5 = "claude-sonnet-5-5"
    CLAUDE_OPUS_4 = "claude-opus-4-20250514"
    CLAUDE_OPUS_4_1 = "claude-opus-4-1-20250805"
    CLAUDE_OPUS_4_5 = "claude-opus-4-5-20251101"
    CLAUDE_OPUS_4_6 = "claude-opus-4-6"
    CLAUDE_OPUS_4_7 = "claude-opus-4-7"
    CLAUDE_OPUS_4_8 = "claude-opus-4-8"
    CLAUDE_OPUS_5 = "claude-opus-5"
    CLAUDE_OPUS_5_5 = "claude-opus-5-5"
    CLAUDE_FABLE_5 = "claude-fable-5"
    CLAUDE_FABLE_5_1 = "claude-fable-5-1"
    CLAUDE_FABLE_5_2 = "claude-fable-5-2"
    CLAUDE_MYTHOS_5_2 = "claude-mythos-5-2"


@dataclass(frozen=True, slots=True)
class ThinkingSupport:
    """Which ``thinking.type`` of a request switches thinking on and off.

    Attributes:
        on: ``enabled`` needs a budget of tokens, ``adaptive`` leaves it to the model; empty if
            the model does not think.
        off: Empty if thinking cannot be switched off, or need not be.
        is_default: Whether the model thinks if the request says nothing.
    """

    on: Literal["", "enabled", "adaptive"] = ""
    off: Literal["", "disabled", "between_tools"] = ""
    is_default: bool = False


NO_THINKING: Final = ThinkingSupport()
BUDGETED_THINKING: Final = ThinkingSupport(on="enabled", off="disabled")
ADAPTIVE_THINKING: Final = ThinkingSupport(on="adaptive", off="disabled")
ADAPTIVE_BY_DEFAULT: Final = ThinkingSupport(on="adaptive", off="disabled", is_default=True)
BETWEEN_TOOLS_AT_LEAST: Final = ThinkingSupport(on="adaptive", off="between_tools", is_default=True)
ALWAYS_THINKING: Final = ThinkingSupport(on="adaptive", is_default=True)


@dataclass(frozen=True, slots=True)
class Retirement:
    """The end of a model at its provider.

    Attributes:
        on: The first day on which requests for it fail.
        successor: What its provider recommends instead.
    """

    on: dt.date
    successor: LLMModel


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What is fixed about a model.

    Attributes:
        id: The model's id at the provider.
        family: Its tier, from the cheapest: haiku, sonnet, opus, fable, mythos.
        context_window_tokens: Most tokens of a request and its answer together.
        max_output_tokens: Most tokens of one answer.
        thinking: How it can be told to think.
        retirement: When its provider ends it, if that is known.
    """

    id: LLMModel
    family: ModelFamily
    context_window_tokens: int
    max_output_tokens: int
    thinking: ThinkingSupport = ALWAYS_THINKING
    retirement: Retirement | None = None


def _retired(year: int, month: int, day: int, successor: LLMModel) -> Retirement:
    return Retirement(dt.date(year, month, day), successor)


_M: Final = 1_000_000

KNOWN_MODELS: Final[dict[str, KnownModel]] = {
    model.id: model
    for model in (
        KnownModel(
            LLMModel.CLAUDE_HAIKU_3_5,
            "haiku",
            200_000,
            8_192,
            NO_THINKING,
            _retired(2026, 2, 19, LLMModel.CLAUDE_HAIKU_4_5),
        ),
        KnownModel(LLMModel.CLAUDE_HAIKU_4_5, "haiku", 200_000, 64_000, BUDGETED_THINKING),
        KnownModel(LLMModel.CLAUDE_HAIKU_5_5, "haiku", _M, 128_000, ADAPTIVE_BY_DEFAULT),
        KnownModel(
            LLMModel.CLAUDE_SONNET_4,
            "sonnet",
            200_000,
            64_000,
            BUDGETED_THINKING,
            _retired(2026, 6, 15, LLMModel.CLAUDE_SONNET_4_6),
        ),
        KnownModel(
            LLMModel.CLAUDE_SONNET_4_5,
            "sonnet",
            200_000,
            64_000,
            BUDGETED_THINKING,
            _retired(2026, 11, 30, LLMModel.CLAUDE_SONNET_5_5),
        ),
        KnownModel(LLMModel.CLAUDE_SONNET_4_6, "sonnet", _M, 128_000, ADAPTIVE_THINKING),
        KnownModel(LLMModel.CLAUDE_SONNET_5, "sonnet", _M, 128_000, ADAPTIVE_BY_DEFAULT),
        KnownModel(LLMModel.CLAUDE_SONNET_5_5, "sonnet", _M, 128_000, BETWEEN_TOOLS_AT_LEAST),
        KnownModel(
            LLMModel.CLAUDE_OPUS_4,
            "opus",
            200_000,
            32_000,
            BUDGETED_THINKING,
            _retired(2026, 6, 15, LLMModel.CLAUDE_OPUS_4_8),
        ),
        KnownModel(
            LLMModel.CLAUDE_OPUS_4_1,
            "opus",
            200_000,
            32_000,
            BUDGETED_THINKING,
            _retired(2026, 8, 5, LLMModel.CLAUDE_OPUS_4_8),
        ),
        KnownModel(
            LLMModel.CLAUDE_OPUS_4_5,
            "opus",
            200_000,
            64_000,
            BUDGETED_THINKING,
            _retired(2027, 1, 22, LLMModel.CLAUDE_OPUS_5_5),
        ),
        KnownModel(LLMModel.CLAUDE_OPUS_4_6, "opus", _M, 128_000, ADAPTIVE_THINKING),
        KnownModel(LLMModel.CLAUDE_OPUS_4_7, "opus", _M, 128_000, ADAPTIVE_THINKING),
        KnownModel(LLMModel.CLAUDE_OPUS_4_8, "opus", _M, 128_000, ADAPTIVE_THINKING),
        KnownModel(LLMModel.CLAUDE_OPUS_5, "opus", _M, 128_000, ADAPTIVE_BY_DEFAULT),
        KnownModel(LLMModel.CLAUDE_OPUS_5_5, "opus", _M, 128_000),
        KnownModel(LLMModel.CLAUDE_FABLE_5, "fable", _M, 128_000),
        KnownModel(LLMModel.CLAUDE_FABLE_5_1, "fable", _M, 128_000),
        KnownModel(LLMModel.CLAUDE_FABLE_5_2, "fable", _M, 128_000),
        KnownModel(LLMModel.CLAUDE_MYTHOS_5_2, "mythos", _M, 128_000),
    )
}


def find_model(model_id: str) -> KnownModel | None:
    """What is known of the model, or None for an id that is not listed."""
    return KNOWN_MODELS.get(model_id)


def retirement_warning(model_id: str, today: dt.date) -> str:
    """Returns what to tell somebody who chooses the model, or the empty string.

    Args:
        model_id: The model's id; one that is not listed has no known end.
        today: The day in UTC.
    """
    known = find_model(model_id)
    if known is None or known.retirement is None:
        return ""
    retirement = known.retirement
    verb = "was retired" if retirement.on <= today else "will be retired"
    return (
        f"The model {model_id} {verb} by its provider on {retirement.on.isoformat()}; "
        f"its successor is {retirement.successor.value}."
    )

"""The Claude models that are known by name, as data.

A model that is not listed here may be used all the same, by its id; it then has no known
limits. Prices are the ledger's matter and are not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

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
class KnownModel:
    """What is fixed about a model.

    Attributes:
        id: The model's id at the provider.
        family: Its tier, from the cheapest: haiku, sonnet, opus, fable, mythos.
        context_window_tokens: Most tokens of a request and its answer together.
        max_output_tokens: Most tokens of one answer.
    """

    id: LLMModel
    family: ModelFamily
    context_window_tokens: int
    max_output_tokens: int


KNOWN_MODELS: dict[str, KnownModel] = {
    model.id: model
    for model in (
        KnownModel(LLMModel.CLAUDE_HAIKU_3_5, "haiku", 200_000, 8_192),
        KnownModel(LLMModel.CLAUDE_HAIKU_4_5, "haiku", 200_000, 64_000),
        KnownModel(LLMModel.CLAUDE_HAIKU_5_5, "haiku", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_SONNET_4, "sonnet", 200_000, 64_000),
        KnownModel(LLMModel.CLAUDE_SONNET_4_5, "sonnet", 200_000, 64_000),
        KnownModel(LLMModel.CLAUDE_SONNET_4_6, "sonnet", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_SONNET_5, "sonnet", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_SONNET_5_5, "sonnet", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_OPUS_4, "opus", 200_000, 32_000),
        KnownModel(LLMModel.CLAUDE_OPUS_4_1, "opus", 200_000, 32_000),
        KnownModel(LLMModel.CLAUDE_OPUS_4_5, "opus", 200_000, 64_000),
        KnownModel(LLMModel.CLAUDE_OPUS_4_6, "opus", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_OPUS_4_7, "opus", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_OPUS_4_8, "opus", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_OPUS_5, "opus", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_OPUS_5_5, "opus", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_FABLE_5, "fable", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_FABLE_5_1, "fable", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_FABLE_5_2, "fable", 1_000_000, 128_000),
        KnownModel(LLMModel.CLAUDE_MYTHOS_5_2, "mythos", 1_000_000, 128_000),
    )
}


def find_model(model_id: str) -> KnownModel | None:
    """What is known of the model, or None for an id that is not listed."""
    return KNOWN_MODELS.get(model_id)

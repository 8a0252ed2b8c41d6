"""``model: auto``: which model a run gets, by declared rules. Pure; the same facts, the same model.

There are three sizes. A run gets the smallest whose limits hold all that is known of it when it
starts; above every limit it gets the largest. What the model will be asked after that, such as long
results of tools, changes nothing: a run keeps its model, so that its prompt cache stays of use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from agent_executor.executor.models.catalog import LLMModel

AUTO_MODEL: Final = "auto"


class ChoiceFacts(NamedTuple):
    """What is known of a run when it starts; or, as limits, the most that a size is meant for.

    Attributes:
        input_bytes: What is asked.
        instructions_bytes: The system prompt.
        history_bytes: The conversation that the run continues.
        tool_count: How many tools the agent has enabled.
    """

    input_bytes: int
    instructions_bytes: int
    history_bytes: int
    tool_count: int


class ModelSizes(NamedTuple):
    """The models of a provider, from the cheapest to the most able one."""

    small: str
    medium: str
    large: str


SizesByProvider: TypeAlias = Mapping[str, ModelSizes]

# A token of English is about 4 bytes. A small model follows a short instruction and few tools well;
# what needs more reading, or a choice among many tools, is what the larger ones are sold for.
SMALL_LIMITS: Final = ChoiceFacts(
    input_bytes=4_000, instructions_bytes=4_000, history_bytes=20_000, tool_count=3
)
MEDIUM_LIMITS: Final = ChoiceFacts(
    input_bytes=32_000, instructions_bytes=16_000, history_bytes=200_000, tool_count=20
)

_CLAUDE: Final = ModelSizes(
    LLMModel.CLAUDE_HAIKU_5_5.value,
    LLMModel.CLAUDE_SONNET_5_5.value,
    LLMModel.CLAUDE_OPUS_5_5.value,
)
# OpenAI's own; whoever has another endpoint says what it serves (EXECUTOR_AUTO_MODELS).
DEFAULT_SIZES: Final[SizesByProvider] = {
    "mock": _CLAUDE,
    "anthropic": _CLAUDE,
    "openai": ModelSizes("gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol"),
}

_WORDS: Final = (
    "{} bytes of input",
    "{} bytes of instructions",
    "{} bytes of history",
    "{} tools",
)


class ModelChoice(NamedTuple):
    """A model, and the rule that chose it in one sentence."""

    model: str
    reason: str


def choose_model(sizes: ModelSizes, facts: ChoiceFacts) -> ModelChoice:
    """Returns the model of a run."""
    exceeded = _exceeded(facts, SMALL_LIMITS)
    if not exceeded:
        return ModelChoice(sizes.small, f"Small: at most {_listed(SMALL_LIMITS)}.")
    exceeded_more = _exceeded(facts, MEDIUM_LIMITS)
    if not exceeded_more:
        return ModelChoice(sizes.medium, f"Medium: {exceeded}, which a small one is not meant for.")
    return ModelChoice(sizes.large, f"Large: {exceeded_more}, which a medium one is not meant for.")


def _exceeded(facts: ChoiceFacts, limits: ChoiceFacts) -> str:
    """Returns the first fact that is above its limit, in words; empty if none is."""
    for words, fact, limit in zip(_WORDS, facts, limits, strict=True):
        if fact > limit:
            return f"{words.format(fact)} are more than {limit}"
    return ""


def _listed(limits: ChoiceFacts) -> str:
    listed = [words.format(limit) for words, limit in zip(_WORDS, limits, strict=True)]
    return f"{', '.join(listed[:-1])} and {listed[-1]}"

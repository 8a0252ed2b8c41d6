"""What else the price list offers: a provider's other models, and what their caches take.

Everything here imports the price list when it is first needed; see ``genai_price_list.load``.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices import genai_price_list
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

# The list keeps what is no longer sold, for the price of old calls, and does not say which that
# is. But it has batch prices only for those of Anthropic's models that are sold.
_PROVIDER_WITH_BATCH_PRICES: Final = "anthropic"
# Sold to some only, so it is no advice to all.
_LIMITED_MODELS: Final = frozenset({"claude-mythos-5-2"})
_BATCH: Final = {"processing": "batch"}

# Fewer tokens are not cached, without an error. From Anthropic's page on prompt caching; where
# reports differ from it, the greater number. Models that are not here: not known.
_CACHEABLE_PREFIX_TOKENS: Final = {
    "claude-3-5-haiku-latest": 2_048,
    "claude-3-haiku": 2_048,
    "claude-3-7-sonnet-latest": 1_024,
    "claude-opus-4-0": 1_024,
    "claude-opus-4-1": 1_024,
    "claude-sonnet-4-0": 1_024,
    "claude-sonnet-4-5": 1_024,
    "claude-sonnet-4-6": 2_048,
    "claude-haiku-4-5": 4_096,
    "claude-opus-4-5": 4_096,
    "claude-opus-4-6": 4_096,
    "claude-opus-4-7": 2_048,
    "claude-opus-4-8": 1_024,
    "claude-sonnet-5": 1_024,
    "claude-opus-5": 512,
    "claude-fable-5": 512,
}


class ListedModel(msgspec.Struct, frozen=True):
    """A model of the price list.

    Attributes:
        card: Its prices on the day that was asked for.
        context_window_tokens: Most input that it takes; None: not known.
        is_sold: Whether new calls can be made of it, as far as the list tells.
    """

    card: RateCard
    context_window_tokens: int | None
    is_sold: bool


def models_of(provider_id: str, day: date, context: PriceContext = ()) -> tuple[ListedModel, ...]:
    """Returns a provider's models that have a price on a day (UTC), by name; none if unknown.

    Args:
        provider_id: As the price list and the cards name it, for example ``anthropic``.
        day: When the prices hold.
        context: Batch or fast; models without such a price are left out.
    """
    provider = next((one for one in genai_price_list.load() if one.id == provider_id), None)
    if provider is None:
        return ()
    listed = (_listed(provider, model, day, context) for model in provider.models)
    return tuple(sorted(filter(None, listed), key=lambda one: one.card.model))


def cheaper_models(
    model: str,
    day: date,
    usage: TokenUsage,
    *,
    context: PriceContext = (),
    max_input_tokens: int = 0,
) -> tuple[ListedModel, ...]:
    """Returns models of the same provider that are sold and cost less for a usage, dearest first.

    Args:
        model: As callers name it.
        day: When the prices hold (UTC).
        usage: What a call, or many together at the rates of one, uses.
        context: Batch or fast.
        max_input_tokens: Models whose context is known to be smaller are left out.

    Raises:
        UnknownModelError: The model itself has no price.
    """
    card = genai_price_list.resolve(model, day, context)
    cost = card.cost(usage)
    cheaper = [
        one
        for one in models_of(card.provider, day, context)
        if one.is_sold and one.card.cost(usage) < cost
        if one.context_window_tokens is None or one.context_window_tokens >= max_input_tokens
    ]
    return tuple(sorted(cheaper, key=lambda one: (-one.card.cost(usage), one.card.model)))


def cacheable_prefix_tokens(card: RateCard) -> int | None:
    """Returns the fewest tokens that the model's prompt cache takes; None: not known."""
    return _CACHEABLE_PREFIX_TOKENS.get(card.model) if card.provider == "anthropic" else None


def _listed(
    provider: Provider, model: ModelInfo, day: date, context: PriceContext
) -> ListedModel | None:
    try:
        card = genai_price_list.card_of(provider, model, day, context)
    except UnknownModelError:
        return None
    has_batch_price = any(one.when == _BATCH for one in model.price_variants or ())
    is_listed_as_sold = has_batch_price or provider.id != _PROVIDER_WITH_BATCH_PRICES
    is_sold = is_listed_as_sold and not model.deprecated and model.id not in _LIMITED_MODELS
    return ListedModel(card, model.context_window, is_sold)

"""The port to prices, for those who look for savings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from agent_executor.ledger.prices.rate_card import RateCard, Rates
from agent_executor.ledger.suggestions.evidence import JUST_ABOVE_PERCENT, CallSums

# How many more tokens another model may need for the same work.
MORE_TOKENS_PERCENT: Final = 30
# What is long enough for the cache of every model, where the model's own minimum is not known.
DEFAULT_MIN_CACHEABLE_TOKENS: Final = 4_096


class CardOptions(msgspec.Struct, frozen=True):
    """A card that calls were priced by, and what the same tokens could be priced by.

    Attributes:
        card: As it was.
        cheaper: The next cheaper model of the same provider; None if there is none.
        batch: The same model's batch price; None if it has none, or is the batch price.
        min_cacheable_tokens: The shortest prompt that the model's cache takes.
    """

    card: RateCard
    cheaper: RateCard | None = None
    batch: RateCard | None = None
    min_cacheable_tokens: int = DEFAULT_MIN_CACHEABLE_TOKENS


class SuggestionPrices(Protocol):
    """Finds cards, as they hold at a time."""

    async def options(
        self, organization_id: str, rate_card_id: str, max_input_tokens: int, at_ms: int
    ) -> CardOptions | None:
        """Returns a card and its alternatives, or None if there is no such card.

        Args:
            organization_id: Whose calls.
            rate_card_id: The card's id, as entries name it.
            max_input_tokens: The input that a cheaper model must be able to take.
            at_ms: When the alternatives are to hold, in milliseconds since 1970-01-01 UTC.
        """
        ...


def rates_of(sums: CallSums, card: RateCard) -> Rates:
    """Returns the rates at which a card prices the calls of a band."""
    return card.rates_for(sums.above_input_tokens + 1)


def with_more_tokens(tokens: int) -> int:
    """Returns a number of tokens with those added that another model may need; rounded up."""
    return -(-tokens * (100 + MORE_TOKENS_PERCENT) // 100)


def band_edges(options: Iterable[CardOptions]) -> tuple[int, ...]:
    """Returns where bands must end for the calls of each to have one price.

    That is at the tiers of the cards and their alternatives; at the ends of what is just above a
    tier; and where a call with more tokens would come to be in a tier of a cheaper model.
    """
    edges: set[int] = set()
    for option in options:
        for tier in option.card.tiers:
            edges |= {tier.above_input_tokens, just_above(tier.above_input_tokens)}
        edges |= {tier.above_input_tokens for tier in option.batch.tiers} if option.batch else set()
        for tier in option.cheaper.tiers if option.cheaper else ():
            start = tier.above_input_tokens
            edges |= {start, start * 100 // (100 + MORE_TOKENS_PERCENT)}
    return tuple(sorted(edges))


def just_above(tier_start: int) -> int:
    """Returns the most input that is just above the start of a tier."""
    return tier_start + tier_start * JUST_ABOVE_PERCENT // 100

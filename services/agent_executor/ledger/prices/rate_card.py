"""What a model's tokens cost on one day, and the two sums that are made of it."""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

import msgspec

from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import (
    NanoUsd,
    PicoUsd,
    PicoUsdPerToken,
    ceil_to_nano_usd,
    round_to_nano_usd,
)

PriceContext: TypeAlias = tuple[tuple[str, str], ...]
"""What besides model and day decides the price, such as ``(("processing", "batch"),)``; sorted."""

_DIGEST_HEX_DIGITS: Final = 16


class Rates(msgspec.Struct, frozen=True):
    """Prices per token, in pico-US-dollars."""

    input: PicoUsdPerToken
    output: PicoUsdPerToken
    cache_read: PicoUsdPerToken
    cache_write_5m: PicoUsdPerToken
    cache_write_1h: PicoUsdPerToken

    def cost(self, usage: TokenUsage) -> PicoUsd:
        """Returns the exact cost of a usage at these rates."""
        return PicoUsd(
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_input_tokens * self.cache_read
            + usage.cache_creation_input_tokens_5m * self.cache_write_5m
            + usage.cache_creation_input_tokens_1h * self.cache_write_1h
        )

    def highest_input(self, *, writes_cache: bool) -> PicoUsdPerToken:
        """Returns the most that one input token can cost."""
        plain = max(self.input, self.cache_read)
        return max(plain, self.cache_write_5m, self.cache_write_1h) if writes_cache else plain


class Tier(msgspec.Struct, frozen=True):
    """Rates of a whole call, output included, whose input exceeds a number of tokens.

    Attributes:
        above_input_tokens: The tier begins one token above; cached input counts.
        rates: They replace the rates below, for all tokens of the call.
    """

    above_input_tokens: int
    rates: Rates


class RateCard(msgspec.Struct, frozen=True):
    """Prices of one model. Its id is made from its content, so that one id is one price for ever.

    Attributes:
        id: ``provider/model@digest``. Entries name it.
        provider: Who sells the tokens.
        model: The model as the price list names it; several spellings share one card.
        context: What the price was asked for besides the model.
        base: Rates of a call below all tiers.
        tiers: Ascending.
    """

    id: str
    provider: str
    model: str
    context: PriceContext
    base: Rates
    tiers: tuple[Tier, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        provider: str,
        model: str,
        base: Rates,
        tiers: tuple[Tier, ...] = (),
        context: PriceContext = (),
    ) -> RateCard:
        """Returns the card of this content, with the id that follows from it."""
        content = msgspec.json.encode((provider, model, context, base, tiers))
        digest = hashlib.sha256(content).hexdigest()[:_DIGEST_HEX_DIGITS]
        return cls(f"{provider}/{model}@{digest}", provider, model, context, base, tiers)

    def rates_for(self, total_input_tokens: int) -> Rates:
        """Returns the rates of a call with so much input, cached input included."""
        rates = self.base
        for tier in self.tiers:
            if total_input_tokens > tier.above_input_tokens:
                rates = tier.rates
        return rates

    def cost(self, usage: TokenUsage) -> NanoUsd:
        """Returns what a call costs, rounded once, half to even."""
        return round_to_nano_usd(self.rates_for(usage.total_input_tokens).cost(usage))

    def worst_case(
        self, max_input_tokens: int, max_output_tokens: int, *, writes_cache: bool
    ) -> NanoUsd:
        """Returns an amount that no call within these bounds exceeds.

        Args:
            max_input_tokens: Most input, however it is cached.
            max_output_tokens: Most output.
            writes_cache: Whether input may be written to the prompt cache.
        """
        # A tier may be cheaper than the one below it, so each that can be reached is looked at,
        # with the most input that still falls into it.
        worst = 0
        rates = self.base
        for tier in self.tiers:
            if tier.above_input_tokens >= max_input_tokens:
                break
            worst = max(
                worst,
                tier.above_input_tokens * rates.highest_input(writes_cache=writes_cache)
                + max_output_tokens * rates.output,
            )
            rates = tier.rates
        last = (
            max_input_tokens * rates.highest_input(writes_cache=writes_cache)
            + max_output_tokens * rates.output
        )
        return ceil_to_nano_usd(PicoUsd(max(worst, last)))

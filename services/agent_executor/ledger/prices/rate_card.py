"""What a model's tokens cost on one day, and the two sums that are made of it."""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import (
    MAX_LIMIT_NANO_USD,
    PICO_USD_PER_NANO_USD,
    NanoUsd,
    PicoUsd,
    PicoUsdPerToken,
    ceil_to_nano_usd,
    round_to_nano_usd,
)

PriceContext: TypeAlias = tuple[tuple[str, str], ...]
"""What besides model and day decides the price, such as ``(("processing", "batch"),)``; sorted."""

_DIGEST_HEX_DIGITS: Final = 16


def price_context(processing: str, speed: str) -> PriceContext:
    """Returns the context of a call; empty words are the standard."""
    # Each model call comes by here, and nearly all are standard.
    if not processing and not speed:
        return ()
    pairs = (("processing", processing), ("speed", speed))
    return tuple(pair for pair in pairs if pair[1])


def card_id(provider: str, name: str, content: object) -> str:
    """Returns the id of a price: whose it is, what for, and a digest of its content."""
    digest = hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:_DIGEST_HEX_DIGITS]
    return f"{provider}/{name}@{digest}"


class Rates(msgspec.Struct, frozen=True):
    """Prices per token, in pico-US-dollars."""

    input: PicoUsdPerToken
    output: PicoUsdPerToken
    cache_read: PicoUsdPerToken
    cache_write_5m: PicoUsdPerToken
    cache_write_1h: PicoUsdPerToken

    def cost(self, usage: TokenCounts) -> PicoUsd:
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
        model: The model as the price list names it; several spellings share one card. On a card of
            an organization it is the spelling that the card is for.
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
        made_of = (provider, model, context, base, tiers)
        return cls(card_id(provider, model, made_of), *made_of)

    @property
    def processing(self) -> str:
        """``batch`` or empty."""
        return dict(self.context).get("processing", "")

    @property
    def speed(self) -> str:
        """``fast`` or empty."""
        return dict(self.context).get("speed", "")

    def rates_for(self, total_input_tokens: int) -> Rates:
        """Returns the rates of a call with so much input, cached input included."""
        rates = self.base
        for tier in self.tiers:
            if total_input_tokens > tier.above_input_tokens:
                rates = tier.rates
        return rates

    def cost(self, usage: TokenCounts) -> NanoUsd:
        """Returns what a call costs, rounded once, half to even.

        Raises:
            InvalidArgumentError: It is more than 9,000,000 dollars, of which a database could not
                add up many.
        """
        rates = self.rates_for(usage.total_input_tokens)
        return _checked(round_to_nano_usd(rates.cost(usage)))

    def worst_case(
        self, max_input_tokens: int, max_output_tokens: int, *, writes_cache: bool
    ) -> NanoUsd:
        """Returns an amount that no call within these bounds exceeds.

        Args:
            max_input_tokens: Most input, however it is cached.
            max_output_tokens: Most output.
            writes_cache: Whether input may be written to the prompt cache.

        Raises:
            InvalidArgumentError: It is more than 9,000,000 dollars.
        """
        worst = max(
            input_pico_usd + max_output_tokens * output_rate
            for input_pico_usd, output_rate in self._worst_inputs(max_input_tokens, writes_cache)
        )
        return _checked(ceil_to_nano_usd(PicoUsd(worst)))

    def output_that_fits(
        self,
        max_input_tokens: int,
        max_output_tokens: int,
        amount: int,
        *,
        writes_cache: bool,
    ) -> int | None:
        """Returns the most output, up to a bound, whose worst case an amount covers.

        Args:
            max_input_tokens: Most input, however it is cached.
            max_output_tokens: The bound.
            amount: In nano-dollars.
            writes_cache: Whether input may be written to the prompt cache.

        Returns:
            Output tokens; None if not even a call without output is covered.
        """
        fitting = max_output_tokens
        for input_pico_usd, output_rate in self._worst_inputs(max_input_tokens, writes_cache):
            left = amount * PICO_USD_PER_NANO_USD - input_pico_usd
            if left < 0:
                return None
            if output_rate:
                fitting = min(fitting, left // output_rate)
        return fitting

    def _worst_inputs(
        self, max_input_tokens: int, writes_cache: bool
    ) -> list[tuple[int, PicoUsdPerToken]]:
        """Returns the dearest input of each tier that can be reached, with its rate of output.

        A tier may be cheaper than the one below it, so each one is looked at, with the most input
        that still falls into it.
        """
        worst = []
        rates = self.base
        for tier in self.tiers:
            if tier.above_input_tokens >= max_input_tokens:
                break
            dearest = tier.above_input_tokens * rates.highest_input(writes_cache=writes_cache)
            worst.append((dearest, rates.output))
            rates = tier.rates
        dearest = max_input_tokens * rates.highest_input(writes_cache=writes_cache)
        worst.append((dearest, rates.output))
        return worst


def _checked(cost: NanoUsd) -> NanoUsd:
    if cost > MAX_LIMIT_NANO_USD:
        msg = "A call that costs more than 9,000,000 US dollars cannot be accounted for."
        raise InvalidArgumentError(msg)
    return cost

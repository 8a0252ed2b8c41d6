"""Between prices and their contract. Pure; decides nothing but what a double means."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final
from urllib.parse import unquote

from agent_executor.api.ledger.v1 import rate_card_service_pb2
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.money import NANO_USD_PER_USD, NanoUsd, PicoUsdPerToken, to_usd
from agent_executor.ledger.prices.card_checks import (
    FEE_NANO_USD_MAX,
    RATE_PICO_USD_PER_TOKEN_MAX,
    NewCard,
    invalid,
)
from agent_executor.ledger.prices.organization_card import PROVIDER, ModelPrice, OrganizationCard
from agent_executor.ledger.prices.rate_card import RateCard, Rates, Tier
from agent_executor.serving.timestamp_convert import ceil_to_ms, timestamp

# A dollar for a million tokens is a millionth of a dollar, or a million pico-dollars, for one.
_PICO_USD_PER_TOKEN_PER_USD_PER_MTOK: Final = 1_000_000


def new_card(request: rate_card_service_pb2.CreateRateCardRequest) -> NewCard:
    """Returns the card that is asked for.

    Raises:
        InvalidArgumentError: A price is finer than a pico-dollar per token, or out of range.
    """
    return NewCard(
        model=request.model,
        tool_name=request.tool_name,
        processing=request.processing,
        speed=request.speed,
        rates=rates_from_proto("rates", request.rates) if request.HasField("rates") else None,
        tiers=tuple(
            Tier(tier.above_input_tokens, rates_from_proto(f"tiers[{index}].rates", tier.rates))
            for index, tier in enumerate(request.tiers)
        ),
        fee_nano_usd=fee_from_usd(request.fee_usd) if request.HasField("fee_usd") else None,
        valid_from_ms=ceil_to_ms(request.valid_from) if request.HasField("valid_from") else None,
        valid_until_ms=(
            ceil_to_ms(request.valid_until) if request.HasField("valid_until") else None
        ),
        description=request.description,
    )


def rate_card_id(
    request: rate_card_service_pb2.GetRateCardRequest
    | rate_card_service_pb2.WithdrawRateCardRequest,
) -> str:
    """Returns the id of the card that is meant.

    The gateway passes on as it is what a REST client has escaped in a path of several segments, and
    many escape ``/`` and ``@``. No id holds a ``%``.
    """
    return unquote(request.rate_card_id)


def example_usage(request: rate_card_service_pb2.ResolveRateCardRequest) -> TokenUsage:
    """Returns the usage of the example call."""
    return TokenUsage(
        input_tokens=request.input_tokens,
        output_tokens=request.output_tokens,
        cache_read_input_tokens=request.cache_read_input_tokens,
        cache_creation_input_tokens_5m=request.cache_creation_input_tokens_5m,
        cache_creation_input_tokens_1h=request.cache_creation_input_tokens_1h,
    )


def card_to_proto(card: OrganizationCard | RateCard) -> rate_card_service_pb2.RateCard:
    """Returns a card as the API shows it."""
    if isinstance(card, RateCard):
        return _with_prices(card.id, card.provider, card)
    price = card.price
    if isinstance(price, ModelPrice):
        shown = _with_prices(card.id, PROVIDER, price)
    else:
        shown = rate_card_service_pb2.RateCard(
            id=card.id,
            provider=PROVIDER,
            tool_name=price.tool_name,
            fee_usd=to_usd(price.fee_nano_usd),
            fee_nano_usd=price.fee_nano_usd,
        )
    shown.valid_from.CopyFrom(timestamp(card.valid_from_ms))
    if card.valid_until_ms is not None:
        shown.valid_until.CopyFrom(timestamp(card.valid_until_ms))
    shown.created_at.CopyFrom(timestamp(card.created_at_ms))
    shown.created_by = card.created_by
    if card.withdrawn_at_ms is not None:
        shown.withdrawn_at.CopyFrom(timestamp(card.withdrawn_at_ms))
    shown.description = card.description
    return shown


def rates_from_proto(field: str, rates: rate_card_service_pb2.TokenRates) -> Rates:
    """Returns rates, what is not set filled in.

    Args:
        field: The path of the rates, for an error.
        rates: What was set.

    Raises:
        InvalidArgumentError: A price is finer than a pico-dollar per token, or out of range.
    """

    def rate(name: str) -> PicoUsdPerToken:
        field_name = f"{name}_usd_per_million_tokens"
        return rate_from_usd(f"{field}.{field_name}", getattr(rates, field_name))

    def rate_or(name: str, default: PicoUsdPerToken) -> PicoUsdPerToken:
        return rate(name) if rates.HasField(f"{name}_usd_per_million_tokens") else default

    plain = rate("input")
    written_5m = rate_or("cache_write_5m", plain)
    return Rates(
        input=plain,
        output=rate("output"),
        cache_read=rate_or("cache_read", plain),
        cache_write_5m=written_5m,
        cache_write_1h=rate_or("cache_write_1h", written_5m),
    )


def rate_from_usd(field: str, usd_per_million_tokens: float) -> PicoUsdPerToken:
    """Returns the price per token that somebody wrote as dollars for a million, exactly.

    Args:
        field: The path of the price, for an error.
        usd_per_million_tokens: The price.

    Raises:
        InvalidArgumentError: It is finer than a millionth of a dollar, or out of range.
    """
    pico = _written(field, usd_per_million_tokens) * _PICO_USD_PER_TOKEN_PER_USD_PER_MTOK
    if not 0 <= pico <= RATE_PICO_USD_PER_TOKEN_MAX:
        raise invalid(field, f"{field} must be between 0 and 1,000,000.")
    if pico != int(pico):
        raise invalid(field, f"{field} must be a whole number of millionths of a dollar.")
    return PicoUsdPerToken(int(pico))


def rate_to_usd(rate: PicoUsdPerToken) -> float:
    """Returns dollars for a million tokens, for a person."""
    return rate / _PICO_USD_PER_TOKEN_PER_USD_PER_MTOK


def fee_from_usd(fee_usd: float) -> NanoUsd:
    """Returns the nano-dollars nearest to a fee that somebody wrote in dollars.

    Raises:
        InvalidArgumentError: It is out of range.
    """
    nano = _written("fee_usd", fee_usd) * NANO_USD_PER_USD
    if not 0 <= nano <= FEE_NANO_USD_MAX:
        raise invalid("fee_usd", "fee_usd must be between 0 and 1,000.")
    return NanoUsd(int(nano.to_integral_value(ROUND_HALF_EVEN)))


def _written(field: str, amount: float) -> Decimal:
    if not math.isfinite(amount):
        raise invalid(field, f"{field} must be a number.")
    # repr is the shortest decimal that means this double: what the person wrote.
    return Decimal(repr(amount))


def _with_prices(
    card_id: str, provider: str, price: ModelPrice | RateCard
) -> rate_card_service_pb2.RateCard:
    context = dict(price.context)
    return rate_card_service_pb2.RateCard(
        id=card_id,
        provider=provider,
        model=price.model,
        processing=context.get("processing", ""),
        speed=context.get("speed", ""),
        rates=_rates_to_proto(price.base),
        tiers=[
            rate_card_service_pb2.RateTier(
                above_input_tokens=tier.above_input_tokens, rates=_rates_to_proto(tier.rates)
            )
            for tier in price.tiers
        ],
    )


def _rates_to_proto(rates: Rates) -> rate_card_service_pb2.TokenRates:
    return rate_card_service_pb2.TokenRates(
        input_usd_per_million_tokens=rate_to_usd(rates.input),
        output_usd_per_million_tokens=rate_to_usd(rates.output),
        cache_read_usd_per_million_tokens=rate_to_usd(rates.cache_read),
        cache_write_5m_usd_per_million_tokens=rate_to_usd(rates.cache_write_5m),
        cache_write_1h_usd_per_million_tokens=rate_to_usd(rates.cache_write_1h),
    )

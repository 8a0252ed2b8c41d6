"""Rate cards from the price list of the genai-prices package.

The package computes in Decimal, 200 microseconds a call, and takes most of a second to import. So
it is imported when first needed, asked once for a card, and the card then prices with integers.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from agent_executor.errors import UnknownModelError
from agent_executor.ledger.money import PicoUsdPerToken
from agent_executor.ledger.prices.rate_card import PriceContext, RateCard, Rates, Tier

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

PROVIDER: Final = "anthropic"

_PACKAGE: Final = "genai-prices"
_PICO_USD_PER_TOKEN_PER_USD_PER_MTOK: Final = 1_000_000

# A class without a price of its own is charged as the next broader one, as genai-prices does.
_PRICE_KEYS: Final[tuple[tuple[str, ...], ...]] = (
    ("input_mtok",),
    ("output_mtok",),
    ("cache_read_mtok", "input_mtok"),
    ("cache_write_mtok", "input_mtok"),
    ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
)
# Paid per search of the provider's own search tool, which no agent of this platform is given.
_PRICES_NEVER_CHARGED: Final = frozenset({"web_searches_kcount"})
_PRICES_KNOWN: Final = (
    frozenset(key for keys in _PRICE_KEYS for key in keys) | _PRICES_NEVER_CHARGED
)


def source() -> str:
    """Returns the name and version of the price list."""
    return f"{_PACKAGE} {version(_PACKAGE)}"


@cache
def load() -> Provider:
    """Imports the price list, which takes most of a second, once. Call it in a thread."""
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot().find_provider(None, PROVIDER, None)


def resolve(model: str, day: date, context: PriceContext = ()) -> RateCard:
    """Returns the prices of a model on a day (UTC).

    Raises:
        UnknownModelError: The list has no price for it, or one that a rate card cannot express.
    """
    found = load().find_model(model)
    if found is None:
        raise _unknown(model, "has no price")
    moment = datetime.combine(day, time(), UTC)
    _check_constant_within_day(model, found)
    _check_context(model, found, moment, context)
    price = found.get_prices(moment, dict(context))
    stated = {key for key, value in vars(price).items() if value is not None}
    if not {"input_mtok", "output_mtok"} <= stated <= _PRICES_KNOWN:
        raise _unknown(model, "is not priced by tokens alone")
    starts = _tier_starts(price)
    return RateCard.of(
        provider=PROVIDER,
        model=found.id,
        context=context,
        base=_rates(model, price, 0),
        tiers=tuple(Tier(start, _rates(model, price, start + 1)) for start in starts),
    )


def _check_constant_within_day(model: str, found: ModelInfo) -> None:
    from genai_prices.types import TimeOfDateConstraint

    conditional = found.prices if isinstance(found.prices, list) else []
    constraints = [one.constraint for one in (*conditional, *(found.price_variants or ()))]
    if any(isinstance(constraint, TimeOfDateConstraint) for constraint in constraints):
        raise _unknown(model, "has a price that changes within a day")


def _check_context(model: str, found: ModelInfo, moment: datetime, context: PriceContext) -> None:
    """Refuses a context without a price: genai-prices would answer the standard price instead."""
    asked = set(context)
    matched = {
        item
        for variant in found.price_variants or ()
        if variant.constraint is None or variant.constraint.active(moment)
        if asked >= set(variant.when.items())
        for item in variant.when.items()
    }
    if asked != matched:
        raise _unknown(model, f"has no price for {dict(context)}")


def _tier_starts(price: ModelPrice) -> list[int]:
    from genai_prices.types import TieredPrices

    tiered = [value for value in vars(price).values() if isinstance(value, TieredPrices)]
    return sorted({tier.start for prices in tiered for tier in prices.tiers})


def _rates(model: str, price: ModelPrice, total_input_tokens: int) -> Rates:
    """Returns the rates of a call with so much input."""
    return Rates(*(_rate(model, price, keys, total_input_tokens) for keys in _PRICE_KEYS))


def _rate(
    model: str, price: ModelPrice, keys: tuple[str, ...], total_input_tokens: int
) -> PicoUsdPerToken:
    from genai_prices.types import TieredPrices

    value = next(value for key in keys if (value := getattr(price, key)) is not None)
    if isinstance(value, TieredPrices):
        reached = [tier.price for tier in value.tiers if total_input_tokens > tier.start]
        value = reached[-1] if reached else value.base
    rate = Decimal(value) * _PICO_USD_PER_TOKEN_PER_USD_PER_MTOK
    if rate != int(rate):
        raise _unknown(model, "has a price finer than a pico-dollar per token")
    return PicoUsdPerToken(int(rate))


def _unknown(model: str, reason: str) -> UnknownModelError:
    return UnknownModelError(
        f"The model {model!r} {reason}, so it cannot be charged.", metadata={"model": model}
    )

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

PREFERRED_PROVIDER: Final = "anthropic"

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
# Paid for what this platform neither sends nor asks for: the provider's own search tools, and
# tokens that are no text. Any other price would be left out of a cost, so the model is refused.
_PRICES_NEVER_CHARGED: Final = frozenset(
    {
        *("web_searches_kcount", "storage_searches_kcount"),
        *("input_audio_mtok", "cache_audio_read_mtok", "output_audio_mtok"),
        *("input_image_mtok", "cache_image_read_mtok", "output_image_mtok"),
        *("input_video_mtok", "output_video_mtok"),
    }
)
_PRICES_KNOWN: Final = (
    frozenset(key for keys in _PRICE_KEYS for key in keys) | _PRICES_NEVER_CHARGED
)


def source() -> str:
    """Returns the name and version of the price list."""
    return f"{_PACKAGE} {version(_PACKAGE)}"


@cache
def load() -> tuple[Provider, ...]:
    """Imports the price list, which takes most of a second, once. Call it in a thread."""
    from genai_prices.data_snapshot import get_snapshot

    return tuple(get_snapshot().providers)


def resolve(model: str, day: date, context: PriceContext = ()) -> RateCard:
    """Returns the prices of a model on a day (UTC).

    Args:
        model: As its provider names it, or ``provider/model`` with the provider's id in the list.
            Without a provider it is Anthropic's model, or else that of whoever's names look so.
        day: Before a model's first price that price holds.
        context: Batch or fast, not both unless the list has a price for both together.

    Raises:
        UnknownModelError: The list has no price for it, several, or one that a rate card cannot
            express.
    """
    provider, found = find_model(model)
    return card_of(provider, found, day, context, asked_as=model)


def find_model(model: str) -> tuple[Provider, ModelInfo]:
    """Returns whose model it is, and its entry in the list; see ``resolve``.

    Raises:
        UnknownModelError: The list has none, or several providers may be meant.
    """
    providers = load()
    prefix, slash, name = model.partition("/")
    spelled = next((one for one in providers if slash and one.id == prefix.lower()), None)
    if spelled is not None:
        candidates = [spelled]
    else:
        name = model
        # A provider that only sells others' models must be spelled: its price is another one.
        candidates = [one for one in providers if one.model_match and _names(one, model)]
    found = [
        (one, match)
        for one in candidates
        if (match := one.find_model(name, all_providers=list(providers))) is not None
    ]
    preferred = [pair for pair in found if pair[0].id == PREFERRED_PROVIDER]
    match preferred or found:
        case [one]:
            return one
        case []:
            raise _unknown(model, "has no price")
        case several:
            ids = " or ".join(f"{provider.id}/{name}" for provider, _ in several)
            raise _unknown(model, f"is sold by several providers; name it {ids}")


def _names(provider: Provider, model: str) -> bool:
    return provider.model_match is not None and provider.model_match.is_match(model.lower())


def card_of(
    provider: Provider,
    found: ModelInfo,
    day: date,
    context: PriceContext = (),
    *,
    asked_as: str = "",
) -> RateCard:
    """Returns the prices of an entry of the list on a day (UTC).

    Args:
        provider: Who sells it.
        found: The entry.
        day: See ``resolve``.
        context: See ``resolve``.
        asked_as: The model's name in an error. Default (empty): as the list names it.

    Raises:
        UnknownModelError: It has no price, or one that a rate card cannot express.
    """
    model = asked_as or found.id
    moment = datetime.combine(day, time(), UTC)
    _check_constant_within_day(model, found)
    _check_context(model, provider, found, moment, context)
    price = found.get_prices(moment, dict(context))
    stated = {key for key, value in vars(price).items() if value is not None}
    if not {"input_mtok", "output_mtok"} <= stated <= _PRICES_KNOWN:
        raise _unknown(model, "is not priced by tokens of text alone")
    starts = _tier_starts(price)
    return RateCard.of(
        provider=provider.id,
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


def _check_context(
    model: str, provider: Provider, found: ModelInfo, moment: datetime, context: PriceContext
) -> None:
    """Refuses a context without a price: genai-prices would answer the standard price instead.

    It would also put two prices together, each for a part of the context.
    """
    if not context:
        return
    priced = any(
        variant.when == dict(context)
        and (variant.constraint is None or variant.constraint.active(moment))
        for variant in found.price_variants or ()
    )
    # Where one sells another's model, the other's special prices do not hold.
    is_own = any(one is found for one in provider.models)
    if not (priced and is_own):
        words = " and ".join(f"{key} {value!r}" for key, value in context)
        raise _unknown(model, f"has no price for {words} on {moment:%Y-%m-%d}")


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

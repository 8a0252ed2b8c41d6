"""What a card that an organization makes must be like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting.token_usage import check_token_count
from agent_executor.ledger.money import NANO_USD_PER_USD, NanoUsd
from agent_executor.ledger.prices.organization_card import ModelPrice, ToolFee
from agent_executor.ledger.prices.rate_card import Rates, Tier, price_context

MODEL_BYTES_MAX: Final = 200
TOOL_NAME_BYTES_MAX: Final = 128
DESCRIPTION_BYTES_MAX: Final = 1_000
TIERS_MAX: Final = 10
# A million dollars for a million tokens.
RATE_PICO_USD_PER_TOKEN_MAX: Final = 1_000_000_000_000
FEE_NANO_USD_MAX: Final = NanoUsd(1_000 * NANO_USD_PER_USD)
# The last millisecond that a timestamp of the API can hold.
TIME_MS_MAX: Final = 253_402_300_799_999


class NewCard(msgspec.Struct, frozen=True, kw_only=True):
    """A card as it is asked for: of a model, with rates, or of a tool, with a fee.

    Attributes:
        model: As callers name it; empty for a tool.
        tool_name: Empty for a model.
        processing: ``batch`` or empty.
        speed: ``fast`` or empty.
        rates: Of a model's calls below all tiers.
        tiers: Strictly ascending, at most 10.
        fee_nano_usd: Of a call of the tool, up to 1,000 dollars.
        valid_from_ms: In milliseconds since 1970-01-01 UTC; may be past. Default (None): now.
        valid_until_ms: After ``valid_from_ms``. Default (None): without end.
        description: Why it is made, up to 1,000 bytes.
    """

    model: str = ""
    tool_name: str = ""
    processing: str = ""
    speed: str = ""
    rates: Rates | None = None
    tiers: tuple[Tier, ...] = ()
    fee_nano_usd: NanoUsd | None = None
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    description: str = ""


def checked_price(new: NewCard) -> ModelPrice | ToolFee:
    """Returns the price that a card is asked for.

    Raises:
        InvalidArgumentError: It is for neither or both of a model and a tool, lacks its prices, has
            those of the other kind, or one that is out of range.
    """
    if bool(new.model) == bool(new.tool_name):
        raise invalid("model", "A card is for a model or for a tool: set model or tool_name.")
    if len(new.description.encode(errors="replace")) > DESCRIPTION_BYTES_MAX:
        raise invalid("description", f"description has at most {DESCRIPTION_BYTES_MAX} bytes.")
    return _tool_fee(new) if new.tool_name else _model_price(new)


def checked_validity(new: NewCard, now_ms: int) -> tuple[int, int | None]:
    """Returns from when on a card holds, and until when.

    Raises:
        InvalidArgumentError: A time is before 1970 or after 9999, or it ends before it begins.
    """
    valid_from_ms = now_ms if new.valid_from_ms is None else new.valid_from_ms
    check_time("valid_from", valid_from_ms)
    if new.valid_until_ms is not None:
        check_time("valid_until", new.valid_until_ms)
        if new.valid_until_ms <= valid_from_ms:
            raise invalid("valid_until", "valid_until must be after valid_from.")
    return valid_from_ms, new.valid_until_ms


def check_time(field: str, time_ms: int) -> None:
    """Refuses a time that the ledger cannot hold.

    Raises:
        InvalidArgumentError: It is before 1970 or after 9999.
    """
    if not 0 <= time_ms <= TIME_MS_MAX:
        raise invalid(field, f"{field} must be between the years 1970 and 9999.")


def _model_price(new: NewCard) -> ModelPrice:
    _check_name("model", new.model, MODEL_BYTES_MAX)
    if new.fee_nano_usd is not None:
        raise invalid("fee_usd", "fee_usd is for a tool; a model has rates.")
    if new.rates is None:
        raise invalid("rates", "rates are needed for a model.")
    _check_word("processing", new.processing, "batch")
    _check_word("speed", new.speed, "fast")
    _check_rates("rates", new.rates)
    _check_tiers(new.tiers)
    context = price_context(new.processing, new.speed)
    return ModelPrice(new.model, new.rates, new.tiers, context)


def _tool_fee(new: NewCard) -> ToolFee:
    _check_name("tool_name", new.tool_name, TOOL_NAME_BYTES_MAX)
    for field in ("rates", "tiers", "processing", "speed"):
        if getattr(new, field):
            raise invalid(field, f"{field} is for a model; a tool has fee_usd.")
    if new.fee_nano_usd is None:
        raise invalid("fee_usd", "fee_usd is needed for a tool.")
    if type(new.fee_nano_usd) is not int or not 0 <= new.fee_nano_usd <= FEE_NANO_USD_MAX:
        raise invalid("fee_usd", "fee_usd must be between 0 and 1,000.")
    return ToolFee(new.tool_name, new.fee_nano_usd)


def _check_name(field: str, name: str, bytes_max: int) -> None:
    # A name that is not printable is not text either, if it holds half a character.
    if not name.isprintable() or len(name.encode(errors="replace")) > bytes_max:
        raise invalid(field, f"{field} must be printable and have at most {bytes_max} bytes.")


def _check_word(field: str, word: str, other: str) -> None:
    if word not in ("", other):
        raise invalid(field, f'{field} must be "{other}" or empty.')


def _check_rates(field: str, rates: Rates) -> None:
    for name in rates.__struct_fields__:
        rate = getattr(rates, name)
        # A bool is an int to isinstance, and a float would end up in a cost.
        if type(rate) is not int or not 0 <= rate <= RATE_PICO_USD_PER_TOKEN_MAX:
            message = f"The rate {name} must be 0 to 1,000,000 US dollars per million tokens."
            raise invalid(field, message)


def _check_tiers(tiers: Sequence[Tier]) -> None:
    if len(tiers) > TIERS_MAX:
        raise invalid("tiers", f"There are at most {TIERS_MAX} tiers.")
    below = 0
    for index, tier in enumerate(tiers):
        field = f"tiers[{index}]"
        check_token_count(f"{field}.above_input_tokens", tier.above_input_tokens, 1)
        if tier.above_input_tokens <= below:
            message = "Each tier must begin above the one before."
            raise invalid(f"{field}.above_input_tokens", message)
        _check_rates(f"{field}.rates", tier.rates)
        below = tier.above_input_tokens


def invalid(field: str, message: str) -> InvalidArgumentError:
    """Returns the error for a field that cannot be so."""
    return InvalidArgumentError(message, field_violations=((field, message),))

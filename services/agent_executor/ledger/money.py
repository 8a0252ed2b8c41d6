"""Units of money, and the only places where an amount is rounded or becomes a float.

Amounts are integer nano-US-dollars, rates are integer pico-US-dollars per token. Every price that
a provider has published is a whole number of pico-dollars per token, so that a cost is exact until
it is rounded once, to the nano-dollar. Amounts are only ever added as integers.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NewType

from agent_executor.errors import InvalidArgumentError

NanoUsd = NewType("NanoUsd", int)
PicoUsd = NewType("PicoUsd", int)
PicoUsdPerToken = NewType("PicoUsdPerToken", int)

PICO_USD_PER_NANO_USD: Final = 1_000
NANO_USD_PER_USD: Final = 1_000_000_000

# Below 2**23 dollars a double tells every nano-dollar from the next one, here nearly so.
MAX_LIMIT_NANO_USD: Final = NanoUsd(9_000_000 * NANO_USD_PER_USD)


def round_to_nano_usd(amount: PicoUsd) -> NanoUsd:
    """Returns the nearest nano-dollar; a half goes to the even one. This is what an entry costs."""
    quotient, remainder = divmod(amount, PICO_USD_PER_NANO_USD)
    twice = 2 * remainder
    up = twice > PICO_USD_PER_NANO_USD or (twice == PICO_USD_PER_NANO_USD and quotient % 2 == 1)
    return NanoUsd(quotient + up)


def ceil_to_nano_usd(amount: PicoUsd) -> NanoUsd:
    """Returns the next nano-dollar upwards. A hold is rounded so: it is never below the cost."""
    return NanoUsd(-(-amount // PICO_USD_PER_NANO_USD))


def to_usd(amount: NanoUsd) -> float:
    """Returns dollars for an answer to a person. Never add such floats up: add nano-dollars."""
    return amount / NANO_USD_PER_USD


def format_usd(amount: int) -> str:
    """Returns dollars for a sentence, exact to the nano-dollar and with two decimals at least."""
    whole, nano = divmod(abs(amount), NANO_USD_PER_USD)
    decimals = f"{nano:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}${whole}.{decimals}"


def from_usd(amount: float) -> NanoUsd:
    """Returns the nano-dollars nearest to a number of dollars that a person wrote.

    Raises:
        InvalidArgumentError: The number is negative, not finite or above 9,000,000.
    """
    if not math.isfinite(amount) or not 0 <= amount <= MAX_LIMIT_NANO_USD / NANO_USD_PER_USD:
        msg = "An amount in US dollars must be between 0 and 9,000,000."
        raise InvalidArgumentError(msg)
    # repr is the shortest decimal that means this double: what the person wrote.
    nano = (Decimal(repr(amount)) * NANO_USD_PER_USD).to_integral_value(ROUND_HALF_EVEN)
    return NanoUsd(int(nano))

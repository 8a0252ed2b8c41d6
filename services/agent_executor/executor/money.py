"""Money of the executor: it computes no price, it only reads limits and shows amounts."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from agent_executor.errors import InvalidArgumentError

NANO_USD_PER_USD: Final = 1_000_000_000
MAX_COST_USD: Final = 9_000_000


def nano_usd_of(usd: float, field: str) -> int:
    """Returns a number of dollars that a person wrote in nano-US-dollars.

    What is not zero does not become 0, which means that there is no limit.

    Args:
        usd: The dollars, 0 to 9,000,000.
        field: Where they stand, for the error.

    Raises:
        InvalidArgumentError: The number is negative, not finite or too large.
    """
    is_number = isinstance(usd, int | float) and not isinstance(usd, bool)  # type: ignore[redundant-expr]  # callers need not be type-checked
    if not is_number or not math.isfinite(usd) or not 0 <= usd <= MAX_COST_USD:
        message = f"{field} must be between 0 and {MAX_COST_USD:,} US dollars."
        raise InvalidArgumentError(message, field_violations=((field, message),))
    # repr is the shortest decimal that means this double: what the person wrote.
    nano_usd = (Decimal(repr(usd)) * NANO_USD_PER_USD).to_integral_value(ROUND_HALF_EVEN)
    return max(int(nano_usd), 1) if usd else 0


def usd_of(nano_usd: int) -> float:
    """Returns nano-dollars as dollars, for people. Exact to the nano-dollar below $9 million."""
    return nano_usd / NANO_USD_PER_USD

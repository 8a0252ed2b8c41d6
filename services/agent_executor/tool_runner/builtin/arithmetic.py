"""Decimal arithmetic that is rounded once and that no operand can make slow or large.

Operands lie within the range of a double. ``Decimal`` operations cannot be interrupted, so it is
bounds that keep them short: the slowest takes a few milliseconds.
"""

from __future__ import annotations

from decimal import (
    ROUND_05UP,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from typing import Final

from agent_executor.errors import InvalidArgumentError, LimitExceededError

# The largest power of ten, up and down, that an operand or a result may have: that of a double.
EXPONENT_MAX: Final = 308
# Digits of an operand; more are the caller's to refuse.
OPERAND_DIGITS_MAX: Final = 400
DECIMAL_PLACES_MAX: Final = 100

# Digits of an exact power; above it, powers are computed with guard digits instead.
_EXACT_POWER_DIGITS_MAX: Final = 4_000
_GUARD_DIGITS: Final = 20
# Digits with which a power is computed the first time, only to learn how large it is.
_ESTIMATE_DIGITS: Final = 9
_TRAPS: Final = (Overflow, InvalidOperation, DivisionByZero)
_EXPONENT_LIMIT: Final = 9_999

# No sum or product of two operands needs more digits, so nothing is rounded in it.
_EXACT: Final = Context(
    prec=4_200,
    rounding=ROUND_HALF_EVEN,
    Emax=_EXPONENT_LIMIT,
    Emin=-_EXPONENT_LIMIT,
    traps=[*_TRAPS, Inexact],
)
_ROUNDING: Final = Context(
    prec=4_200,
    rounding=ROUND_HALF_EVEN,
    Emax=_EXPONENT_LIMIT,
    Emin=-_EXPONENT_LIMIT,
    traps=list(_TRAPS),
)
_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
# The unit of the last decimal place, by the number of places.
_UNITS: Final = tuple(Decimal((0, (1,), -places)) for places in range(DECIMAL_PLACES_MAX + 1))


def check_operand(value: Decimal, name: str) -> Decimal:
    """Returns the value if it is within the range of an operand, a zero as plain 0.

    Raises:
        LimitExceededError: It is too large or too small.
    """
    if not value:
        return _ZERO
    exponent = value.adjusted()
    if abs(exponent) > EXPONENT_MAX:
        raise LimitExceededError(
            f"{name} is out of range: its power of ten is {exponent}, and -{EXPONENT_MAX} to "
            f"{EXPONENT_MAX} are allowed."
        )
    return value


def add(a: Decimal, b: Decimal, places: int) -> Decimal:
    """Returns a + b, rounded half to even to ``places`` decimal places, as all results here."""
    return _rounded(_EXACT.add(a, b), places)


def subtract(a: Decimal, b: Decimal, places: int) -> Decimal:
    """Returns a - b."""
    return _rounded(_EXACT.subtract(a, b), places)


def multiply(a: Decimal, b: Decimal, places: int) -> Decimal:
    """Returns a * b.

    Raises:
        LimitExceededError: The result is too large.
    """
    return _rounded(_EXACT.multiply(a, b), places)


def divide(a: Decimal, b: Decimal, places: int) -> Decimal:
    """Returns a / b.

    Raises:
        InvalidArgumentError: b is 0.
        LimitExceededError: The result is too large.
    """
    if not b:
        raise InvalidArgumentError("Division by zero.")
    if not a:
        return _ZERO
    return _rounded(_quotient(a, b, places), places)


def square_root(a: Decimal, places: int) -> Decimal:
    """Returns the square root of a.

    Raises:
        InvalidArgumentError: a is negative.
    """
    if a < 0:
        raise InvalidArgumentError("The square root of a negative number is not a real number.")
    if not a:
        return _ZERO
    # Twice the digits settle on which side of a midpoint the root lies.
    digits = max(len(a.as_tuple().digits), 2 * (abs(a.adjusted()) + places)) + _GUARD_DIGITS
    return _rounded(_context(digits).sqrt(a), places)


def percent(a: Decimal, b: Decimal | None, places: int) -> Decimal:
    """Returns a percent of b: a * b / 100; without b, a / 100.

    Raises:
        LimitExceededError: The result is too large.
    """
    product = a if b is None else _EXACT.multiply(a, b)
    return _rounded(_EXACT.scaleb(product, -2), places)


def power(a: Decimal, b: Decimal, places: int) -> Decimal:
    """Returns a to the power of b; 0 to the power of 0 is 1.

    Raises:
        InvalidArgumentError: a is 0 and b negative, or a is negative and b no integer.
        LimitExceededError: The result is too large.
    """
    if not b:
        return _ONE
    integral = b == b.to_integral_value()
    if not a:
        if b < 0:
            raise InvalidArgumentError("Division by zero: 0 has no negative power.")
        return _ZERO
    if a < 0 and not integral:
        raise InvalidArgumentError("A negative number to a fractional power is not a real number.")
    magnitude = _power(a, b, _ESTIMATE_DIGITS).adjusted()
    if magnitude > EXPONENT_MAX + 1:
        raise _too_large()
    if magnitude < -places - 2:
        return _ZERO
    if integral and abs(b) * len(a.as_tuple().digits) <= _EXACT_POWER_DIGITS_MAX:
        exact = _EXACT.power(a, abs(b))
        return _rounded(exact if b > 0 else _quotient(_ONE, exact, places), places)
    return _rounded(_power(a, b, max(magnitude, 0) + places + _GUARD_DIGITS), places)


def _power(a: Decimal, b: Decimal, digits: int) -> Decimal:
    try:
        return _context(digits).power(a, b)
    except Overflow:
        raise _too_large() from None


def _quotient(a: Decimal, b: Decimal, places: int) -> Decimal:
    """Returns a / b with more digits than are kept, and such that rounding it again is exact."""
    digits = max(a.adjusted() - b.adjusted() + 1, 0) + places + 2
    # This way of rounding never makes a midpoint, or hides one, for the rounding that follows.
    return _context(digits, ROUND_05UP).divide(a, b)


def _context(digits: int, rounding: str = ROUND_HALF_EVEN) -> Context:
    return Context(
        prec=digits,
        rounding=rounding,
        Emax=_EXPONENT_LIMIT,
        Emin=-_EXPONENT_LIMIT,
        traps=list(_TRAPS),
    )


def _rounded(value: Decimal, places: int) -> Decimal:
    """Returns the value at ``places`` decimal places without trailing zeros; never -0."""
    if value.adjusted() > EXPONENT_MAX and value:
        raise _too_large()
    rounded = _ROUNDING.quantize(value, _UNITS[places])
    return _ROUNDING.normalize(rounded) if rounded else _ZERO


def _too_large() -> LimitExceededError:
    return LimitExceededError(f"The result is too large: its power of ten is above {EXPONENT_MAX}.")

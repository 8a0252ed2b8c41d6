"""Arithmetic expressions: how mock Claude holds, writes down and works out a calculation.

An expression is a number or an operation of the calculator on expressions, so it can be worked
out one calculator call at a time, or in the head when there is no calculator.
"""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import NamedTuple, TypeAlias


class Operation(NamedTuple):
    """One operation of the calculator.

    Attributes:
        name: The calculator's word: add, subtract, multiply, divide, power, sqrt or percent.
        a: The first operand; for percent, how many percent.
        b: The second operand; None for sqrt. ``percent`` of None is a hundredth of ``a``.
    """

    name: str
    a: Expression
    b: Expression | None = None


Expression: TypeAlias = Decimal | Operation


class CalculationError(Exception):
    """The expression has no value; the message is a reason to show."""


# 50 digits and exponents up to 999 hold whatever a person asks for, and keep 9^9^9 instant.
_HEAD = decimal.Context(
    prec=50,
    Emax=999,
    Emin=-999,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.DivisionByZero, decimal.InvalidOperation, decimal.Overflow],
)
_HEAD_DECIMAL_PLACES = 10
_HEAD_ROUNDING = Decimal("1E-10")
_ROUNDED_DIGITS_MAX = 39  # With the decimal places, what the precision has room for.
_PLAIN_DIGITS_MAX = 400

_SYMBOLS = {"add": " + ", "subtract": " - ", "multiply": " * ", "divide": " / ", "power": "^"}
_PRECEDENCE = {"add": 1, "subtract": 1, "multiply": 2, "divide": 2, "power": 3}
_ATOM_PRECEDENCE = 4


def evaluate(expression: Expression) -> Decimal:
    """Works the expression out in the head, rounded to 10 decimal places.

    Raises:
        CalculationError: It has no value, or one that is too large.
    """
    try:
        value = _evaluate(expression)
    except (decimal.DivisionByZero, ZeroDivisionError):
        raise CalculationError("division by zero") from None
    except decimal.Overflow:
        raise CalculationError("the result is too large") from None
    except decimal.InvalidOperation:
        raise CalculationError("it is not defined") from None
    exponent = value.as_tuple().exponent
    if (
        isinstance(exponent, int)
        and exponent < -_HEAD_DECIMAL_PLACES
        and value.adjusted() < _ROUNDED_DIGITS_MAX
    ):
        return _HEAD.quantize(value, _HEAD_ROUNDING)
    return value


def _evaluate(expression: Expression) -> Decimal:
    if isinstance(expression, Decimal):
        return _HEAD.plus(expression)
    a = _evaluate(expression.a)
    if expression.name == "sqrt":
        return _HEAD.sqrt(a)
    b = Decimal(1) if expression.b is None else _evaluate(expression.b)
    match expression.name:
        case "add":
            return _HEAD.add(a, b)
        case "subtract":
            return _HEAD.subtract(a, b)
        case "multiply":
            return _HEAD.multiply(a, b)
        case "divide":
            return _HEAD.divide(a, b)
        case "power":
            return _HEAD.power(a, b)
        case _:
            return _HEAD.divide(_HEAD.multiply(a, b), Decimal(100))


def render(expression: Expression) -> str:
    """Writes the expression down, with no more parentheses than it needs."""
    if isinstance(expression, Decimal):
        return format_number(expression)
    if expression.name == "sqrt":
        return f"sqrt({render(expression.a)})"
    if expression.name == "percent":
        of = "" if expression.b is None else f" of {_operand(expression.b, _ATOM_PRECEDENCE)}"
        return f"{_operand(expression.a, _ATOM_PRECEDENCE)}%{of}"
    precedence = _PRECEDENCE[expression.name]
    # Of two operations of one rank the left one comes first, except for powers.
    is_power = expression.name == "power"
    left = _operand(expression.a, precedence + is_power)
    right = _operand(expression.b or Decimal(0), precedence + (not is_power))
    return left + _SYMBOLS[expression.name] + right


def _operand(expression: Expression, precedence: int) -> str:
    text = render(expression)
    if isinstance(expression, Decimal):
        is_tight = precedence > _PRECEDENCE["divide"] and expression < 0
    else:
        # "15% of 80" is as loose as a product; sqrt(...) brings its own parentheses.
        of_a_kind = _PRECEDENCE["multiply"] if expression.name == "percent" else _ATOM_PRECEDENCE
        is_tight = _PRECEDENCE.get(expression.name, of_a_kind) < precedence
    return f"({text})" if is_tight else text


def format_number(value: Decimal) -> str:
    """Writes a number in digits, without an exponent as long as it is of a readable length."""
    if abs(value.adjusted()) > _PLAIN_DIGITS_MAX:
        return f"{value:.10E}"
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def to_argument(value: Decimal) -> int | float | str:
    """A JSON value of exactly this number: an integer, else a double, else decimal text."""
    if value == value.to_integral_value() and value.adjusted() <= _PLAIN_DIGITS_MAX:
        return int(value)
    double = float(value)
    return double if Decimal(repr(double)) == value else format_number(value)

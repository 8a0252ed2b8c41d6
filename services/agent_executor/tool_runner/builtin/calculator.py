"""The calculator: one arithmetic operation on decimal numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from agent_executor.errors import InvalidArgumentError, LimitExceededError
from agent_executor.tool_runner.builtin import arithmetic
from agent_executor.tool_runner.tool_base import ToolBase

DEFAULT_PRECISION: Final = 10

_BINARY: Final[dict[str, Callable[[Decimal, Decimal, int], Decimal]]] = {
    "add": arithmetic.add,
    "subtract": arithmetic.subtract,
    "multiply": arithmetic.multiply,
    "divide": arithmetic.divide,
    "power": arithmetic.power,
}
OPERATIONS: Final = (*_BINARY, "sqrt", "percent")
ARGUMENT_NAMES: Final = ("operation", "a", "b", "precision")

# A decimal number as people and programs write it; ASCII, so that no other script's digits pass.
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_NUMBER_CHARACTERS_MAX: Final = arithmetic.OPERAND_DIGITS_MAX
# Up to here, programs that read numbers as doubles print integers without an exponent.
_INTEGER_RESULT_MAX: Final = 10**21

_OPERAND_SCHEMA: Final = {
    "type": ["number", "string"],
    "maxLength": _NUMBER_CHARACTERS_MAX,
}
_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "operation": {
            "type": "string",
            "enum": list(OPERATIONS),
            "description": "percent is a percent of b (a * b / 100); without b it is a / 100.",
        },
        "a": {
            **_OPERAND_SCHEMA,
            "description": "A number; as a decimal string if a double cannot hold it.",
        },
        "b": {
            **_OPERAND_SCHEMA,
            "description": "The second number; not used by sqrt, optional for percent.",
        },
        "precision": {
            "type": "integer",
            "minimum": 0,
            "maximum": arithmetic.DECIMAL_PLACES_MAX,
            "default": DEFAULT_PRECISION,
            "description": "How many decimal places the result is rounded to.",
        },
    },
    "required": ["operation", "a"],
    "additionalProperties": False,
}


class CalculatorTool(ToolBase):
    """Performs arithmetic operations with high precision.

    Arguments are ``operation`` (add, subtract, multiply, divide, power, sqrt or percent), ``a``,
    ``b`` (not used by sqrt; optional for percent) and ``precision``, the decimal places of the
    result: 0 to 100, default 10, rounded half to even. ``a`` and ``b`` are numbers or decimal
    strings of at most 400 characters within the range of a double. All arithmetic is decimal.

    ``percent`` is a percent of b, a * b / 100; without b it is a / 100.

    The result is ``{"operation": …, "result": …}``. It is a JSON number if the shortest decimal
    form of the nearest double is the very result (an integer if it is one), else a decimal
    string, so that nothing is lost on the way.
    """

    runs_inline = True
    decimal_numbers = True

    def __init__(self) -> None:
        super().__init__(
            name="calculator",
            description="Performs arithmetic operations",
            input_schema=_SCHEMA,
            effect="read_only",
        )

    def _execute_impl(self, arguments: dict[str, Any]) -> dict[str, Any]:
        unknown = [name for name in arguments if name not in ARGUMENT_NAMES]
        if unknown:
            raise InvalidArgumentError(
                f"The calculator has the arguments {', '.join(ARGUMENT_NAMES)} and no other."
            )
        operation = arguments.get("operation")
        if not isinstance(operation, str) or operation not in OPERATIONS:
            raise InvalidArgumentError(f"operation must be one of {', '.join(OPERATIONS)}.")
        places = _precision(arguments.get("precision", DEFAULT_PRECISION))
        if "a" not in arguments:
            raise InvalidArgumentError("a is missing.")
        a = _operand(arguments["a"], "a")
        result = _compute(operation, a, arguments, places)
        return {"operation": operation, "result": _as_json_number(result)}


def _compute(operation: str, a: Decimal, arguments: dict[str, Any], places: int) -> Decimal:
    if operation == "sqrt":
        return arithmetic.square_root(a, places)
    b = _operand(arguments["b"], "b") if "b" in arguments else None
    if operation == "percent":
        return arithmetic.percent(a, b, places)
    if b is None:
        raise InvalidArgumentError(f"b is missing; {operation} needs two numbers.")
    return _BINARY[operation](a, b, places)


def _precision(value: object) -> int:
    # A float may be an integer: JSON Schema takes 5.0 for one.
    if (
        not isinstance(value, int | float | Decimal)
        or isinstance(value, bool)
        or not 0 <= value <= arithmetic.DECIMAL_PLACES_MAX
        or value != int(value)
    ):
        raise InvalidArgumentError(
            f"precision must be an integer from 0 to {arithmetic.DECIMAL_PLACES_MAX}."
        )
    return int(value)


def _operand(value: object, name: str) -> Decimal:
    """Returns an argument as an operand, exactly as it was written.

    Raises:
        InvalidArgumentError: It is not a finite number.
        LimitExceededError: It is out of bounds.
    """
    if isinstance(value, bool):
        raise _not_a_number(name)
    if isinstance(value, int):
        # Arguments hold no integer that is large enough to take long.
        number = Decimal(value)
    elif isinstance(value, float) and math.isfinite(value):
        # The shortest form that reads back as this double: what was written in the first place.
        number = Decimal(repr(value))
    elif isinstance(value, Decimal) and value.is_finite():
        _check_length(len(value.as_tuple().digits), name)
        number = value
    elif isinstance(value, str):
        _check_length(len(value), name)
        if not _NUMBER.fullmatch(value):
            raise _not_a_number(name)
        number = Decimal(value)
    else:
        raise _not_a_number(name)
    return arithmetic.check_operand(number, name)


def _check_length(characters: int, name: str) -> None:
    if characters > _NUMBER_CHARACTERS_MAX:
        raise LimitExceededError(
            f"{name} has {characters} characters; at most {_NUMBER_CHARACTERS_MAX} are allowed."
        )


def _not_a_number(name: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{name} must be a finite number or a decimal string.")


def _as_json_number(value: Decimal) -> int | float | str:
    """Returns a number if a reader of doubles sees this very value, else a decimal string."""
    nearest = float(value)
    if math.isfinite(nearest) and Decimal(repr(nearest)) == value:
        if value == value.to_integral_value() and abs(value) < _INTEGER_RESULT_MAX:
            return int(value)
        return nearest
    return format(value, "f")

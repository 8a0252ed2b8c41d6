"""What a tool may be given: caps on size and depth, checked before anything looks at the content.

Standard library only: the base class of tools needs it, in the sandbox too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from agent_executor.errors import InvalidArgumentError, LimitExceededError

DEFAULT_ARGUMENTS_BYTES_MAX: Final = 1_048_576
ARGUMENTS_DEPTH_MAX: Final = 64
# As Python's own limit on reading an integer, which guards against quadratic time.
INTEGER_DIGITS_MAX: Final = 4_300
_INTEGER_BITS_MAX: Final = 14_285

# A JSON string, skipped as a whole, or a bracket outside of strings.
_STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
# Half of a character that JSON spells with two escapes; alone it is no Unicode text.
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def parse_arguments(
    text: str, *, size_bytes: int, size_bytes_max: int, decimal_numbers: bool = False
) -> dict[str, Any]:
    """Returns the JSON object that a text is.

    Args:
        text: JSON text.
        size_bytes: Length of the text in UTF-8.
        size_bytes_max: The cap on it.
        decimal_numbers: Read numbers with a fraction or an exponent as ``Decimal``, exactly as
            they are written, instead of as ``float``.

    Raises:
        LimitExceededError: The text is too large or nested too deeply.
        InvalidArgumentError: The text is not JSON, holds NaN, an infinity, a number that is too
            large or half of a character, or is not an object.
    """
    if size_bytes > size_bytes_max:
        raise LimitExceededError(
            f"The arguments are {size_bytes} bytes; at most {size_bytes_max} are allowed.",
            metadata={"sizeBytes": str(size_bytes), "sizeBytesMax": str(size_bytes_max)},
        )
    _check_depth(text)
    decoder = _DECIMAL_DECODER if decimal_numbers else _FLOAT_DECODER
    try:
        value = decoder.decode(text)
        if not text.isascii() or _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False, default=str).encode()
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(
            f"The arguments are not JSON: {error.msg} at character {error.pos + 1}."
        ) from None
    except UnicodeEncodeError:
        raise InvalidArgumentError("The arguments hold text that is not Unicode.") from None
    except _NumberError as error:
        raise InvalidArgumentError(f"The arguments hold {error}.") from None
    except ValueError:
        raise InvalidArgumentError(
            f"The arguments hold an integer of more than {INTEGER_DIGITS_MAX} digits."
        ) from None
    if type(value) is not dict:
        raise InvalidArgumentError("The arguments are not a JSON object.")
    return value


def check_arguments(
    arguments: object, *, size_max: int = DEFAULT_ARGUMENTS_BYTES_MAX
) -> dict[str, Any]:
    """Returns a copy of a mapping that holds nothing but JSON values; ``Decimal`` is one too.

    Args:
        arguments: What a program passes to a tool.
        size_max: Characters of all texts and keys, plus one for each value, at most.

    Raises:
        LimitExceededError: It is too large or nested too deeply.
        InvalidArgumentError: It is not a mapping, or holds something that is not JSON.
    """
    if not isinstance(arguments, Mapping):
        raise InvalidArgumentError(
            f"The arguments are not a mapping but of type {type(arguments).__name__}."
        )
    copy = dict(arguments)
    size = 0
    waiting: list[tuple[object, int]] = [(copy, 1)]
    while waiting:
        value, depth = waiting.pop()
        size += _size_of(value)
        if size > size_max:
            raise LimitExceededError(f"The arguments are larger than {size_max} characters.")
        if isinstance(value, Mapping | list | tuple):
            if depth > ARGUMENTS_DEPTH_MAX:
                raise _too_deep()
            size += len(value)
            if isinstance(value, Mapping):
                waiting.extend((key, 0) for key in value)
                _check_keys(value)
                value = value.values()
            waiting.extend((item, depth + 1) for item in value)
    return copy


def _size_of(value: object) -> int:
    """Returns the characters of a text, else 0.

    Raises:
        InvalidArgumentError: The value is not JSON.
    """
    if value is None or isinstance(value, bool | Mapping | list | tuple):
        return 0
    if isinstance(value, str):
        if not value.isascii():
            _check_unicode(value)
        return len(value)
    if isinstance(value, int):
        if value.bit_length() > _INTEGER_BITS_MAX:
            raise InvalidArgumentError(
                f"The arguments hold an integer of more than {INTEGER_DIGITS_MAX} digits."
            )
        return 0
    if isinstance(value, float | Decimal):
        is_finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
        if not is_finite:
            raise InvalidArgumentError("The arguments hold NaN or an infinity.")
        return 0
    raise InvalidArgumentError(
        f"The arguments hold a value of type {type(value).__name__}, which is not JSON."
    )


def _check_keys(value: Mapping[Any, Any]) -> None:
    for key in value:
        if not isinstance(key, str):
            raise InvalidArgumentError("The arguments hold a key that is not a string.")


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("The arguments hold text that is not Unicode.") from None


def _check_depth(text: str) -> None:
    # There are never more levels than opening brackets, and counting those is much faster.
    if text.count("{") + text.count("[") <= ARGUMENTS_DEPTH_MAX:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        token = match[0]
        if token in "{[":
            depth += 1
            if depth > ARGUMENTS_DEPTH_MAX:
                raise _too_deep()
        elif token in "}]":
            depth -= 1


def _too_deep() -> LimitExceededError:
    return LimitExceededError(
        f"The arguments are nested more than {ARGUMENTS_DEPTH_MAX} levels deep.",
        metadata={"depthMax": str(ARGUMENTS_DEPTH_MAX)},
    )


class _NumberError(ValueError):
    """A number that JSON's grammar or a double does not have; the message names it."""


def _refuse_constant(name: str) -> float:
    raise _NumberError(f"{name}, which is not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _NumberError("a number that is too large")
    return number


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise _NumberError("a number that is too large") from None


_FLOAT_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite_float)
_DECIMAL_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_decimal)

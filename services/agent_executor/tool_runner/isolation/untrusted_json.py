"""JSON from the other side of the sandbox's wall: size, depth and digits have caps.

Standard library only: the launcher loads it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from agent_executor.tool_runner.arguments import ARGUMENTS_DEPTH_MAX, INTEGER_DIGITS_MAX

# The same cap for whatever passes the wall, in either direction.
DEPTH_MAX: Final = ARGUMENTS_DEPTH_MAX

# Lists and objects in one message. Of 3 bytes each they take the event loop the longest to read,
# and twenty times the message's size in memory.
CONTAINERS_MAX: Final = 100_000

_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")

ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class JsonError(ValueError):
    """The text is no JSON that is accepted; the message completes "it ..."."""


def parse(payload: bytes) -> Any:
    """Returns the value that JSON text in UTF-8 is; the caller has checked its size.

    Raises:
        JsonError: It is no such text, is nested too deeply, holds too many lists and objects, NaN,
            an infinity, a number that is too large or half of a character.
    """
    try:
        text = payload.decode()
        _check_containers(text)
        value = _DECODER.decode(text)
        if "\\u" in text:
            # Half of a character can be written as an escape, but is no text.
            ENCODER.encode(value).encode()
    except JsonError:
        raise
    except UnicodeError:
        raise JsonError("holds text that is not Unicode") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"is not JSON at character {error.pos + 1}") from None
    except ValueError:
        raise JsonError(f"holds an integer of more than {INTEGER_DIGITS_MAX} digits") from None
    return value


def parse_object(payload: bytes) -> dict[str, Any]:
    """Returns the JSON object that a text is.

    Raises:
        JsonError: As ``parse``, or it is another value.
    """
    value = parse(payload)
    if type(value) is not dict:
        raise JsonError("is not a JSON object")
    return value


def _check_containers(text: str) -> None:
    # There are never more levels than opening brackets, and counting those is much faster.
    if text.count("{") + text.count("[") <= DEPTH_MAX:
        return
    depth = count = 0
    for match in _BRACKET.finditer(_STRING.sub("", text)):
        if match[0] not in "{[":
            depth -= 1
            continue
        depth += 1
        count += 1
        if depth > DEPTH_MAX:
            raise JsonError(f"is nested more than {DEPTH_MAX} levels deep")
        if count > CONTAINERS_MAX:
            raise JsonError(f"holds more than {CONTAINERS_MAX} lists and objects")


def _refuse_constant(name: str) -> float:
    raise JsonError(f"holds {name}, which is not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JsonError("holds a number that is too large")
    return number


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite_float)

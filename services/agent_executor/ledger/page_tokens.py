"""Page tokens: opaque to callers, and good only for the question that they were given out for."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.serving.page_tokens import content_of, refused, token_of

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 1_000

_DIGEST_HEX_DIGITS: Final = 8
# What a database holds as a number.
_MAX_NUMBER: Final = 2**63 - 1
_DECODER: Final = msgspec.msgpack.Decoder(tuple[str, str, int])


def page_size_of(requested: int) -> int:
    """Returns how many rows a page holds; 0 asks for the default.

    Raises:
        InvalidArgumentError: It is negative or above ``MAX_PAGE_SIZE``.
    """
    if not 0 <= requested <= MAX_PAGE_SIZE:
        message = f"page_size must be between 0 and {MAX_PAGE_SIZE}."
        raise InvalidArgumentError(message, field_violations=(("page_size", message),))
    return requested or DEFAULT_PAGE_SIZE


def encode(question: object, row_id: str, offset: int = 0) -> str:
    """Returns the token of the page that begins where another has ended.

    Args:
        question: What is asked, without the page; anything that msgspec can encode.
        row_id: A row of the caller's own, from which the page is counted.
        offset: How many rows to leave out.
    """
    encoded = msgspec.msgpack.encode((_digest(question), row_id, offset))
    return token_of(encoded)


def decode(question: object, token: str) -> tuple[str, int]:
    """Returns row and offset of a token; ``("", 0)`` for the empty one.

    Raises:
        InvalidArgumentError: It was not given out for this question.
    """
    if not token:
        return "", 0
    try:
        digest, row_id, offset = _DECODER.decode(content_of(token))
    except (ValueError, msgspec.DecodeError):
        raise refused() from None
    # Who makes a token up may have put into it what no database holds.
    is_storable = "\0" not in row_id and 0 <= offset <= _MAX_NUMBER
    if digest != _digest(question) or not row_id or not is_storable:
        raise refused()
    return row_id, offset


def numbers(row_id: str, count: int) -> list[int]:
    """Returns the numbers of which the row of a token is made.

    Raises:
        InvalidArgumentError: It is not made of so many numbers.
    """
    try:
        found = [int(part) for part in row_id.split(" ")]
    except ValueError:
        raise refused() from None
    if len(found) != count or not all(-_MAX_NUMBER <= one <= _MAX_NUMBER for one in found):
        raise refused()
    return found


def _digest(question: object) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(question)).hexdigest()[:_DIGEST_HEX_DIGITS]

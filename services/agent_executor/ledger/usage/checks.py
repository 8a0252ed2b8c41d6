"""What a text or a number of a request may be; contracts check it as well, the library does not."""

from __future__ import annotations

from typing import Final

from agent_executor.errors import InvalidArgumentError

WRITE_PERMISSION: Final = "ledger:write"
ADMIN_PERMISSION: Final = "ledger:admin"

MAX_ID_BYTES: Final = 256
MAX_NAME_BYTES: Final = 128
MAX_MODEL_BYTES: Final = 200
MAX_DESCRIPTION_BYTES: Final = 1_000
MAX_TTL_SECONDS: Final = 86_400

PROCESSINGS: Final = frozenset({"", "batch"})
SPEEDS: Final = frozenset({"", "fast"})


def invalid(field: str, problem: str) -> InvalidArgumentError:
    """Returns the error that a field of the request is wrong."""
    message = f"{field} {problem}"
    return InvalidArgumentError(message, field_violations=((field, message),))


def check_text(field: str, value: str, max_bytes: int, *, min_bytes: int = 0) -> None:
    """Refuses a text of another length, or one that not every database can hold.

    Raises:
        InvalidArgumentError: It is too short or too long, or holds a NUL or half of a character.
    """
    # Most are ASCII, and then their length is that in bytes.
    if value.isascii():
        size_bytes = len(value)
    else:
        try:
            size_bytes = len(value.encode())
        except UnicodeEncodeError:
            raise invalid(field, "holds half of a surrogate pair.") from None
    if not min_bytes <= size_bytes <= max_bytes:
        raise invalid(field, f"must have {min_bytes} to {max_bytes} bytes.")
    if "\0" in value:
        raise invalid(field, "holds a NUL character.")


def check_integer(field: str, value: int, minimum: int, maximum: int) -> None:
    """Refuses a number that is no integer or out of bounds.

    Raises:
        InvalidArgumentError: It is.
    """
    # A bool is an int to isinstance, and a float would end up in a price.
    if type(value) is not int or not minimum <= value <= maximum:
        raise invalid(field, f"must be an integer between {minimum} and {maximum}.")

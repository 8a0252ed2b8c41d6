"""Sums that are larger than what the ledger can tell: 64 bits of nano-dollars."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.money import format_usd

MAX_SUM_NANO_USD: Final = 2**63 - 1

_NOT_AN_INTEGER: Final = sqlite3.SQLITE_CONSTRAINT | 12 << 8
"""``SQLITE_CONSTRAINT_DATATYPE``, which Python does not name: a sum has become a float."""


def sum_too_large() -> InvalidArgumentError:
    """Returns the error that a sum is larger than the ledger can tell."""
    return InvalidArgumentError(
        "This comes to a sum beyond the largest that the ledger can tell, "
        f"{format_usd(MAX_SUM_NANO_USD)}."
    )


@contextlib.contextmanager
def sqlite_overflow_refused() -> Iterator[None]:
    """Turns what SQLite says of a sum that is too large into an error for the caller.

    Raises:
        InvalidArgumentError: A sum is too large.
    """
    try:
        yield
    except OverflowError as error:
        raise sum_too_large() from error
    except sqlite3.Error as error:
        is_overflow = str(error) == "integer overflow"
        if not is_overflow and getattr(error, "sqlite_errorcode", None) != _NOT_AN_INTEGER:
            raise
        raise sum_too_large() from error

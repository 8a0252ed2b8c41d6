"""Every field of an entry as a column. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.rows import ENTRY_NAMES, row_of_entry

Cell: TypeAlias = str | int | Decimal
"""Text, a number, or an exact amount."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FLAGS: Final = tuple(map(ENTRY_NAMES.index, ("estimated", "is_test", "is_background")))
_TIMES: Final = tuple(map(ENTRY_NAMES.index, ("occurred_at_ms", "created_at_ms")))

NAMES: Final = (*(name.removesuffix("_ms") for name in ENTRY_NAMES), "cost_usd")
"""The fields of an entry, times in RFC 3339, and the cost in US dollars too."""


def row(entry: UsageEntry) -> Sequence[Cell]:
    """Returns the values of ``NAMES``."""
    values: list[Cell] = list(row_of_entry(entry))
    for place in _FLAGS:
        values[place] = "true" if values[place] else "false"
    for place in _TIMES:
        values[place] = utc(int(values[place]))
    values.append(dollars(entry.cost_nano_usd))
    return values


def dollars(nano_usd: int) -> Decimal:
    """Returns an amount in US dollars, exact: nothing is divided, so nothing is rounded."""
    return Decimal(f"{nano_usd}e-9")


def utc(time_ms: int) -> str:
    """Returns a time as RFC 3339 with milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

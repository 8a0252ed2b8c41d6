"""Every field of an entry as a column. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

import msgspec

from agent_executor.ledger.accounting.entry import Purpose, UsageEntry
from agent_executor.ledger.accounting.token_usage import TokenCounts

Cell: TypeAlias = str | int | Decimal
"""Text, a number, or an exact amount."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS: Final = UsageEntry.__struct_fields__
_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "usage": TokenCounts.__struct_fields__,
    "cost_nano_usd": ("cost_nano_usd", "cost_usd"),
    "purpose": Purpose.__struct_fields__,
    "occurred_at_ms": ("occurred_at",),
    "created_at_ms": ("created_at",),
}

NAMES: Final = tuple(name for field in _FIELDS for name in _PARTS.get(field, (field,)))
"""The fields of ``UsageEntry``; money also in US dollars, times in RFC 3339."""


def row(entry: UsageEntry) -> Sequence[Cell]:
    """Returns the values of ``NAMES``."""
    values: list[Cell] = []
    for field in _FIELDS:
        value = getattr(entry, field)
        if field in ("usage", "purpose"):
            values += (_plain(one) for one in msgspec.structs.astuple(value))
        elif field == "cost_nano_usd":
            values += (value, dollars(value))
        elif field in ("occurred_at_ms", "created_at_ms"):
            values.append(utc(value))
        else:
            values.append(_plain(value))
    return values


def dollars(nano_usd: int) -> Decimal:
    """Returns an amount in US dollars, exact: nothing is divided, so nothing is rounded."""
    return Decimal(f"{nano_usd}e-9")


def utc(time_ms: int) -> str:
    """Returns a time as RFC 3339 with milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: str | int) -> str | int:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value

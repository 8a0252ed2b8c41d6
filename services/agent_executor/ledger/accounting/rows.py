"""Entries, reservations and budgets as rows of the ledger's tables, the same in both databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agent_executor.ledger.accounting.book import StoredBudget
from agent_executor.ledger.accounting.budget import Budget, BudgetEvent
from agent_executor.ledger.accounting.entry import UNKNOWN_PURPOSE, Purpose, UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenCounts

# The columns are the fields, in their order, with those of what an entry is made of in its place.
_BEFORE_USAGE: Final = UsageEntry.__struct_fields__.index("usage")
_BEFORE_PURPOSE: Final = UsageEntry.__struct_fields__.index("purpose")
_TOKENS: Final = len(TokenCounts.__struct_fields__)
_PURPOSES: Final = len(Purpose.__struct_fields__)
_AFTER_USAGE: Final = _BEFORE_USAGE + _TOKENS
_PURPOSE_COLUMN: Final = _BEFORE_PURPOSE + _TOKENS - 1
_AFTER_PURPOSE: Final = _PURPOSE_COLUMN + _PURPOSES

TOKEN_NAMES: Final = TokenCounts.__struct_fields__
ENTRY_NAMES: Final = (
    *UsageEntry.__struct_fields__[:_BEFORE_USAGE],
    *TOKEN_NAMES,
    *UsageEntry.__struct_fields__[_BEFORE_USAGE + 1 : _BEFORE_PURPOSE],
    *Purpose.__struct_fields__,
    *UsageEntry.__struct_fields__[_BEFORE_PURPOSE + 1 :],
)
RESERVATION_NAMES: Final = Reservation.__struct_fields__

BUDGET_NAMES: Final = (
    *("id", "organization_id", "limit_nano_usd", "spending_window", "user_id", "agent_id"),
    *("run_id", "time_zone", "alert_percents", "reserved_nano_usd", "counted_from_ms"),
)
EVENT_NAMES: Final = BudgetEvent.__struct_fields__[:-1]
"""All but the id, which is the ``sequence`` that the database gives."""

_SIMPLE_NAMES: Final = (
    *UsageEntry.__struct_fields__[:_BEFORE_USAGE],
    *UsageEntry.__struct_fields__[_BEFORE_USAGE + 1 : _BEFORE_PURPOSE],
    *UsageEntry.__struct_fields__[_BEFORE_PURPOSE + 1 :],
)
_NO_ALERTS: Final = "[]"
_decode_percents: Final = msgspec.json.Decoder(tuple[int, ...]).decode
_as_tuple: Final = msgspec.structs.astuple


def row_of_entry(entry: UsageEntry) -> tuple[Any, ...]:
    """Returns the values of ``ENTRY_NAMES``."""
    values = _as_tuple(entry)
    return (
        *values[:_BEFORE_USAGE],
        *_as_tuple(entry.usage),
        *values[_BEFORE_USAGE + 1 : _BEFORE_PURPOSE],
        *_as_tuple(entry.purpose),
        *values[_BEFORE_PURPOSE + 1 :],
    )


def entry_of_row(row: Sequence[Any]) -> UsageEntry:
    """Returns the entry with these values of ``ENTRY_NAMES``."""
    digest, prefix_tokens, history_tokens, is_background = row[_PURPOSE_COLUMN:_AFTER_PURPOSE]
    purpose = UNKNOWN_PURPOSE
    if digest or prefix_tokens or history_tokens or is_background:
        purpose = Purpose(digest, prefix_tokens, history_tokens, bool(is_background))
    fields: dict[str, Any] = dict(
        zip(
            _SIMPLE_NAMES,
            (*row[:_BEFORE_USAGE], *row[_AFTER_USAGE:_PURPOSE_COLUMN], *row[_AFTER_PURPOSE:]),
            strict=True,
        )
    )
    fields["estimated"] = bool(fields["estimated"])
    fields["is_test"] = bool(fields["is_test"])
    return UsageEntry(
        usage=TokenCounts(*row[_BEFORE_USAGE:_AFTER_USAGE]),
        purpose=purpose,
        **fields,
    )


row_of_reservation: Final = _as_tuple
"""Returns the values of ``RESERVATION_NAMES``."""


def reservation_of_row(row: Sequence[Any]) -> Reservation:
    """Returns the reservation with these values of ``RESERVATION_NAMES``."""
    fields: dict[str, Any] = dict(zip(RESERVATION_NAMES, row, strict=True))
    fields["writes_cache"] = bool(fields["writes_cache"])
    return Reservation(**fields)


def row_of_budget(stored: StoredBudget) -> tuple[Any, ...]:
    """Returns the values of ``BUDGET_NAMES``."""
    *values, percents = _as_tuple(stored.budget)
    alerts = msgspec.json.encode(percents).decode() if percents else _NO_ALERTS
    return (*values, alerts, stored.reserved_nano_usd, stored.counted_from_ms)


def budget_of_row(row: Sequence[Any]) -> StoredBudget:
    """Returns the budget with these values of ``BUDGET_NAMES``."""
    *values, alerts, reserved_nano_usd, counted_from_ms = row
    percents = () if alerts == _NO_ALERTS else _decode_percents(alerts)
    fields: dict[str, Any] = dict(zip(Budget.__struct_fields__, (*values, percents), strict=True))
    return StoredBudget(Budget(**fields), reserved_nano_usd, counted_from_ms)


def row_of_event(event: BudgetEvent) -> tuple[Any, ...]:
    """Returns the values of ``EVENT_NAMES``."""
    return _as_tuple(event)[:-1]


def event_of_row(row: Sequence[Any]) -> BudgetEvent:
    """Returns the event with these values of ``EVENT_NAMES``, and the ``sequence`` after them."""
    return BudgetEvent(*row)

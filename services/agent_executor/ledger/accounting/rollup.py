"""Which sums an entry is part of, so that questions about millions of entries have few rows."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from agent_executor.ledger.accounting.entry import UsageEntry

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

RollupDetail: TypeAlias = Literal["all", "agents", "users"]
"""What the sums of one span tell apart.

``all``: everything. ``agents``: everything but users. ``users``: users alone. The sums of everything
in an hour would be nearly as many as its entries.
"""


class RollupKey(NamedTuple):
    """Names a row of ``usage_rollups`` in an organization. What is not told apart is empty.

    Attributes:
        span_hours: 1, or 24 for a UTC day.
        start_ms: When the span began, in milliseconds since 1970-01-01 UTC.
    """

    detail: RollupDetail
    span_hours: int
    start_ms: int
    user_id: str
    agent_id: str
    model: str
    tool_name: str
    kind: str


class SpendingKey(NamedTuple):
    """What all entries that are part of the same sums have in common.

    Attributes:
        hour_ms: When the hour began in which they occurred.
    """

    hour_ms: int
    user_id: str
    agent_id: str
    model: str
    tool_name: str
    kind: str


def spending_key(entry: UsageEntry) -> SpendingKey:
    """Returns what decides of which sums an entry is part."""
    hour_ms = entry.occurred_at_ms // HOUR_MS * HOUR_MS
    who = (entry.user_id, entry.agent_id)
    return SpendingKey(hour_ms, *who, entry.model, entry.tool_name, entry.kind)


def rollup_keys(spending: SpendingKey) -> tuple[RollupKey, ...]:
    """Returns the sums of which entries are part."""
    hour_ms, user_id, *what = spending
    day_ms = hour_ms // DAY_MS * DAY_MS
    nothing = ("", "", "", "")
    return (
        RollupKey("all", 24, day_ms, user_id, *what),
        RollupKey("agents", 24, day_ms, "", *what),
        RollupKey("agents", 1, hour_ms, "", *what),
        RollupKey("users", 24, day_ms, user_id, *nothing),
        RollupKey("users", 1, hour_ms, user_id, *nothing),
    )

"""The ledger's tables, for migrations. The stores write their SQL by hand against them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA: Final = MetaData()

# The tables are STRICT, so that SQLite itself refuses a float where money belongs.
_LONG: Final = BigInteger().with_variant(Integer(), "sqlite")

RATE_CARDS: Final = Table(
    "rate_cards",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False, comment="the price list it was first taken from"),
    Column("body", LargeBinary, nullable=False, comment="RateCard as JSON"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

# Cards that organizations have made. Never edited; ``withdrawn_at_ms`` is set once.
ORGANIZATION_CARDS: Final = Table(
    "organization_cards",
    METADATA,
    Column("sequence", _LONG, primary_key=True, comment="a later card supersedes"),
    Column("organization_id", Text, nullable=False),
    Column("id", Text, nullable=False, comment="of a model's card, also in rate_cards"),
    Column("model", Text, nullable=False, comment="empty for a tool"),
    Column("tool_name", Text, nullable=False, comment="empty for a model"),
    Column("valid_from_ms", _LONG, nullable=False),
    Column("valid_until_ms", _LONG, nullable=True),
    Column("created_at_ms", _LONG, nullable=False),
    Column("withdrawn_at_ms", _LONG, nullable=True),
    Column("body", LargeBinary, nullable=False, comment="OrganizationCard as JSON"),
    UniqueConstraint("organization_id", "id", name="organization_cards_by_id"),
    sqlite_strict=True,
)

RESERVATIONS: Final = Table(
    "reservations",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("processing", Text, nullable=False),
    Column("speed", Text, nullable=False),
    Column("max_input_tokens", Integer, nullable=False),
    Column("max_output_tokens", Integer, nullable=False),
    Column("asked_output_tokens", Integer, nullable=False),
    Column("min_output_tokens", Integer, nullable=False),
    Column("writes_cache", Integer, nullable=False),
    Column("rate_card_id", Text, nullable=False, comment="empty for an amount"),
    Column("parent_id", Text, nullable=False),
    Column("held_nano_usd", _LONG, nullable=False),
    Column("remaining_nano_usd", _LONG, nullable=False),
    Column("drawn_nano_usd", _LONG, nullable=False),
    Column("spent_nano_usd", _LONG, nullable=False),
    Column("created_at_ms", _LONG, nullable=False),
    Column("ttl_ms", _LONG, nullable=False),
    Column("expires_at_ms", _LONG, nullable=False),
    Column("state", Text, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
# Open holds are few however many have ended.
Index(
    "reservations_open",
    RESERVATIONS.c.organization_id,
    RESERVATIONS.c.expires_at_ms,
    sqlite_where=RESERVATIONS.c.state == "open",
    postgresql_where=RESERVATIONS.c.state == "open",
)
# What others still draw from it is held though it has ended; there are hardly ever any.
Index(
    "reservations_ended_with_draws",
    RESERVATIONS.c.organization_id,
    sqlite_where=text("state <> 'open' AND remaining_nano_usd > 0"),
    postgresql_where=text("state <> 'open' AND remaining_nano_usd > 0"),
)
Index(
    "reservations_by_run",
    RESERVATIONS.c.organization_id,
    RESERVATIONS.c.run_id,
    RESERVATIONS.c.created_at_ms,
)

# Append-only: triggers refuse every other change.
USAGE_ENTRIES: Final = Table(
    "usage_entries",
    METADATA,
    Column("sequence", _LONG, primary_key=True, comment="the order of writing"),
    Column("organization_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("tool_name", Text, nullable=False),
    Column("input_tokens", _LONG, nullable=False),
    Column("output_tokens", _LONG, nullable=False),
    Column("cache_read_input_tokens", _LONG, nullable=False),
    Column("cache_creation_input_tokens_5m", _LONG, nullable=False),
    Column("cache_creation_input_tokens_1h", _LONG, nullable=False),
    Column("cost_nano_usd", _LONG, nullable=False),
    Column("rate_card_id", Text, nullable=False),
    Column("processing", Text, nullable=False),
    Column("speed", Text, nullable=False),
    Column("estimated", Integer, nullable=False),
    Column("is_test", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reservation_id", Text, nullable=False),
    Column("reservation_outcome", Text, nullable=False),
    Column("corrects_entry_id", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("content_digest", Text, nullable=False),
    Column("prefix_tokens", Integer, nullable=False),
    Column("history_tokens", Integer, nullable=False),
    Column("is_background", Integer, nullable=False),
    Column("occurred_at_ms", _LONG, nullable=False),
    Column("created_at_ms", _LONG, nullable=False),
    UniqueConstraint("organization_id", "id", name="usage_entries_by_id"),
    sqlite_strict=True,
)
# Entries are listed and exported by when they occurred, whoever's they are.
Index("usage_entries_by_time", USAGE_ENTRIES.c.organization_id, USAGE_ENTRIES.c.occurred_at_ms)
for _whose in ("run", "agent", "user"):
    Index(
        f"usage_entries_by_{_whose}",
        USAGE_ENTRIES.c.organization_id,
        USAGE_ENTRIES.c[f"{_whose}_id"],
        USAGE_ENTRIES.c.occurred_at_ms,
    )
Index("usage_entries_by_position", USAGE_ENTRIES.c.organization_id, USAGE_ENTRIES.c.sequence)
Index(
    "usage_entries_by_corrected",
    USAGE_ENTRIES.c.organization_id,
    USAGE_ENTRIES.c.corrects_entry_id,
    sqlite_where=USAGE_ENTRIES.c.corrects_entry_id != "",
    postgresql_where=USAGE_ENTRIES.c.corrects_entry_id != "",
)

# The sums of the entries of hours and UTC days, kept in the transaction that writes the entries; see
# accounting/rollup.py.
USAGE_ROLLUPS: Final = Table(
    "usage_rollups",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("detail", Text, primary_key=True, comment="what is told apart: all, agents or users"),
    Column("span_hours", Integer, primary_key=True, comment="1, or 24 for a UTC day"),
    Column("start_ms", _LONG, primary_key=True, comment="when the span of occurred_at_ms began"),
    Column("user_id", Text, primary_key=True),
    Column("agent_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("tool_name", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("entry_count", _LONG, nullable=False),
    Column("input_tokens", _LONG, nullable=False),
    Column("output_tokens", _LONG, nullable=False),
    Column("cache_read_input_tokens", _LONG, nullable=False),
    Column("cache_creation_input_tokens_5m", _LONG, nullable=False),
    Column("cache_creation_input_tokens_1h", _LONG, nullable=False),
    Column("cost_nano_usd", _LONG, nullable=False),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

BUDGETS: Final = Table(
    "budgets",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("limit_nano_usd", _LONG, nullable=False),
    Column("spending_window", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("alert_percents", Text, nullable=False, comment="a JSON array of integers"),
    Column("reserved_nano_usd", _LONG, nullable=False, comment="what is held against it"),
    Column(
        "counted_from_ms",
        _LONG,
        nullable=False,
        comment="no entry that occurred since is missing in its balances",
    ),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)
Index(
    "budgets_by_scope",
    BUDGETS.c.organization_id,
    BUDGETS.c.user_id,
    BUDGETS.c.agent_id,
    BUDGETS.c.run_id,
)
# There are hardly ever any, and where there are none they need not be looked for.
Index(
    "budgets_of_runs",
    BUDGETS.c.organization_id,
    sqlite_where=BUDGETS.c.run_id != "",
    postgresql_where=BUDGETS.c.run_id != "",
)

BUDGET_BALANCES: Final = Table(
    "budget_balances",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("window_start_ms", _LONG, primary_key=True, comment="0 for a budget without an end"),
    Column("settled_nano_usd", _LONG, nullable=False, comment="sum of the window's entries"),
    Column("alerted_percent", Integer, nullable=False, comment="the highest that raised an event"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

BUDGET_EVENTS: Final = Table(
    "budget_events",
    METADATA,
    Column("sequence", _LONG, primary_key=True, comment="the event's id"),
    Column("organization_id", Text, nullable=False),
    Column("budget_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("percent", Integer, nullable=False),
    Column("entry_id", Text, nullable=False, comment="empty if the limit was lowered"),
    Column("limit_nano_usd", _LONG, nullable=False),
    Column("settled_nano_usd", _LONG, nullable=False),
    Column("reserved_nano_usd", _LONG, nullable=False),
    Column("window_start_ms", _LONG, nullable=False),
    Column("created_at_ms", _LONG, nullable=False),
    sqlite_strict=True,
)
Index("budget_events_by_budget", BUDGET_EVENTS.c.organization_id, BUDGET_EVENTS.c.budget_id)

"""The ledger's tables, for migrations. The stores write their SQL by hand against them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
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

RESERVATIONS: Final = Table(
    "reservations",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("max_input_tokens", Integer, nullable=False),
    Column("max_output_tokens", Integer, nullable=False),
    Column("writes_cache", Integer, nullable=False),
    Column("rate_card_id", Text, ForeignKey("rate_cards.id"), nullable=False),
    Column("held_nano_usd", _LONG, nullable=False),
    Column("created_at_ms", _LONG, nullable=False),
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
)

# Append-only: triggers refuse every other change.
USAGE_ENTRIES: Final = Table(
    "usage_entries",
    METADATA,
    Column("sequence", Integer, primary_key=True, comment="the order of writing"),
    Column("organization_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cache_read_input_tokens", Integer, nullable=False),
    Column("cache_creation_input_tokens_5m", Integer, nullable=False),
    Column("cache_creation_input_tokens_1h", Integer, nullable=False),
    Column("cost_nano_usd", _LONG, nullable=False),
    Column("rate_card_id", Text, ForeignKey("rate_cards.id"), nullable=False),
    Column("estimated", Integer, nullable=False),
    Column("is_test", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reservation_id", Text, nullable=False),
    Column("reservation_outcome", Text, nullable=False),
    Column("created_at_ms", _LONG, nullable=False),
    Column("kind", Text, nullable=False),
    UniqueConstraint("organization_id", "id", name="usage_entries_by_id"),
    sqlite_strict=True,
)
Index("usage_entries_by_time", USAGE_ENTRIES.c.organization_id, USAGE_ENTRIES.c.created_at_ms)
Index(
    "usage_entries_by_run",
    USAGE_ENTRIES.c.organization_id,
    USAGE_ENTRIES.c.run_id,
    USAGE_ENTRIES.c.created_at_ms,
)
Index(
    "usage_entries_by_agent",
    USAGE_ENTRIES.c.organization_id,
    USAGE_ENTRIES.c.agent_id,
    USAGE_ENTRIES.c.created_at_ms,
)
Index(
    "usage_entries_by_user",
    USAGE_ENTRIES.c.organization_id,
    USAGE_ENTRIES.c.user_id,
    USAGE_ENTRIES.c.created_at_ms,
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
    Column("reserved_nano_usd", _LONG, nullable=False, comment="sum of the open reservations"),
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

BUDGET_BALANCES: Final = Table(
    "budget_balances",
    METADATA,
    Column("organization_id", Text, primary_key=True),
    Column("budget_id", Text, primary_key=True),
    Column("window_start_ms", _LONG, primary_key=True, comment="0 for a budget without an end"),
    Column("settled_nano_usd", _LONG, nullable=False, comment="sum of the window's entries"),
    sqlite_with_rowid=False,
    sqlite_strict=True,
)

BUDGET_OVERRUNS: Final = Table(
    "budget_overruns",
    METADATA,
    Column("sequence", Integer, primary_key=True),
    Column("organization_id", Text, nullable=False),
    Column("budget_id", Text, nullable=False),
    Column("entry_id", Text, nullable=False, comment="empty if the limit was lowered"),
    Column("excess_nano_usd", _LONG, nullable=False),
    Column("recorded_at_ms", _LONG, nullable=False),
    sqlite_strict=True,
)
Index("budget_overruns_by_budget", BUDGET_OVERRUNS.c.organization_id, BUDGET_OVERRUNS.c.budget_id)

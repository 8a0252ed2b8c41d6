"""Create the tables of rate cards, reservations, entries and budgets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "rate_cards",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    _create_reservations()
    _create_usage_entries()
    _create_budgets()


def _create_reservations() -> None:
    op.create_table(
        "reservations",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("max_input_tokens", sa.Integer, nullable=False),
        sa.Column("max_output_tokens", sa.Integer, nullable=False),
        sa.Column("writes_cache", sa.Integer, nullable=False),
        sa.Column("rate_card_id", sa.Text, sa.ForeignKey("rate_cards.id"), nullable=False),
        sa.Column("held_nano_usd", LONG, nullable=False),
        sa.Column("created_at_ms", LONG, nullable=False),
        sa.Column("expires_at_ms", LONG, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_index(
        "reservations_open",
        "reservations",
        ["organization_id", "expires_at_ms"],
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )


def _create_usage_entries() -> None:
    op.create_table(
        "usage_entries",
        sa.Column("sequence", LONG, primary_key=True),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("organization_id", "id", "user_id", "agent_id", "run_id", "model")
        ),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("cache_read_input_tokens", sa.Integer, nullable=False),
        sa.Column("cache_creation_input_tokens_5m", sa.Integer, nullable=False),
        sa.Column("cache_creation_input_tokens_1h", sa.Integer, nullable=False),
        sa.Column("cost_nano_usd", LONG, nullable=False),
        sa.Column("rate_card_id", sa.Text, sa.ForeignKey("rate_cards.id"), nullable=False),
        sa.Column("estimated", sa.Integer, nullable=False),
        sa.Column("is_test", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("reservation_id", sa.Text, nullable=False),
        sa.Column("reservation_outcome", sa.Text, nullable=False),
        sa.Column("created_at_ms", LONG, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.UniqueConstraint("organization_id", "id", name="usage_entries_by_id"),
        sqlite_strict=True,
    )
    op.create_index("usage_entries_by_time", "usage_entries", ["organization_id", "created_at_ms"])
    for part in ("run", "agent", "user"):
        op.create_index(
            f"usage_entries_by_{part}",
            "usage_entries",
            ["organization_id", f"{part}_id", "created_at_ms"],
        )
    _refuse_changes()


def _refuse_changes() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'the ledger is append-only' "
            "USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(
            "CREATE TRIGGER usage_entries_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE "
            "ON usage_entries EXECUTE FUNCTION refuse_change()"
        )
        return
    for change in ("update", "delete"):
        op.execute(
            f"CREATE TRIGGER usage_entries_refuse_{change} BEFORE {change} ON usage_entries "
            "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        )


def _create_budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("limit_nano_usd", LONG, nullable=False),
        sa.Column("spending_window", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("reserved_nano_usd", LONG, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_index(
        "budgets_by_scope", "budgets", ["organization_id", "user_id", "agent_id", "run_id"]
    )
    op.create_table(
        "budget_balances",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("budget_id", sa.Text, primary_key=True),
        sa.Column("window_start_ms", LONG, primary_key=True),
        sa.Column("settled_nano_usd", LONG, nullable=False),
        sqlite_with_rowid=False,
        sqlite_strict=True,
    )
    op.create_table(
        "budget_overruns",
        sa.Column("sequence", LONG, primary_key=True),
        sa.Column("organization_id", sa.Text, nullable=False),
        sa.Column("budget_id", sa.Text, nullable=False),
        sa.Column("entry_id", sa.Text, nullable=False),
        sa.Column("excess_nano_usd", LONG, nullable=False),
        sa.Column("recorded_at_ms", LONG, nullable=False),
        sqlite_strict=True,
    )
    op.create_index(
        "budget_overruns_by_budget", "budget_overruns", ["organization_id", "budget_id"]
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in (
        "budget_overruns",
        "budget_balances",
        "budgets",
        "usage_entries",
        "reservations",
        "rate_cards",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")

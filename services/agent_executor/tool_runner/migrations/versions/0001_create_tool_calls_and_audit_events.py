"""Create the tables of tool calls and audit events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "tool_calls",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("tool_call_id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("tool_name", sa.Text, nullable=False),
        sa.Column("arguments_sha256", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("success", sa.Integer),
        sa.Column("result_json", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("code", sa.Text),
        sa.Column("finished_at_ms", sa.BigInteger),
        sa.Column("duration_ms", sa.Integer),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "tool_calls_intents",
        "tool_calls",
        ["started_at_ms"],
        sqlite_where=sa.text("success IS NULL"),
        postgresql_where=sa.text("success IS NULL"),
    )
    op.create_table(
        "audit_events",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("tool_call_id", sa.Text, nullable=False),
        sa.Column("tool_name", sa.Text, nullable=False),
        sa.Column("arguments_sha256", sa.Text, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("result_sha256", sa.Text, nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "audit_events_by_run",
        "audit_events",
        ["organization_id", "run_id", "sequence"],
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("audit_events")
    op.drop_table("tool_calls")

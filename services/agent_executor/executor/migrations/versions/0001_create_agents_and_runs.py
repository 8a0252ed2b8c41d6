"""Create the tables of agents, runs, events and leases."""

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
        "agents",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("agent_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("deleted", sa.Integer, nullable=False, server_default="0"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "agent_versions",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("agent_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text, primary_key=True),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in (
                "organization_id",
                "user_id",
                "permissions",
                "agent_id",
            )
        ),
        sa.Column("agent_version", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("is_test", sa.Integer, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=False),
        sa.Column("response", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("tokens_used", sa.BigInteger, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("last_sequence", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("runs_by_organization", "runs", ["organization_id", "run_id"])
    is_unfinished = sa.text("ended_at_ms = 0")
    op.create_index(
        "runs_unfinished",
        "runs",
        ["owner", "run_id"],
        sqlite_where=is_unfinished,
        postgresql_where=is_unfinished,
    )
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "executors",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("lease_expires_at_ms", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("executors", "run_events", "runs", "agent_versions", "agents"):
        op.drop_table(table)

"""Add what makes the repeat of an agent's creation known as such."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table. No agent of before was created under a key."""
    op.create_table(
        "agent_keys",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_digest", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("agent_keys_by_time", "agent_keys", ["created_at_ms"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("agent_keys")

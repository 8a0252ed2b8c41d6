"""Add conversations, and what each of their runs adds to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TEXT

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As in tables.py: compared as the bytes that they are.
ID = sa.Text().with_variant(TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables. No run of before belongs to a conversation."""
    op.create_table(
        "conversations",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("conversation_id", ID, primary_key=True),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("last_run_id", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("run_count", sa.Integer, nullable=False),
        sa.Column("part_count", sa.Integer, nullable=False),
        sa.Column("message_count", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("applied_trim", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "conversations_by_time",
        "conversations",
        ["organization_id", "updated_at_ms", "conversation_id"],
    )
    op.create_table(
        "conversation_parts",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("conversation_id", ID, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("first_index", sa.Integer, nullable=False),
        sa.Column("end_index", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("messages", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("conversation_parts")
    op.drop_table("conversations")

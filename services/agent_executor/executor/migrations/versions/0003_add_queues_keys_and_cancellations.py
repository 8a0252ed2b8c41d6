"""Add what lets runs wait for their turn, be parked, be known by a key, and be asked to end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXTS = ("conversation_id", "cancel_user_id", "cancel_reason")
TIMES = ("wake_at_ms", "cancel_requested_at_ms")


def upgrade() -> None:
    """Add the columns and the table. A run of before has an owner, and none of the rest."""
    for name in TEXTS:
        op.add_column("runs", sa.Column(name, sa.Text, nullable=False, server_default=""))
    for name in TIMES:
        op.add_column("runs", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "idempotency_keys",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request_digest", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("idempotency_keys_by_time", "idempotency_keys", ["created_at_ms"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("idempotency_keys")
    for name in (*TIMES, *TEXTS):
        op.drop_column("runs", name)

"""Create the outbox: which ends of runs are to be told, and what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TO_COME = sa.text("due_at_ms > 0")


def upgrade() -> None:
    """Create it. Nobody is told of the runs of before."""
    op.add_column("runs", sa.Column("has_webhook", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "webhook_deliveries",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("organization_id", sa.Text, nullable=False),
        sa.Column("webhook_id", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("secret_ciphertext", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("due_at_ms", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "webhook_deliveries_to_come",
        "webhook_deliveries",
        ["origin", "due_at_ms", "run_id"],
        sqlite_where=TO_COME,
        postgresql_where=TO_COME,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("webhook_deliveries")
    op.drop_column("runs", "has_webhook")

"""Create the tables of model calls that wait for batches of their provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TO_WAKE = sa.text("has_outcome = 1 AND is_abandoned = 0")


def upgrade() -> None:
    """Create them. No run of before waits for a batch."""
    op.create_table(
        "provider_batches",
        sa.Column("batch_key", sa.Text, primary_key=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("api_key_ciphertext", sa.LargeBinary, nullable=False),
        sa.Column("base_url", sa.Text, nullable=False),
        sa.Column("batch_id", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("look_at_ms", sa.BigInteger, nullable=False),
        sa.Column("is_cancelled", sa.Integer, nullable=False),
        sa.Column("is_collected", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("provider_batches_by_look", "provider_batches", ["look_at_ms", "batch_key"])
    op.create_table(
        "provider_batch_calls",
        sa.Column("model_call_id", sa.Text, primary_key=True),
        sa.Column("batch_key", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("organization_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("details", sa.LargeBinary, nullable=False),
        sa.Column("is_abandoned", sa.Integer, nullable=False),
        sa.Column("has_outcome", sa.Integer, nullable=False),
        sa.Column("outcome", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("provider_batch_calls_by_batch", "provider_batch_calls", ["batch_key"])
    op.create_index("provider_batch_calls_by_run", "provider_batch_calls", ["run_id"])
    op.create_index(
        "provider_batch_calls_to_wake",
        "provider_batch_calls",
        ["run_id"],
        sqlite_where=TO_WAKE,
        postgresql_where=TO_WAKE,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("provider_batch_calls")
    op.drop_table("provider_batches")

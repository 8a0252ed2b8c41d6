"""Add which run started a run, and from which amount it draws."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = ("parent_run_id", "amount_id")


def upgrade() -> None:
    """Add the columns. A run of before has neither parent nor amount."""
    for name in COLUMNS:
        op.add_column("runs", sa.Column(name, sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the columns."""
    for name in reversed(COLUMNS):
        op.drop_column("runs", name)

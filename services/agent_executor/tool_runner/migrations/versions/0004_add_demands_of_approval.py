"""Add whether each call of a custom tool waits for a person's decision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Versions of before demand nothing."""
    op.add_column(
        "custom_tool_versions",
        sa.Column("requires_approval", sa.Integer, nullable=False, server_default="0"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_column("custom_tool_versions", "requires_approval")

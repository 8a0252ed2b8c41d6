"""Let an organization's runs be found that are under way or have just ended."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("runs_by_end", "runs", ["organization_id", "ended_at_ms", "run_id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("runs_by_end", "runs")

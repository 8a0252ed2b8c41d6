"""Let the runs that wait for their turn be found by organization."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = "runs_unfinished"
UNFINISHED = sa.text("ended_at_ms = 0")


def upgrade() -> None:
    """Make the index of unfinished runs anew, with the organization in it."""
    _replace("owner", "wake_at_ms", "organization_id", "run_id")


def downgrade() -> None:
    """Make it anew without."""
    _replace("owner", "run_id")


def _replace(*columns: str) -> None:
    op.drop_index(NAME, "runs")
    op.create_index(
        NAME, "runs", list(columns), sqlite_where=UNFINISHED, postgresql_where=UNFINISHED
    )

"""Let runs be found by whose turn it is, by their parent and by their conversation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = "runs_unfinished"
LINKS = ("parent_run_id", "conversation_id")
UNFINISHED = sa.text("ended_at_ms = 0")


def upgrade() -> None:
    """Make the index of unfinished runs anew, with the organization in it, and the others."""
    _replace("owner", "wake_at_ms", "organization_id", "run_id")
    for name in LINKS:
        is_linked = sa.text(f"{name} <> ''")
        op.create_index(
            f"runs_by_{name}",
            "runs",
            ["organization_id", name, "run_id"],
            sqlite_where=is_linked,
            postgresql_where=is_linked,
        )


def downgrade() -> None:
    """Drop the others, and make it anew without."""
    for name in LINKS:
        op.drop_index(f"runs_by_{name}", "runs")
    _replace("owner", "run_id")


def _replace(*columns: str) -> None:
    op.drop_index(NAME, "runs")
    op.create_index(
        NAME, "runs", list(columns), sqlite_where=UNFINISHED, postgresql_where=UNFINISHED
    )

"""Name the tool-runner that a call was dispatched by, so that others know when it is dead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; calls of before have 0, which is nobody."""
    op.add_column(
        "tool_calls", sa.Column("runner_id", sa.Integer, nullable=False, server_default="0")
    )

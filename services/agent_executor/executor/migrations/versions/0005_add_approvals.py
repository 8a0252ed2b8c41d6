"""Create the table of tool calls that people decide about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXTS = (
    "organization_id",
    "agent_id",
    "tool_name",
    "arguments_json",
    "reason",
    "state",
    "decided_by",
    "decision_reason",
    "edited_arguments_json",
)
OPEN = sa.text("is_taken_up = 0")
DECIDED = sa.text("is_taken_up = 0 AND state <> 'pending'")


def upgrade() -> None:
    """Create it. The indexes hold only what waits."""
    op.create_table(
        "approvals",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("tool_call_id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in TEXTS),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("created_at_ms", "expires_at_ms", "decided_at_ms")
        ),
        sa.Column("is_taken_up", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    for name, columns, where in (
        ("approvals_open", ["organization_id", "created_at_ms", "tool_call_id"], OPEN),
        ("approvals_by_expiry", ["expires_at_ms"], OPEN),
        ("approvals_decided", ["run_id"], DECIDED),
    ):
        op.create_index(name, "approvals", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Drop it."""
    op.drop_table("approvals")

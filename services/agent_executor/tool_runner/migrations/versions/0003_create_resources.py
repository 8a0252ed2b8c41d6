"""Create the tables of custom tools, policy and credentials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "custom_tools",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("newest_version", sa.Text, nullable=False),
    )
    op.create_table(
        "custom_tool_versions",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("class_name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("input_schema_json", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("timeout_seconds", sa.Double, nullable=False),
        sa.Column("cache_ttl_seconds", sa.Integer, nullable=False),
        sa.Column("allowed_origins", sa.Text, nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "rate_limits",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("tool_name", _NAME, primary_key=True),
        sa.Column("scope", _NAME, primary_key=True),
        sa.Column("max_calls", sa.Integer, nullable=False),
        sa.Column("window_seconds", sa.Double, nullable=False),
    )
    op.create_table(
        "allowed_domains",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("domain", _NAME, primary_key=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "credentials",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
        sa.Column("header_name", sa.Text, nullable=False),
        sa.Column("header_prefix", sa.Text, nullable=False),
        sa.Column("allowed_origins", sa.Text, nullable=False),
        sa.Column("tools", sa.Text, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in (
        "credentials",
        "allowed_domains",
        "rate_limits",
        "custom_tool_versions",
        "custom_tools",
    ):
        op.drop_table(table)

"""Create the tables of MCP servers and the versions of their tools."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "mcp_servers",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("credential_name", sa.Text, nullable=False),
        sa.Column("allowed_tools", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("trusts_hints", sa.Integer, nullable=False),
        sa.Column("requires_approval", sa.Integer, nullable=False),
        sa.Column("timeout_seconds", sa.Double, nullable=False),
        sa.Column("server_title", sa.Text, nullable=False),
        sa.Column("protocol_version", sa.Text, nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("refreshed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "mcp_tool_versions",
        sa.Column("organization_id", sa.Text, primary_key=True),
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("server_name", _NAME, nullable=False),
        sa.Column("server_tool_name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("input_schema_json", sa.Text, nullable=False),
        sa.Column("effect", sa.Text, nullable=False),
        sa.Column("requires_approval", sa.Integer, nullable=False),
        sa.Column("timeout_seconds", sa.Double, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "mcp_tool_versions_by_server",
        "mcp_tool_versions",
        ["organization_id", "server_name", "generation"],
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("mcp_tool_versions")
    op.drop_table("mcp_servers")

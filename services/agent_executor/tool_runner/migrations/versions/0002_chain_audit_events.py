"""Chain the audit events of each organization, and find them by user, time and decision."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What a digest is computed of, in this order, followed by the digest of the event before; as it was
# when this revision was written, whatever later revisions add.
_FIELDS = (
    "organization_id",
    "sequence",
    "user_id",
    "run_id",
    "agent_id",
    "tool_call_id",
    "tool_name",
    "arguments_sha256",
    "decision",
    "rule",
    "outcome",
    "code",
    "result_sha256",
    "duration_ms",
    "trace_id",
    "created_at_ms",
)
_NO_TOOL_VERSION = ""
_NO_FACTS: list[str] = []
_FIRST_PREVIOUS_SHA256 = "0" * 64
_PAGE_ROWS = 1_000


def upgrade() -> None:
    """Add the columns and indexes, and chain the events that are there."""
    for name, default in (
        ("tool_version", ""),
        ("facts", "[]"),
        ("previous_sha256", ""),
        ("sha256", ""),
    ):
        op.add_column(
            "audit_events", sa.Column(name, sa.Text, nullable=False, server_default=default)
        )
    _chain_events(op.get_bind())
    for name, column in (
        ("audit_events_by_user", "user_id"),
        ("audit_events_by_time", "created_at_ms"),
    ):
        op.create_index(name, "audit_events", ["organization_id", column, "sequence"])
    op.create_index(
        "audit_events_exceptional",
        "audit_events",
        ["organization_id", "decision", "sequence"],
        sqlite_where=sa.text("decision <> 'allowed'"),
        postgresql_where=sa.text("decision <> 'allowed'"),
    )


def _chain_events(connection: sa.Connection) -> None:
    """Compute the digests of every event, oldest first, page by page."""
    events = sa.table(
        "audit_events",
        *(sa.column(name) for name in (*_FIELDS, "previous_sha256", "sha256")),
    )
    keys = (events.c.organization_id, events.c.sequence)
    page = (
        sa.select(*(events.c[name] for name in _FIELDS))
        .where(
            sa.tuple_(*keys)
            > sa.tuple_(
                sa.bindparam("organization", type_=sa.Text),
                sa.bindparam("after", type_=sa.BigInteger),
            )
        )
        .order_by(*keys)
        .limit(_PAGE_ROWS)
    )
    update = (
        sa.update(events)
        .where(
            events.c.organization_id == sa.bindparam("organization", type_=sa.Text),
            events.c.sequence == sa.bindparam("at", type_=sa.BigInteger),
        )
        .values(
            previous_sha256=sa.bindparam("previous", type_=sa.Text),
            sha256=sa.bindparam("digest", type_=sa.Text),
        )
    )
    organization, sequence, previous = "", 0, _FIRST_PREVIOUS_SHA256
    while rows := connection.execute(page, {"organization": organization, "after": sequence}).all():
        changes = []
        for row in rows:
            if row.organization_id != organization:
                previous = _FIRST_PREVIOUS_SHA256
            organization, sequence = row.organization_id, row.sequence
            values = [*row, _NO_TOOL_VERSION, _NO_FACTS, previous]
            text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
            digest = hashlib.sha256(text.encode()).hexdigest()
            changes.append(
                {"organization": organization, "at": sequence, "previous": previous}
                | {"digest": digest}
            )
            previous = digest
        connection.execute(update, changes)


def downgrade() -> None:
    """Drop the indexes and the columns."""
    for name in ("audit_events_by_user", "audit_events_by_time", "audit_events_exceptional"):
        op.drop_index(name, "audit_events")
    for name in ("tool_version", "facts", "previous_sha256", "sha256"):
        op.drop_column("audit_events", name)

"""Inserts that let in only so many rows for each organization."""

from __future__ import annotations

from sqlalchemy import Table, and_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import Insert, insert

from agent_executor.storage.statements import Row


def insert_within(table: Table, row: Row, rows_max: int) -> Insert:
    """Returns an insert of one row that does nothing if the organization has enough others.

    A row of the same key is a conflict, and not refused for the limit; what happens then is the
    caller's to add. Processes that insert at the same instant may go past the limit by as many.

    Args:
        table: Has ``organization_id`` in its key.
        row: The whole row.
        rows_max: How many rows the organization may have.
    """
    columns = table.c
    rows = select(func.count()).where(columns.organization_id == row["organization_id"])
    is_this = and_(*(column == row[column.name] for column in table.primary_key))
    is_there = select(columns.organization_id).where(is_this)
    values = [literal(row[column.name], column.type).label(column.name) for column in columns]
    return insert(table).from_select(
        [column.name for column in columns],
        select(*values).where(or_(is_there.exists(), rows.scalar_subquery() < rows_max)),
    )

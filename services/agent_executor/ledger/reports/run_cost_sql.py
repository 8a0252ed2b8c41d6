"""Statements of what a run cost, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, case, exists, func, or_, select

from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.rows import RESERVATION_NAMES, reservation_of_row
from agent_executor.ledger.tables import RESERVATIONS, USAGE_ENTRIES
from agent_executor.storage.statements import Row


def estimated_statement(organization_id: str, run_id: str) -> Select[Any]:
    """Returns the statement of what estimated calls came to, with what has corrected them."""
    entry, corrected = USAGE_ENTRIES, USAGE_ENTRIES.alias("corrected")
    corrects_an_estimate = exists().where(
        entry.c.corrects_entry_id != "",
        corrected.c.organization_id == organization_id,
        corrected.c.id == entry.c.corrects_entry_id,
        corrected.c.estimated == 1,
    )
    return select(func.coalesce(func.sum(entry.c.cost_nano_usd), 0).label("nano_usd")).where(
        entry.c.organization_id == organization_id,
        entry.c.run_id == run_id,
        or_(entry.c.estimated == 1, corrects_an_estimate),
    )


def reservations_statement(organization_id: str, run_id: str, limit: int) -> Select[Any]:
    """Returns the statement of a run's reservations, oldest first."""
    held = RESERVATIONS.c
    statement = select(RESERVATIONS).where(
        held.organization_id == organization_id, held.run_id == run_id
    )
    return statement.order_by(held.created_at_ms, held.id).limit(limit)


def reserved_statement(organization_id: str, run_id: str, now_ms: int) -> Select[Any]:
    """Returns the statement of what is held for a run; a part of another of its holds is no more."""
    held, parent = RESERVATIONS, RESERVATIONS.alias("parent")
    has_expired = and_(held.c.state == "open", held.c.expires_at_ms <= now_ms)
    remaining = case(
        (has_expired, held.c.drawn_nano_usd),
        else_=held.c.remaining_nano_usd,
    )
    has_parent_in_run = exists().where(
        held.c.parent_id != "",
        parent.c.organization_id == organization_id,
        parent.c.id == held.c.parent_id,
        parent.c.run_id == run_id,
    )
    return select(func.coalesce(func.sum(remaining), 0).label("nano_usd")).where(
        held.c.organization_id == organization_id, held.c.run_id == run_id, ~has_parent_in_run
    )


def reservation_of(row: Row) -> Reservation:
    """Returns the reservation of a row."""
    return reservation_of_row([row[name] for name in RESERVATION_NAMES])

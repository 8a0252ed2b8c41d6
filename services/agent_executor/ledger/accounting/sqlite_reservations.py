"""SQL of reservations and entries. Every function runs inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from agent_executor.ledger.accounting.budget import BudgetStatus, Overrun, Refusal, refuse
from agent_executor.ledger.accounting.entry import (
    Settlement,
    UsageEntry,
    price,
    reservation_outcome,
)
from agent_executor.ledger.accounting.reservation import Reservation, ReservationState
from agent_executor.ledger.accounting.sqlite_budgets import (
    Scope,
    add_settled,
    change_reserved,
    free_expired,
    has_budgets,
    record_overrun,
    statuses_that_apply,
)
from agent_executor.ledger.accounting.store import Settled
from agent_executor.ledger.accounting.token_usage import TokenUsage
from agent_executor.ledger.prices.rate_card import RateCard

# In the order of the fields of Reservation.
_RESERVATION_COLUMNS: Final = """
    id, organization_id, user_id, agent_id, run_id, model, max_input_tokens, max_output_tokens,
    writes_cache, rate_card_id, held_nano_usd, created_at_ms, expires_at_ms, state
"""
_WRITES_CACHE: Final = 8

# In the order of the fields of UsageEntry, those of its TokenUsage in their place.
ENTRY_COLUMNS: Final = """
    id, organization_id, user_id, agent_id, run_id, model, input_tokens, output_tokens,
    cache_read_input_tokens, cache_creation_input_tokens_5m, cache_creation_input_tokens_1h,
    cost_nano_usd, rate_card_id, estimated, is_test, attempt, reservation_id, reservation_outcome,
    created_at_ms, kind
"""
_USAGE: Final = 6

_SELECT_RESERVATION: Final = f"""
    SELECT {_RESERVATION_COLUMNS} FROM reservations WHERE organization_id = ? AND id = ?
"""  # noqa: S608 -- made of constants
_INSERT_RESERVATION: Final = f"""
    INSERT INTO reservations ({_RESERVATION_COLUMNS})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""  # noqa: S608 -- made of constants
_SET_STATE: Final = "UPDATE reservations SET state = ? WHERE organization_id = ? AND id = ?"
_SELECT_ENTRY: Final = f"""
    SELECT {ENTRY_COLUMNS} FROM usage_entries WHERE organization_id = ? AND id = ?
"""  # noqa: S608 -- made of constants
_INSERT_ENTRY: Final = f"""
    INSERT INTO usage_entries ({ENTRY_COLUMNS})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""  # noqa: S608 -- made of constants
_SELECT_RATE_CARD: Final = "SELECT body FROM rate_cards WHERE id = ?"

_RATE_CARD_DECODER: Final = msgspec.json.Decoder(RateCard)


def reserve(connection: sqlite3.Connection, reservation: Reservation) -> Reservation | Refusal:
    """See ``ReservationStore.reserve``."""
    now_ms = reservation.created_at_ms
    statuses: list[BudgetStatus] = []
    if has_budgets(connection, reservation.organization_id):
        free_expired(connection, reservation.organization_id, now_ms)
        statuses = statuses_that_apply(connection, _scope(reservation, now_ms))
    refusal = refuse(statuses, reservation.held_nano_usd)
    if refusal is not None:
        stored = get_reservation(connection, reservation.organization_id, reservation.id, now_ms)
        return refusal if stored is None else stored
    inserted = connection.execute(_INSERT_RESERVATION, msgspec.structs.astuple(reservation))
    if inserted.rowcount == 0:
        stored = _select_reservation(connection, reservation.organization_id, reservation.id)
        assert stored is not None, "it was in the way"  # noqa: S101 -- same transaction
        return stored.as_of(now_ms)
    if statuses:
        change_reserved(connection, _scope(reservation, now_ms), reservation.held_nano_usd)
    return reservation


def settle(
    connection: sqlite3.Connection, settlement: Settlement, card: RateCard, now_ms: int
) -> Settled:
    """See ``ReservationStore.settle``."""
    stored = None
    if settlement.reservation_id:
        stored = _select_reservation(
            connection, settlement.organization_id, settlement.reservation_id
        )
    reservation = None if stored is None else stored.as_of(now_ms)
    if (
        reservation is not None
        and reservation.rate_card_id != card.id
        and reservation.model == settlement.model
    ):
        card = get_rate_card(connection, reservation.rate_card_id) or card
    entry = price(settlement, card, reservation_outcome(settlement, reservation), now_ms)
    if connection.execute(_INSERT_ENTRY, _entry_row(entry)).rowcount == 0:
        key = (settlement.organization_id, settlement.entry_id)
        return Settled(read_entry(connection.execute(_SELECT_ENTRY, key).fetchone()), is_new=False)
    counts = has_budgets(connection, settlement.organization_id)
    freed_nano_usd = 0
    if stored is not None and stored.state == "open":
        state: ReservationState = "expired" if entry.reservation_outcome == "expired" else "settled"
        freed_nano_usd = _end_hold(connection, stored, state, now_ms, counts=counts)
    overruns = _charge(connection, entry, freed_nano_usd) if counts else ()
    return Settled(entry, is_new=True, overruns=overruns)


def void(
    connection: sqlite3.Connection, organization_id: str, reservation_id: str, now_ms: int
) -> Reservation | None:
    """See ``ReservationStore.void``."""
    stored = _select_reservation(connection, organization_id, reservation_id)
    if stored is None or stored.state != "open":
        return stored
    reservation = stored.as_of(now_ms)
    if reservation.state == "open":
        reservation = stored.in_state("voided")
    counts = has_budgets(connection, organization_id)
    _end_hold(connection, stored, reservation.state, now_ms, counts=counts)
    return reservation


def get_reservation(
    connection: sqlite3.Connection, organization_id: str, reservation_id: str, now_ms: int
) -> Reservation | None:
    """See ``ReservationStore.get_reservation``."""
    stored = _select_reservation(connection, organization_id, reservation_id)
    return None if stored is None else stored.as_of(now_ms)


def get_rate_card(connection: sqlite3.Connection, rate_card_id: str) -> RateCard | None:
    """See ``RateCardStore.get_rate_card``."""
    row = connection.execute(_SELECT_RATE_CARD, (rate_card_id,)).fetchone()
    return None if row is None else _RATE_CARD_DECODER.decode(row[0])


def _charge(
    connection: sqlite3.Connection, entry: UsageEntry, freed_nano_usd: int
) -> tuple[Overrun, ...]:
    """Adds an entry to the budgets that apply; returns those that it leaves over their limit."""
    now_ms = entry.created_at_ms
    scope = Scope(entry.organization_id, entry.user_id, entry.agent_id, entry.run_id, now_ms)
    add_settled(connection, scope, entry.cost_nano_usd)
    if entry.cost_nano_usd <= freed_nano_usd:
        return ()
    free_expired(connection, entry.organization_id, now_ms)
    return tuple(
        record_overrun(connection, status, entry.id, now_ms)
        for status in statuses_that_apply(connection, scope)
        if status.left_nano_usd < 0
    )


def read_entry(row: tuple[Any, ...]) -> UsageEntry:
    """Returns the entry of a row of ``ENTRY_COLUMNS``."""
    after = _USAGE + len(TokenUsage.__struct_fields__)
    usage = TokenUsage(*row[_USAGE:after])
    cost, rate_card_id, estimated, is_test, *rest = row[after:]
    values = (*row[:_USAGE], usage, cost, rate_card_id, bool(estimated), bool(is_test), *rest)
    return UsageEntry(*values)


def _entry_row(entry: UsageEntry) -> tuple[Any, ...]:
    values = msgspec.structs.astuple(entry)
    return (*values[:_USAGE], *msgspec.structs.astuple(entry.usage), *values[_USAGE + 1 :])


def _select_reservation(
    connection: sqlite3.Connection, organization_id: str, reservation_id: str
) -> Reservation | None:
    """Returns a reservation as it is stored; an open one may have expired by now."""
    row = connection.execute(_SELECT_RESERVATION, (organization_id, reservation_id)).fetchone()
    if row is None:
        return None
    values = (*row[:_WRITES_CACHE], bool(row[_WRITES_CACHE]), *row[_WRITES_CACHE + 1 :])
    return Reservation(*values)


def _end_hold(
    connection: sqlite3.Connection,
    stored: Reservation,
    state: ReservationState,
    now_ms: int,
    *,
    counts: bool,
) -> int:
    """Ends a reservation that is stored as open; returns the nano-dollars that this frees."""
    connection.execute(_SET_STATE, (state, stored.organization_id, stored.id))
    if counts:
        change_reserved(connection, _scope(stored, now_ms), -stored.held_nano_usd)
    return stored.held_nano_usd


def _scope(reservation: Reservation, now_ms: int) -> Scope:
    return Scope(
        reservation.organization_id,
        reservation.user_id,
        reservation.agent_id,
        reservation.run_id,
        now_ms,
    )

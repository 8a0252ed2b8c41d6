"""What is held: the sums in a tree of reservations and in budgets when one of them changes.

What is drawn from an amount is part of what the amount holds, so that only the top of a tree is held
against a budget that applies to all of it. What a call costs is taken out of every open amount above
it, as far as that has money which nobody else holds: it has become part of what is settled.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent_executor.ledger.accounting.book import Account, Book
from agent_executor.ledger.accounting.reservation import Reservation, ReservationState
from agent_executor.ledger.money import NanoUsd

# What a reservation holds or costs is carried up to each of them, while all others wait.
MAX_AMOUNTS_ABOVE: Final = 32


def accounts_charged(book: Book, reservation: Reservation) -> tuple[Account, ...]:
    """Returns the budgets that a reservation is held against: those that apply to no ancestor."""
    accounts = book.accounts_for((reservation.user_id, reservation.agent_id, reservation.run_id))
    parent_id = reservation.parent_id
    while accounts and parent_id:
        parent = book.reservations[parent_id]
        above = book.accounts_for((parent.user_id, parent.agent_id, parent.run_id))
        accounts = tuple(account for account in accounts if account not in above)
        parent_id = parent.parent_id
    return accounts


def is_too_deep(book: Book, parent: Reservation) -> bool:
    """Tells whether nothing more may draw from an amount, since there are so many above it."""
    depth, amount = 1, parent
    while amount.parent_id and depth <= MAX_AMOUNTS_ABOVE:
        amount = book.reservations[amount.parent_id]
        depth += 1
    return depth > MAX_AMOUNTS_ABOVE


def hold(book: Book, reservation: Reservation) -> None:
    """Adds a reservation, for which its parent and the budgets must have enough left."""
    book.put_reservation(reservation)
    for account in accounts_charged(book, reservation):
        account.reserved_nano_usd += reservation.held_nano_usd
    _draw(book, reservation.parent_id, reservation.held_nano_usd, 0)


def end(
    book: Book, reservation: Reservation, state: ReservationState, cost_nano_usd: int = 0
) -> Reservation:
    """Ends an open reservation and returns it as it is then.

    Args:
        book: The book.
        reservation: The reservation as it stands in the book.
        state: How it ends.
        cost_nano_usd: What the call has cost for which it was held.
    """
    freed = reservation.remaining_nano_usd - reservation.drawn_nano_usd
    ended = msgspec.structs.replace(
        reservation, state=state, remaining_nano_usd=reservation.drawn_nano_usd
    )
    book.put_reservation(ended)
    if freed:
        for account in accounts_charged(book, ended):
            account.reserved_nano_usd -= freed
    _draw(book, ended.parent_id, -freed, cost_nano_usd)
    return ended


def take_from_ancestors(book: Book, reservation: Reservation, cost_nano_usd: int) -> None:
    """Takes what a call has cost whose own hold had ended out of the amounts above it."""
    _draw(book, reservation.parent_id, 0, cost_nano_usd)


def free_expired(book: Book) -> None:
    """Ends the open reservations whose time is over."""
    for reservation_id in tuple(book.reservations):
        # It is looked up here, since the end of another one changes what its ancestors hold.
        reservation = book.reservations[reservation_id]
        if reservation.state == "open" and reservation.expires_at_ms <= book.now_ms:
            end(book, reservation, "expired")
            book.expired_count += 1


def _draw(book: Book, parent_id: str, drawn_change_nano_usd: int, cost_nano_usd: int) -> None:
    """Carries a change of what a reservation holds, and what it has cost, up to its ancestors."""
    while parent_id and (drawn_change_nano_usd or cost_nano_usd):
        amount = book.reservations[parent_id]
        drawn = remaining = amount.drawn_nano_usd + drawn_change_nano_usd
        if amount.state == "open":
            remaining = max(drawn, amount.remaining_nano_usd - cost_nano_usd)
        change = remaining - amount.remaining_nano_usd
        book.put_reservation(
            msgspec.structs.replace(
                amount,
                drawn_nano_usd=NanoUsd(drawn),
                remaining_nano_usd=NanoUsd(remaining),
                spent_nano_usd=NanoUsd(amount.spent_nano_usd + cost_nano_usd),
            )
        )
        if change:
            for account in accounts_charged(book, amount):
                account.reserved_nano_usd += change
        drawn_change_nano_usd = change
        parent_id = amount.parent_id

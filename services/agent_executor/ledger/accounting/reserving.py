"""Holding money, and letting go of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent_executor.ledger.accounting.book import Account, Book
from agent_executor.ledger.accounting.budget import Refusal
from agent_executor.ledger.accounting.commands import NotFound, Renew, Reserve, TooDeep, Void
from agent_executor.ledger.accounting.hold_tree import accounts_charged, end, hold, is_too_deep
from agent_executor.ledger.accounting.reservation import Reservation


def reserve(book: Book, command: Reserve) -> Reservation | Refusal | NotFound | TooDeep:
    """See ``Reserve``."""
    asked = command.reservation
    stored = book.reservations.get(asked.id)
    if stored is not None:
        return stored
    parent = None
    if asked.parent_id:
        parent = book.reservations.get(asked.parent_id)
        if parent is None or not parent.is_amount:
            return NotFound("parent")
        if is_too_deep(book, parent):
            return TooDeep()
    if command.card is not None:
        book.add_card(command.card)
    accounts = accounts_charged(book, asked)
    left_nano_usd = [account.left_nano_usd for account in accounts]
    if parent is not None:
        left_nano_usd.append(parent.left_nano_usd)
    admitted: Reservation | None = asked
    if parent is not None and parent.state != "open":
        admitted = None
    elif left_nano_usd and asked.held_nano_usd > (least := min(left_nano_usd)):
        admitted = _with_less_output(command, least)
    if admitted is None:
        return _refusal(command, accounts, parent)
    hold(book, admitted)
    return admitted


def _with_less_output(command: Reserve, left_nano_usd: int) -> Reservation | None:
    """Returns the reservation with as much output as there is money for; None: that is too little."""
    asked, card = command.reservation, command.card
    if card is None or not asked.min_output_tokens:
        return None
    tokens = card.output_that_fits(
        asked.max_input_tokens,
        asked.asked_output_tokens,
        left_nano_usd,
        writes_cache=asked.writes_cache,
    )
    if tokens is None or tokens < asked.min_output_tokens:
        return None
    held = card.worst_case(asked.max_input_tokens, tokens, writes_cache=asked.writes_cache)
    return msgspec.structs.replace(
        asked, max_output_tokens=tokens, held_nano_usd=held, remaining_nano_usd=held
    )


def _refusal(command: Reserve, accounts: Sequence[Account], parent: Reservation | None) -> Refusal:
    """Returns which limit refuses: the one with the least left."""
    asked, card = command.reservation, command.card
    least = asked.held_nano_usd
    if card is not None and asked.min_output_tokens:
        least = card.worst_case(
            asked.max_input_tokens, asked.min_output_tokens, writes_cache=asked.writes_cache
        )
    tightest = min(accounts, key=lambda one: (one.left_nano_usd, one.budget.id), default=None)
    if parent is not None and (
        parent.state != "open" or tightest is None or parent.left_nano_usd <= tightest.left_nano_usd
    ):
        return Refusal(None, least, parent.id, parent.left_nano_usd, parent.run_id)
    assert tightest is not None, "without a parent, a budget refuses"  # noqa: S101 -- for mypy
    return Refusal(tightest.status(), least)


def void(book: Book, command: Void) -> Reservation | NotFound:
    """See ``Void``."""
    stored = book.reservations.get(command.reservation_id)
    if stored is None:
        return NotFound("reservation")
    return end(book, stored, "voided") if stored.state == "open" else stored


def renew(book: Book, command: Renew) -> Reservation | NotFound:
    """See ``Renew``."""
    stored = book.reservations.get(command.reservation_id)
    if stored is None:
        return NotFound("reservation")
    if stored.state != "open" or command.expires_at_ms <= stored.expires_at_ms:
        return stored
    renewed = msgspec.structs.replace(stored, expires_at_ms=command.expires_at_ms)
    book.put_reservation(renewed)
    return renewed

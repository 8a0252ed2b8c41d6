"""Writing entries: what was used, and what it really was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from agent_executor.ledger.accounting.book import Book
from agent_executor.ledger.accounting.charging import charge
from agent_executor.ledger.accounting.commands import (
    Correct,
    NotFound,
    Record,
    Recorded,
    Rerate,
    Settle,
    Unchanged,
)
from agent_executor.ledger.accounting.entry import EntryKind, ReservationOutcome, UsageEntry
from agent_executor.ledger.accounting.hold_tree import end, take_from_ancestors
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenCounts
from agent_executor.ledger.money import NanoUsd
from agent_executor.ledger.prices.rate_card import RateCard

_NO_TOKENS: Final = TokenCounts()


def settle(book: Book, command: Settle) -> Recorded:
    """See ``Settle``."""
    asked = command.entry
    book.add_card(command.card)
    stored = book.entries.get(asked.id)
    if stored is not None:
        return Recorded(stored, is_new=False, tool_cost_nano_usd=_tool_cost(book, command))
    reservation = book.reservations.get(asked.reservation_id) if asked.reservation_id else None
    card = _card_of_call(book, command, reservation)
    entry = msgspec.structs.replace(
        asked,
        cost_nano_usd=card.cost(asked.usage),
        rate_card_id=card.id,
        reservation_outcome=_outcome(asked, reservation),
    )
    tool_entries: tuple[UsageEntry, ...] = ()
    tool_cost_nano_usd = 0
    if command.tool_entries:
        tool_entries = _new_entries(book, command, entry.reservation_outcome)
        tool_cost_nano_usd = sum(one.cost_nano_usd for one in tool_entries)
    if reservation is None:
        events = charge(book, (entry, *tool_entries))
    else:
        cost = entry.cost_nano_usd + tool_cost_nano_usd
        events = charge(book, (entry, *tool_entries), lambda: _free(book, reservation, cost))
    return Recorded(
        entry,
        is_new=True,
        tool_entries=tool_entries,
        tool_cost_nano_usd=tool_cost_nano_usd,
        events=events,
    )


def record(book: Book, command: Record) -> Recorded:
    """See ``Record``."""
    stored = book.entries.get(command.entry.id)
    if stored is not None:
        return Recorded(stored, is_new=False)
    return Recorded(command.entry, is_new=True, events=charge(book, (command.entry,)))


def correct(book: Book, command: Correct) -> Recorded | NotFound | Unchanged:
    """See ``Correct``."""
    stored = book.entries.get(command.entry.id)
    if stored is not None:
        return Recorded(stored, is_new=False, corrected_usage=_usage_with(book, command, stored))
    call = book.entries.get(command.entry.corrects_entry_id)
    if call is None:
        return NotFound("entry")
    corrections = book.corrections.get(call.id, ())
    card_id = next(
        (one.rate_card_id for one in reversed(corrections) if one.kind == "rerating"),
        call.rate_card_id,
    )
    card = book.cards.get(card_id)
    if call.kind != "model_call" or card is None:
        return Unchanged(call)
    usage, cost_nano_usd = _net(call, corrections)
    entry = _difference(
        call,
        command.entry,
        "correction",
        card,
        usage=command.usage.minus(usage),
        cost_nano_usd=NanoUsd(card.cost(command.usage) - cost_nano_usd),
    )
    events = charge(book, (entry,))
    return Recorded(entry, is_new=True, events=events, corrected_usage=command.usage)


def rerate(book: Book, command: Rerate) -> Recorded | NotFound | Unchanged:
    """See ``Rerate``."""
    stored = book.entries.get(command.entry.id)
    if stored is not None:
        return Recorded(stored, is_new=False)
    call = book.entries.get(command.entry.corrects_entry_id)
    if call is None:
        return NotFound("entry")
    usage, cost_nano_usd = _net(call, book.corrections.get(call.id, ()))
    difference = command.card.cost(usage) - cost_nano_usd
    if call.kind != "model_call" or difference == 0:
        return Unchanged(call)
    book.add_card(command.card)
    entry = _difference(
        call, command.entry, "rerating", command.card, cost_nano_usd=NanoUsd(difference)
    )
    return Recorded(entry, is_new=True, events=charge(book, (entry,)))


def _card_of_call(book: Book, command: Settle, reservation: Reservation | None) -> RateCard:
    entry = command.entry
    if (
        reservation is not None
        and reservation.model == entry.model
        and reservation.processing == entry.processing
        and reservation.speed == entry.speed
    ):
        return book.cards.get(reservation.rate_card_id, command.card)
    return command.card


def _outcome(asked: UsageEntry, reservation: Reservation | None) -> ReservationOutcome:
    if reservation is not None:
        return reservation.state
    return "unknown" if asked.reservation_id else "none"


def _free(book: Book, reservation: Reservation, cost_nano_usd: int) -> None:
    if reservation.state == "open":
        end(book, reservation, "settled", cost_nano_usd)
    else:
        take_from_ancestors(book, reservation, cost_nano_usd)


def _new_entries(
    book: Book, command: Settle, outcome: ReservationOutcome
) -> tuple[UsageEntry, ...]:
    """Returns the entries of tool calls whose ids are new, each id once."""
    new: dict[str, UsageEntry] = {}
    for entry in command.tool_entries:
        if entry.id not in {command.entry.id, *new} and entry.id not in book.entries:
            new[entry.id] = msgspec.structs.replace(
                entry,
                reservation_id=command.entry.reservation_id,
                reservation_outcome=outcome,
            )
    return tuple(new.values())


def _tool_cost(book: Book, command: Settle) -> int:
    """Returns what the tool calls cost that were settled with a call, for a repeat of it.

    A call that was tried again has the same tool calls; its first try has settled them.
    """
    ids = {one.id for one in command.tool_entries} - {command.entry.id}
    return sum(
        book.entries[one].cost_nano_usd
        for one in ids
        if one in book.entries and book.entries[one].reservation_id == command.entry.reservation_id
    )


def _net(call: UsageEntry, corrections: Iterable[UsageEntry]) -> tuple[TokenCounts, int]:
    """Returns what a call has come to: its tokens and its cost."""
    usage: TokenCounts = call.usage
    cost_nano_usd: int = call.cost_nano_usd
    for one in corrections:
        usage = usage.plus(one.usage)
        cost_nano_usd += one.cost_nano_usd
    return usage, cost_nano_usd


def _usage_with(book: Book, command: Correct, correction: UsageEntry) -> TokenCounts | None:
    """Returns the tokens that a call came to when a correction of it had been recorded."""
    call = book.entries.get(correction.corrects_entry_id)
    # The corrections of another call than the command names may not have been looked up.
    is_of_call = correction.corrects_entry_id == command.entry.corrects_entry_id
    if call is None or not is_of_call or correction.kind != "correction":
        return None
    corrections = book.corrections.get(call.id, [])
    last = next(number for number, one in enumerate(corrections) if one.id == correction.id)
    return _net(call, corrections[: last + 1])[0]


def _difference(
    call: UsageEntry,
    asked: UsageEntry,
    kind: EntryKind,
    card: RateCard,
    *,
    cost_nano_usd: NanoUsd,
    usage: TokenCounts = _NO_TOKENS,
) -> UsageEntry:
    """Returns the entry that changes a call: who used what, and when, is as in the call."""
    return msgspec.structs.replace(
        asked,
        kind=kind,
        user_id=call.user_id,
        agent_id=call.agent_id,
        run_id=call.run_id,
        model=call.model,
        processing=call.processing,
        speed=call.speed,
        is_test=call.is_test,
        occurred_at_ms=call.occurred_at_ms,
        usage=usage,
        cost_nano_usd=cost_nano_usd,
        rate_card_id=card.id,
    )

"""What the ledger can be told to do, and how it answers. A command names one organization."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from agent_executor.ledger.accounting.budget import BudgetEvent, Refusal
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.token_usage import TokenCounts, TokenUsage
from agent_executor.ledger.prices.rate_card import RateCard


class Reserve(msgspec.Struct, frozen=True):
    """Hold money: against every budget that applies, or from its parent, or not at all.

    A budget that applies to the parent as well is not charged a second time. If the worst case does
    not fit and ``reservation.min_output_tokens`` is set, as much output is held as does fit.

    Attributes:
        reservation: As it is asked for, open, with its worst case in ``held_nano_usd`` and
            ``remaining_nano_usd`` and ``max_output_tokens`` as ``asked_output_tokens``.
        card: Prices it; None for an amount.
    """

    reservation: Reservation
    card: RateCard | None = None

    @property
    def organization_id(self) -> str:
        """Whose it is."""
        return self.reservation.organization_id


class Settle(msgspec.Struct, frozen=True):
    """Record what a model call used and free its hold. Nothing prevents it: what was used counts.

    What it costs, tool calls included, is taken out of the open amounts above its reservation, as
    far as they have money that nobody else holds, and also if the reservation has ended before.

    Attributes:
        entry: As far as it is known: the cost and the reservation's outcome are found out. It is
            priced by the card of its reservation, if that is for the same model, processing and
            speed, and by ``card`` if not.
        card: The card that holds at present.
        tool_entries: Entries of the tool calls whose results the call was given, priced already;
            they get the call's reservation. One whose id is recorded is left as it is, whatever it
            records.
    """

    entry: UsageEntry
    card: RateCard
    tool_entries: tuple[UsageEntry, ...] = ()

    @property
    def organization_id(self) -> str:
        """Whose it is."""
        return self.entry.organization_id


class Record(msgspec.Struct, frozen=True):
    """Record an entry that is complete and priced, without a reservation."""

    entry: UsageEntry

    @property
    def organization_id(self) -> str:
        """Whose it is."""
        return self.entry.organization_id


class Correct(msgspec.Struct, frozen=True):
    """Record the difference between what a model call was entered with and what it really used.

    Attributes:
        entry: The correction as far as it is known: ``corrects_entry_id``, who asks and why. Who
            used what, and when, is taken from the corrected entry; counts and cost are found out.
        usage: What was really used, in all. It is priced by the card of the corrected entry, or that
            of its latest rerating.
    """

    entry: UsageEntry
    usage: TokenUsage

    @property
    def organization_id(self) -> str:
        """Whose it is."""
        return self.entry.organization_id


class Rerate(msgspec.Struct, frozen=True):
    """Record the difference between what a model call has come to and what it costs by a card.

    Its corrections count. If there is no difference, nothing is recorded.

    Attributes:
        entry: The rerating as far as it is known, as in ``Correct``.
        card: Prices the call now.
    """

    entry: UsageEntry
    card: RateCard

    @property
    def organization_id(self) -> str:
        """Whose it is."""
        return self.entry.organization_id


class Void(msgspec.Struct, frozen=True):
    """Free an open hold; of an amount what nobody has drawn. Leave another state as it is."""

    organization_id: str
    reservation_id: str


class Renew(msgspec.Struct, frozen=True):
    """Let an open hold end at a later time, never earlier. Leave another state as it is."""

    organization_id: str
    reservation_id: str
    expires_at_ms: int


Command: TypeAlias = Reserve | Settle | Record | Correct | Rerate | Void | Renew


class Recorded(msgspec.Struct, frozen=True):
    """The answer to a command that records.

    Attributes:
        entry: The entry of this id. If ``is_new`` is false it was there before, nothing was changed,
            and it may record something else: the asker compares.
        is_new: Whether this command wrote it.
        tool_entries: The entries of tool calls that this command wrote.
        tool_cost_nano_usd: Of ``Settle``: what the tool calls cost whose entries it wrote, or wrote
            when it was carried out for the first time.
        events: What happened to budgets thereby.
        corrected_usage: Of a correction: what the corrected call came to with it, for the asker to
            compare with what it says; else None.
    """

    entry: UsageEntry
    is_new: bool
    tool_entries: tuple[UsageEntry, ...] = ()
    tool_cost_nano_usd: int = 0
    events: tuple[BudgetEvent, ...] = ()
    corrected_usage: TokenCounts | None = None


class NotFound(msgspec.Struct, frozen=True):
    """The answer to a command that names something that is not there.

    Attributes:
        what: ``reservation``, ``parent`` (of a reservation: there is no amount of its id) or ``entry``.
    """

    what: str


class TooDeep(msgspec.Struct, frozen=True):
    """The answer to a ``Reserve`` with as many amounts above it as there may be, or more."""


class Unchanged(msgspec.Struct, frozen=True):
    """The answer to a command that had nothing to do, or may not: ``entry`` is what it named."""

    entry: UsageEntry


Outcome: TypeAlias = Reservation | Refusal | Recorded | NotFound | TooDeep | Unchanged
"""The answer to a command.

``Reserve``: the reservation, a stored one of that id as it stands (nothing is changed then, whether
or not it asks for the same), a refusal, ``NotFound`` of its parent, or ``TooDeep``. ``Void``, ``Renew``: the
reservation as it then stands, or ``NotFound``. ``Settle``, ``Record``: ``Recorded``. ``Correct``:
``Recorded``, ``NotFound``, or ``Unchanged`` with the named entry if that is no model call, or one
without a rate card.
``Rerate``: the same, and ``Unchanged`` also if there is no difference.
"""

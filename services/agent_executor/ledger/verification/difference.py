"""What a verification finds, and how far it has come."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

DifferenceKind: TypeAlias = Literal[
    "balance", "reserved", "drawn", "rollup", "rate_card", "cost", "entry"
]
"""What differs.

``balance``: what is settled in a window of a budget. ``reserved``: what is held against a budget.
``drawn``: what is held of a reservation. ``rollup``: the sums of a span. ``rate_card``: a card that
is named. ``cost``: what an entry costs by its card. ``entry``: what an entry of its kind may say.
"""


class Difference(msgspec.Struct, frozen=True):
    """One thing that is stored and does not follow from the rest.

    Attributes:
        what: Which one, in words.
        stored: What is stored; money in nano-dollars.
        derived: What it should be.
    """

    organization_id: str
    kind: DifferenceKind
    what: str
    stored: str
    derived: str


class VerifyProgress(msgspec.Struct, frozen=True):
    """How far a verification has come.

    Attributes:
        entries_done: Entries that have been looked at.
        entries_total: Entries in the ledger, of other organizations too.
    """

    entries_done: int
    entries_total: int

"""What a store has to look up before commands can be carried out.

It looks up in three steps, each set-wise for all commands of one organization, in the transaction in
which it writes: the rows that the commands name; the budgets and cards that these rows and the
commands lead to; and the balances of those budgets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from agent_executor.ledger.accounting.budget import Budget
from agent_executor.ledger.accounting.commands import (
    Command,
    Correct,
    Record,
    Rerate,
    Reserve,
    Settle,
)
from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.window import window_at

# Every time zone has changed its clocks at quarters of an hour since 1972, so windows begin at one.
_QUARTER_MS: Final = 900_000

Scope: TypeAlias = tuple[str, str, str]
"""Who spends: user, agent and run. A budget is found by a scope in which some are empty."""


class RowsNeeded(msgspec.Struct):
    """The first step: what commands name.

    Attributes:
        reservation_ids: To look up with all their ancestors (``parent_id``, to the end); besides
            them every open reservation of the organization that has expired, with its ancestors.
        entry_ids: Entries of these ids.
        corrected_ids: Entries of these ids, and all that correct or rate them again
            (``corrects_entry_id``) in the order of their writing.
    """

    reservation_ids: set[str] = msgspec.field(default_factory=set)
    entry_ids: set[str] = msgspec.field(default_factory=set)
    corrected_ids: set[str] = msgspec.field(default_factory=set)


class Rows(msgspec.Struct):
    """What the first step found, by id. What is not there is left out.

    Attributes:
        corrections: By the id of the corrected entry, in the order of their writing.
    """

    reservations: dict[str, Reservation] = msgspec.field(default_factory=dict)
    entries: dict[str, UsageEntry] = msgspec.field(default_factory=dict)
    corrections: dict[str, list[UsageEntry]] = msgspec.field(default_factory=dict)


class TermsNeeded(msgspec.Struct):
    """The second step: by what the commands are judged.

    Attributes:
        scopes: Each budget that applies to one of them is needed; see ``scope_keys``.
        rate_card_ids: Of reservations and corrected entries.
        occurred_at_ms: The times whose windows are charged, rounded down to quarters of an hour.
    """

    scopes: set[Scope] = msgspec.field(default_factory=set)
    rate_card_ids: set[str] = msgspec.field(default_factory=set)
    occurred_at_ms: set[int] = msgspec.field(default_factory=set)


def by_organization(commands: Iterable[Command]) -> dict[str, list[Command]]:
    """Returns the commands of each organization, in their order."""
    grouped: dict[str, list[Command]] = {}
    for command in commands:
        grouped.setdefault(command.organization_id, []).append(command)
    return grouped


def rows_needed(commands: Iterable[Command]) -> RowsNeeded:
    """Returns what commands of one organization name."""
    needed = RowsNeeded()
    for command in commands:
        if isinstance(command, Reserve):
            needed.reservation_ids.add(command.reservation.id)
            if command.reservation.parent_id:
                needed.reservation_ids.add(command.reservation.parent_id)
        elif isinstance(command, Settle):
            needed.entry_ids.add(command.entry.id)
            needed.entry_ids.update(entry.id for entry in command.tool_entries)
            if command.entry.reservation_id:
                needed.reservation_ids.add(command.entry.reservation_id)
        elif isinstance(command, Record):
            needed.entry_ids.add(command.entry.id)
        elif isinstance(command, Correct | Rerate):
            needed.entry_ids.add(command.entry.id)
            needed.corrected_ids.add(command.entry.corrects_entry_id)
        else:
            needed.reservation_ids.add(command.reservation_id)
    return needed


def terms_needed(commands: Sequence[Command], rows: Rows) -> TermsNeeded:
    """Returns by what commands of one organization are judged, given the rows that they name."""
    needed = TermsNeeded()
    # What a command corrects may be recorded by one before it.
    recorded = {one.entry.id: one.entry for one in commands if isinstance(one, Record)}
    for one in rows.reservations.values():
        needed.scopes.add((one.user_id, one.agent_id, one.run_id))
        if one.rate_card_id:
            needed.rate_card_ids.add(one.rate_card_id)
    for command in commands:
        if isinstance(command, Reserve):
            asked = command.reservation
            needed.scopes.add((asked.user_id, asked.agent_id, asked.run_id))
        elif isinstance(command, Settle):
            _charge(needed, command.entry)
            for entry in command.tool_entries:
                _charge(needed, entry)
        elif isinstance(command, Record):
            _charge(needed, command.entry)
        elif isinstance(command, Correct | Rerate):
            corrected_id = command.entry.corrects_entry_id
            corrected = rows.entries.get(corrected_id) or recorded.get(corrected_id)
            if corrected is not None:
                _charge(needed, corrected)
                for entry in (corrected, *rows.corrections.get(corrected_id, ())):
                    needed.rate_card_ids.add(entry.rate_card_id)
    needed.rate_card_ids.discard("")
    return needed


def scope_keys(scope: Scope) -> set[Scope]:
    """Returns the scopes of budgets that apply to who spends, at most eight: a budget has one."""
    user, agent, run = scope
    return {
        ("", "", ""),
        (user, "", ""),
        ("", agent, ""),
        ("", "", run),
        (user, agent, ""),
        (user, "", run),
        ("", agent, run),
        scope,
    }


def balances_needed(
    budgets: Iterable[Budget], occurred_at_ms: Iterable[int], now_ms: int
) -> set[tuple[str, int]]:
    """Returns the third step: ids of budgets with the starts of the windows that are looked at."""
    times = (now_ms, *occurred_at_ms)
    return {
        (budget.id, window_at(budget.window, budget.time_zone, at_ms).start_ms)
        for budget in budgets
        for at_ms in times
    }


def _charge(needed: TermsNeeded, entry: UsageEntry) -> None:
    needed.scopes.add((entry.user_id, entry.agent_id, entry.run_id))
    needed.occurred_at_ms.add(entry.occurred_at_ms - entry.occurred_at_ms % _QUARTER_MS)

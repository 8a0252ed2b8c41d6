"""Verifies a ledger: whatever can be derived from its entries and reservations is derived again."""
# ruff: noqa: S608 -- all parts of these statements are fixed names of columns; values are bound

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from agent_executor.ledger.accounting.book import Rollup, StoredBudget
from agent_executor.ledger.accounting.card_memory import card_of_body
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.accounting.rollup import RollupKey
from agent_executor.ledger.accounting.rows import (
    BUDGET_NAMES,
    ENTRY_NAMES,
    RESERVATION_NAMES,
    TOKEN_NAMES,
    budget_of_row,
    entry_of_row,
    reservation_of_row,
)
from agent_executor.ledger.prices.organization_card import OrganizationCard, ToolFee
from agent_executor.ledger.prices.rate_card import RateCard
from agent_executor.ledger.verification.difference import Difference, VerifyProgress
from agent_executor.ledger.verification.entry_checks import (
    BalanceCheck,
    BudgetFinder,
    RollupCheck,
    check_chain,
    check_price,
)
from agent_executor.ledger.verification.hold_checks import check_holds
from agent_executor.ledger.verification.ledger_rows import (
    LedgerRows,
    open_postgres,
    open_sqlite,
)

PROGRESS_ENTRIES: Final = 10_000

_TABLES: Final = ("usage_entries", "usage_rollups", "reservations", "budgets", "budget_balances")
_NEXT_ORGANIZATION: Final = "SELECT MIN(organization_id) FROM ({}) AS next".format(
    " UNION ALL ".join(
        f"SELECT MIN(organization_id) AS organization_id FROM {table}"
        " WHERE organization_id > :after"
        for table in _TABLES
    )
)
_NEWEST: Final = "SELECT MAX(sequence) FROM usage_entries"
_CARDS: Final = "SELECT id, body FROM rate_cards"
_TOOL_CARDS: Final = """
    SELECT body FROM organization_cards
    WHERE organization_id = :organization_id AND tool_name <> ''
"""
_OWN: Final = "WHERE organization_id = :organization_id"
_BUDGETS: Final = f"SELECT {', '.join(BUDGET_NAMES)} FROM budgets {_OWN}"
_BALANCES: Final = (
    f"SELECT budget_id, window_start_ms, settled_nano_usd FROM budget_balances {_OWN}"
)
_ENTRIES: Final = (
    f"SELECT {', '.join(ENTRY_NAMES)} FROM usage_entries {_OWN} ORDER BY occurred_at_ms"
)
_ROLLUPS: Final = (
    f"SELECT {', '.join((*RollupKey._fields, 'entry_count', *TOKEN_NAMES, 'cost_nano_usd'))}"
    f" FROM usage_rollups {_OWN} ORDER BY start_ms"
)
_CHAINS: Final = f"""
    SELECT {", ".join(f"it.{name}" for name in ENTRY_NAMES)},
        {", ".join(f"other.{name}" for name in ENTRY_NAMES)}
    FROM usage_entries AS it LEFT JOIN usage_entries AS other
        ON other.organization_id = it.organization_id AND other.id = it.corrects_entry_id
    WHERE it.organization_id = :organization_id AND it.corrects_entry_id <> ''
    ORDER BY it.corrects_entry_id, it.sequence
"""
_RESERVATIONS: Final = f"SELECT {', '.join(RESERVATION_NAMES)} FROM reservations {_OWN}"
_HELD: Final = f"""
    WITH RECURSIVE held AS (
        {_RESERVATIONS} AND state = 'open'
        UNION
        {_RESERVATIONS} AND state <> 'open' AND remaining_nano_usd > 0
        UNION
        SELECT {", ".join(f"it.{name}" for name in RESERVATION_NAMES)} FROM held
        JOIN reservations AS it
            ON it.organization_id = :organization_id AND it.id = held.parent_id
        WHERE held.parent_id <> ''
    ) SELECT * FROM held
"""
_RESERVED_BY_UNKNOWN_CARD: Final = f"""
    {_RESERVATIONS} AND rate_card_id <> ''
        AND NOT EXISTS (SELECT 1 FROM rate_cards WHERE rate_cards.id = rate_card_id)
"""


_decode_card: Final = msgspec.json.Decoder(OrganizationCard).decode


def verify(
    database: Path | str,
    *,
    organization_id: str = "",
    progress: Callable[[VerifyProgress], None] | None = None,
) -> Iterator[Difference]:
    """Yields everything that is stored and does not follow from the entries and reservations.

    It reads one snapshot, may run beside a platform that writes, and changes nothing. What it keeps
    in memory grows with budgets, their windows and open holds, not with entries. To be called
    outside of any event loop.

    Args:
        database: A SQLite file, or the URL of a PostgreSQL database.
        organization_id: Whose part is verified; empty: everyone's.
        progress: Called now and then.

    Raises:
        UnavailableError: The database cannot be read.
        FailedPreconditionError: It is of another version.
    """
    opened = open_sqlite(database) if isinstance(database, Path) else open_postgres(database)
    with opened as ledger:
        yield from _Verification(ledger, progress).differences(organization_id)


class _Verification:
    def __init__(
        self, ledger: LedgerRows, progress: Callable[[VerifyProgress], None] | None
    ) -> None:
        self._ledger = ledger
        self._progress = progress
        self._done = 0
        self._total = next(iter(ledger.rows(_NEWEST, {})))[0] or 0
        self._cards: dict[str, RateCard] = {
            card_id: card_of_body(body) for card_id, body in ledger.rows(_CARDS, {})
        }

    def differences(self, organization_id: str) -> Iterator[Difference]:
        """Yields what differs, of one organization or all."""
        organizations = [organization_id] if organization_id else self._organizations()
        for one in organizations:
            yield from self._of_organization(one)
        self._tell()

    def _organizations(self) -> Iterator[str]:
        after = ""
        while after is not None:
            (after,) = next(iter(self._ledger.rows(_NEXT_ORGANIZATION, {"after": after})))
            if after is not None:
                yield after

    def _of_organization(self, organization_id: str) -> Iterator[Difference]:
        own = {"organization_id": organization_id}
        budgets = [budget_of_row(tuple(row)) for row in self._ledger.rows(_BUDGETS, own)]
        finder = BudgetFinder(budgets)
        yield from self._of_entries(organization_id, finder)
        yield from self._of_chains(organization_id)
        yield from self._of_holds(organization_id, budgets, finder)

    def _of_entries(self, organization_id: str, finder: BudgetFinder) -> Iterator[Difference]:
        own = {"organization_id": organization_id}
        cards = (_decode_card(body) for (body,) in self._ledger.rows(_TOOL_CARDS, own))
        tool_fees = {
            card.id: card.price.fee_nano_usd for card in cards if isinstance(card.price, ToolFee)
        }
        balances = BalanceCheck(finder)
        rollups = RollupCheck(organization_id, self._rollups(organization_id))
        for row in self._ledger.rows(_ENTRIES, own):
            entry = entry_of_row(tuple(row))
            balances.add(entry)
            yield from rollups.add(entry)
            yield from check_price(entry, self._cards, tool_fees)
            self._done += 1
            if self._done % PROGRESS_ENTRIES == 0:
                self._tell()
        yield from rollups.end()
        stored = {
            (budget_id, start_ms): settled
            for budget_id, start_ms, settled in self._ledger.rows(_BALANCES, own)
        }
        yield from balances.differences(organization_id, stored)

    def _rollups(self, organization_id: str) -> Iterator[tuple[RollupKey, Rollup]]:
        for row in self._ledger.rows(_ROLLUPS, {"organization_id": organization_id}):
            width = len(RollupKey._fields)
            yield RollupKey(*row[:width]), Rollup(*row[width:])

    def _of_chains(self, organization_id: str) -> Iterator[Difference]:
        rows = self._ledger.rows(_CHAINS, {"organization_id": organization_id})
        width = len(ENTRY_NAMES)
        pairs = (
            (entry_of_row(row[:width]), row[width:] if row[width] is not None else None)
            for row in map(tuple, rows)
        )
        for _, chain in groupby(pairs, lambda pair: pair[0].corrects_entry_id):
            entries = list(chain)
            corrected = entries[0][1]
            yield from check_chain(
                None if corrected is None else entry_of_row(corrected),
                [entry for entry, _ in entries],
                self._cards,
            )

    def _of_holds(
        self, organization_id: str, budgets: list[StoredBudget], finder: BudgetFinder
    ) -> Iterator[Difference]:
        own = {"organization_id": organization_id}
        reservations: dict[str, Reservation] = {}
        for row in self._ledger.rows(_HELD, own):
            one = reservation_of_row(tuple(row))
            reservations[one.id] = one
        yield from check_holds(organization_id, budgets, finder, reservations)
        for row in self._ledger.rows(_RESERVED_BY_UNKNOWN_CARD, own):
            one = reservation_of_row(tuple(row))
            what = f"reservation {one.id!r}"
            yield Difference(organization_id, "rate_card", what, one.rate_card_id, "no such card")

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(VerifyProgress(self._done, self._total))

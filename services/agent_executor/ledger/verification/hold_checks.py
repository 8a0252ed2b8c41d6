"""What follows from the reservations of one organization: what is held, and of what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from agent_executor.ledger.accounting.book import StoredBudget
from agent_executor.ledger.accounting.reservation import Reservation
from agent_executor.ledger.verification.difference import Difference
from agent_executor.ledger.verification.entry_checks import BudgetFinder


def check_holds(
    organization_id: str,
    budgets: Iterable[StoredBudget],
    finder: BudgetFinder,
    reservations: Mapping[str, Reservation],
) -> Iterator[Difference]:
    """Yields what differs.

    Args:
        organization_id: Whose they are.
        budgets: All of them.
        finder: Finds these budgets.
        reservations: By id, all under which something is held or that are open, and their
            ancestors.
    """
    reserved: defaultdict[str, int] = defaultdict(int)
    drawn: defaultdict[str, int] = defaultdict(int)
    for one in reservations.values():
        drawn[one.parent_id] += one.remaining_nano_usd
        for budget_id in _charged(one, finder, reservations):
            reserved[budget_id] += one.remaining_nano_usd
    for one in reservations.values():
        what = f"reservation {one.id!r}"
        if one.drawn_nano_usd != drawn[one.id]:
            stored = str(one.drawn_nano_usd)
            yield Difference(organization_id, "drawn", what, stored, str(drawn[one.id]))
        elif one.state != "open" and one.remaining_nano_usd != one.drawn_nano_usd:
            derived = f"{one.drawn_nano_usd}: it is {one.state}"
            yield Difference(organization_id, "drawn", what, str(one.remaining_nano_usd), derived)
        if one.parent_id and one.parent_id not in reservations:
            yield Difference(organization_id, "drawn", what, one.parent_id, "no such reservation")
    for budget in budgets:
        budget_id = budget.budget.id
        if budget.reserved_nano_usd != reserved[budget_id]:
            yield Difference(
                organization_id,
                "reserved",
                f"budget {budget_id!r}",
                str(budget.reserved_nano_usd),
                str(reserved[budget_id]),
            )


def _charged(
    reservation: Reservation, finder: BudgetFinder, reservations: Mapping[str, Reservation]
) -> set[str]:
    """Returns the budgets that a reservation is held against: those that apply to no ancestor."""
    charged = _applying(reservation, finder)
    parent = reservations.get(reservation.parent_id)
    while charged and parent is not None:
        charged -= _applying(parent, finder)
        parent = reservations.get(parent.parent_id)
    return charged


def _applying(reservation: Reservation, finder: BudgetFinder) -> set[str]:
    scope = (reservation.user_id, reservation.agent_id, reservation.run_id)
    return {stored.budget.id for stored in finder.find(scope)}

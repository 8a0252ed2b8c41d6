"""What each command does to the books. Nothing here reads or writes anything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agent_executor.ledger.accounting.book import Book
from agent_executor.ledger.accounting.commands import (
    Command,
    Correct,
    Outcome,
    Record,
    Renew,
    Rerate,
    Reserve,
    Settle,
    Void,
)
from agent_executor.ledger.accounting.hold_tree import free_expired
from agent_executor.ledger.accounting.recording import correct, record, rerate, settle
from agent_executor.ledger.accounting.reserving import renew, reserve, void

_DECISIONS: Final[Mapping[type, Callable[[Book, Any], Outcome]]] = {
    Reserve: reserve,
    Settle: settle,
    Void: void,
    Renew: renew,
    Record: record,
    Correct: correct,
    Rerate: rerate,
}


def carry_out(books: Mapping[str, Book], commands: Sequence[Command]) -> list[Outcome]:
    """Frees what has expired, carries commands out in their order, and returns their outcomes.

    Args:
        books: By organization; each was opened with what its commands need.
        commands: Of these organizations, mixed.

    Raises:
        InvalidArgumentError: An entry costs more than an entry can. The books are of no use then.
    """
    for book in books.values():
        free_expired(book)
    return [
        _DECISIONS[type(command)](books[command.organization_id], command) for command in commands
    ]

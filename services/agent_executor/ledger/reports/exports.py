"""Entries as a file, piece by piece, so that its size does not matter."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

import msgspec

from agent_executor.ledger.accounting.entry import UsageEntry
from agent_executor.ledger.reports import csv_columns, focus_columns
from agent_executor.ledger.reports.csv_columns import Cell
from agent_executor.ledger.reports.reports import PERMISSION, check_filter
from agent_executor.ledger.reports.store import ReportStore
from agent_executor.ledger.reports.usage_query import EntryFilter
from agent_executor.serving.security import SecurityContext

ExportFormat: TypeAlias = Literal["csv", "focus"]

CONTENT_TYPE: Final = "text/csv; charset=utf-8; header=present"
CHUNK_BYTES: Final = 64 * 1024


class _Layout(msgspec.Struct, frozen=True):
    """What a file's columns are called, and their values for an entry."""

    names: Sequence[str]
    row: Callable[[UsageEntry], Sequence[Cell]]


_LAYOUTS: Final[dict[ExportFormat, _Layout]] = {
    "csv": _Layout(csv_columns.NAMES, csv_columns.row),
    "focus": _Layout(focus_columns.NAMES, focus_columns.row),
}


class UsageExports:
    """Writes the entries of one organization as CSV (RFC 4180), oldest occurrence first.

    Text that a spreadsheet would take for a formula has an apostrophe before it, and so has text
    that begins with an apostrophe: without the first apostrophe it is what was recorded.
    """

    def __init__(self, store: ReportStore) -> None:
        self._store = store

    async def export(
        self, security: SecurityContext, entry_filter: EntryFilter, file_format: ExportFormat
    ) -> AsyncGenerator[bytes, None]:
        """Yields the file in pieces of some 64 KiB, the next one once it is asked for.

        It has the entries that were recorded when it was begun.

        Raises:
            PermissionDeniedError: The caller lacks ``ledger:read``.
            InvalidArgumentError: The filter cannot be.
        """
        security.require(PERMISSION)
        check_filter(entry_filter)
        layout = _LAYOUTS[file_format]
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(layout.names)
        found: Any = self._store.scan(security.organization_id, entry_filter)
        async with aclosing(found):
            async for entries in found:
                for entry in entries:
                    writer.writerow([_cell(value) for value in layout.row(entry)])
                    if text.tell() >= CHUNK_BYTES:
                        yield _take(text)
        if text.tell():
            yield _take(text)


# What a spreadsheet may take for the beginning of a formula, also in full width; and the mark itself.
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'")


def _cell(value: Cell) -> str | int:
    """Returns text as a spreadsheet shows it; numbers are numbers, negative ones too."""
    if isinstance(value, str):
        return f"'{value}" if value[:1] in _FORMULA_STARTS else value
    return format(value, "f") if isinstance(value, Decimal) else value


def _take(text: io.StringIO) -> bytes:
    """Returns what was written, and begins anew."""
    taken = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return taken

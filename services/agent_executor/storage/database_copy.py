"""Copies a service's SQLite file into its PostgreSQL database, and compares the two row by row.

One transaction holds the copy and the comparison: what was committed was compared, and whatever
goes wrong before leaves the database as empty as it was. Neither keeps more than a batch of rows in
memory.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import asyncpg
import msgspec

from agent_executor.errors import FailedPreconditionError
from agent_executor.storage.postgres_connection import PostgresConnection
from agent_executor.storage.table_shapes import TableShape, check_postgres_has, sqlite_shapes

BATCH_ROWS: Final = 1_000
# PostgreSQL stores no NUL character; the stores put this in its place, and so does a copy.
NUL: Final = "\x00"
NUL_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

# The columns that number themselves, with the sequences from which they do.
_NUMBERED_COLUMNS: Final = r"""
    SELECT column_name, substring(column_default FROM '^nextval\(''(.*)''::regclass\)$')
    FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = $1 AND column_default LIKE 'nextval(%'
"""

# Tells an integer from a float and text from bytes, so that equal means equal in value and type.
_encode: Final = msgspec.msgpack.Encoder().encode


class CopyConnection(PostgresConnection, Protocol):
    """What is used of an asyncpg connection beside what services use."""

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """Opens a transaction that is rolled back if the block raises."""
        ...

    def cursor(self, query: str, *, prefetch: int) -> AsyncIterator[Any]:
        """Returns the rows, so many at a time."""
        ...

    async def copy_records_to_table(
        self, table_name: str, *, records: AsyncIterator[tuple[Any, ...]], columns: tuple[str, ...]
    ) -> str:
        """Writes rows by the COPY protocol."""
        ...


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far it is.

    Attributes:
        step: What is done with the table: ``copied`` or ``compared``.
        table: Its name.
        rows_done: How many of its rows are done.
        rows_total: How many it has.
    """

    step: str
    table: str
    rows_done: int
    rows_total: int


@dataclass(frozen=True, slots=True)
class ComparedTable:
    """A table that is the same on both sides.

    Attributes:
        name: Its name.
        rows: How many rows it has.
        sha256: The digest of all its rows in their order, with the types of their values.
        replaced_texts: Texts in which U+FFFD stands for a NUL character, which PostgreSQL cannot
            store.
    """

    name: str
    rows: int
    sha256: str
    replaced_texts: int


class DatabasesDifferError(Exception):
    """The two databases do not hold the same; the message says where first."""


Tell = Callable[[CopyProgress], None]


async def copy_database(
    source: sqlite3.Connection, target: CopyConnection, tell: Tell = lambda _: None
) -> list[ComparedTable] | None:
    """Copies all rows into a database without any, and compares them before it commits.

    A database that holds rows is left as it is.

    Args:
        source: A service's file, which nobody writes to meanwhile.
        target: Its database, at the same revision. Its tables are locked meanwhile.
        tell: Told how far it is, every 1,000 rows.

    Returns:
        What was copied; None if the database holds rows already.

    Raises:
        FailedPreconditionError: The databases have different tables, or a value does not fit.
        DatabasesDifferError: What was read back is not what was written. Nothing was committed.
        sqlite3.Error: The file cannot be read.
        asyncpg.PostgresError: PostgreSQL failed. Nothing was committed.
    """
    shapes = sqlite_shapes(source)
    await check_postgres_has(target, shapes)
    async with target.transaction():
        # Before it is looked whether there are rows: a service that starts meanwhile has to wait.
        names = ", ".join(shape.name for shape in shapes)
        await target.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        for shape in shapes:
            if await target.fetchval(f"SELECT EXISTS ({shape.postgres_rows})"):
                return None
        for shape in shapes:
            await _copy_table(source, target, shape, tell)
            await _go_on_numbering(target, shape)
        return [await _compare_table(source, target, shape, tell) for shape in shapes]


async def compare_databases(
    source: sqlite3.Connection, target: CopyConnection, tell: Tell = lambda _: None
) -> list[ComparedTable]:
    """Compares every row of every table, on one snapshot of the PostgreSQL database.

    Raises:
        FailedPreconditionError: The databases have different tables.
        DatabasesDifferError: They do not hold the same.
        sqlite3.Error: The file cannot be read.
        asyncpg.PostgresError: PostgreSQL failed.
    """
    shapes = sqlite_shapes(source)
    await check_postgres_has(target, shapes)
    async with target.transaction(isolation="repeatable_read", readonly=True):
        return [await _compare_table(source, target, shape, tell) for shape in shapes]


async def _copy_table(
    source: sqlite3.Connection, target: CopyConnection, shape: TableShape, tell: Tell
) -> None:
    rows = _SourceRows(source, shape)

    async def records() -> AsyncIterator[tuple[Any, ...]]:
        for row in rows:
            if rows.done % BATCH_ROWS == 0:
                tell(CopyProgress("copied", shape.name, rows.done, rows.total))
            yield row

    try:
        await target.copy_records_to_table(shape.name, columns=shape.columns, records=records())
    except (asyncpg.DataError, OverflowError, TypeError, ValueError) as error:
        # The text of the error may hold the value.
        raise FailedPreconditionError(
            f"A value in row {rows.done:,} of the table {shape.name}, in the order of its key, does "
            f"not fit into the PostgreSQL database ({type(error).__name__})."
        ) from error


async def _go_on_numbering(target: CopyConnection, shape: TableShape) -> None:
    """Lets what numbers itself go on after the highest number that was copied."""
    for column, sequence in await target.fetch(_NUMBERED_COLUMNS, shape.name):
        highest = await target.fetchval(f"SELECT max({column}) FROM {shape.name}")  # noqa: S608 -- names that the database told
        if highest is not None:
            await target.execute("SELECT setval($1::text::regclass, $2)", sequence, highest)


async def _compare_table(
    source: sqlite3.Connection, target: CopyConnection, shape: TableShape, tell: Tell
) -> ComparedTable:
    rows = _SourceRows(source, shape)
    digest = hashlib.sha256()
    async for copy in target.cursor(shape.postgres_rows, prefetch=BATCH_ROWS):
        row = next(rows, None)
        if row is None:
            raise DatabasesDifferError(
                f"The table {shape.name} has more rows in PostgreSQL than the {rows.total:,} of the "
                "SQLite file."
            )
        encoded = _encode(row)
        if encoded != _encode(tuple(copy)):
            raise DatabasesDifferError(
                f"Row {rows.done:,} of the table {shape.name}, in the order of its key, is not the "
                f"same: {_differing(shape, row, tuple(copy))}."
            )
        digest.update(encoded)
        if rows.done % BATCH_ROWS == 0:
            tell(CopyProgress("compared", shape.name, rows.done, rows.total))
    if next(rows, None) is not None:
        raise DatabasesDifferError(
            f"The table {shape.name} has only {rows.done - 1:,} rows in PostgreSQL, and "
            f"{rows.total:,} in the SQLite file."
        )
    return ComparedTable(shape.name, rows.done, digest.hexdigest(), rows.replaced_texts)


class _SourceRows(Iterator[tuple[Any, ...]]):
    """The rows of a table in the order of its key, as PostgreSQL can store them."""

    def __init__(self, source: sqlite3.Connection, shape: TableShape) -> None:
        self.total: int = source.execute(shape.count).fetchone()[0]
        self.done = 0
        self.replaced_texts = 0
        self._rows = source.execute(shape.sqlite_rows)

    def __next__(self) -> tuple[Any, ...]:
        row: tuple[Any, ...] = next(self._rows)
        self.done += 1
        if any(type(value) is str and NUL in value for value in row):
            return tuple(self._storable(value) for value in row)
        return row

    def _storable(self, value: object) -> object:
        if not isinstance(value, str) or NUL not in value:
            return value
        self.replaced_texts += 1
        return value.replace(NUL, NUL_REPLACEMENT)


def _differing(shape: TableShape, row: tuple[Any, ...], copy: tuple[Any, ...]) -> str:
    """Returns the names of the columns that differ, but not what is in them."""
    pairs = zip(shape.columns, row, copy, strict=True)
    return ", ".join(name for name, one, other in pairs if _encode(one) != _encode(other))

"""Streams rows of one snapshot of the ledger, from a SQLite file or a PostgreSQL database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from agent_executor.errors import FailedPreconditionError, UnavailableError
from agent_executor.ledger.accounting.stored_budgets import Values
from agent_executor.ledger.schema import MIGRATIONS
from agent_executor.storage.migrations import known_revisions
from agent_executor.storage.sqlite import connect_read_only

_PAGE_ROWS: Final = 2_000
_CONNECT_TIMEOUT_SECONDS: Final = 10.0
_REVISION: Final = "SELECT version_num FROM alembic_version"


class LedgerRows(Protocol):
    """A snapshot of the ledger. Several queries may be read at the same time, from one thread."""

    def rows(self, statement: str, values: Values) -> Iterator[Sequence[Any]]:
        """Yields the rows of a query, which has its values by ``:name``."""
        ...


@contextmanager
def open_sqlite(path: Path) -> Iterator[LedgerRows]:
    """Opens a file, beside a platform that may be writing it.

    Raises:
        UnavailableError: It cannot be read.
        FailedPreconditionError: It is of another version.
    """
    try:
        with closing(connect_read_only(path)) as connection:
            connection.execute("BEGIN")
            ledger = _SqliteRows(connection)
            _check_revision(ledger)
            yield ledger
    except sqlite3.Error as error:
        raise UnavailableError(f"The ledger {path} cannot be read: {error}.") from error


@contextmanager
def open_postgres(database_url: str) -> Iterator[LedgerRows]:
    """Opens a database, beside ledgers that may be writing it; outside of any event loop.

    Raises:
        UnavailableError: It cannot be read.
        FailedPreconditionError: It is of another version.
    """
    import asyncpg

    with asyncio.Runner() as runner:
        connection = None
        try:
            connection = runner.run(_connect(database_url))
            ledger = _PostgresRows(runner, connection)
            _check_revision(ledger)
            yield ledger
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The text of the error may hold the URL, and that the password.
            raise UnavailableError(
                f"The PostgreSQL database cannot be read ({type(error).__name__})."
            ) from error
        finally:
            if connection is not None:
                connection.terminate()


async def _connect(database_url: str) -> Any:
    import asyncpg

    try:
        connection = await asyncpg.connect(database_url, timeout=_CONNECT_TIMEOUT_SECONDS)
    except ValueError as error:
        raise UnavailableError("The database's URL is none.") from error
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    return connection


def _check_revision(ledger: LedgerRows) -> None:
    newest = known_revisions(MIGRATIONS)[-1]
    found = [row[0] for row in ledger.rows(_REVISION, {})]
    if found != [newest]:
        raise FailedPreconditionError(
            f"The ledger is at revision {', '.join(found)}, and this version of agent-executor "
            f"verifies {newest} only. Start the ledger of this version once."
        )


class _SqliteRows:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, values: Values) -> Iterator[Sequence[Any]]:
        return self._connection.execute(statement, values)


class _PostgresRows:
    def __init__(self, runner: asyncio.Runner, connection: Any) -> None:
        self._runner = runner
        self._connection = connection

    def rows(self, statement: str, values: Values) -> Iterator[Sequence[Any]]:
        from agent_executor.ledger.accounting.postgres_books import numbered

        cursor = self._runner.run(self._open(*numbered(statement, values)))
        while rows := self._runner.run(self._next(cursor)):
            yield from rows

    async def _open(self, statement: str, *values: object) -> Any:
        return await self._connection.cursor(statement, *values)

    async def _next(self, cursor: Any) -> list[Sequence[Any]]:
        rows: list[Sequence[Any]] = await cursor.fetch(_PAGE_ROWS)
        return rows

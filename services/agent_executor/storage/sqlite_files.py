"""Whole SQLite files: held against everybody else, or copied as they were at one instant."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from agent_executor.errors import FailedPreconditionError, UnavailableError
from agent_executor.storage.migrations import known_revisions
from agent_executor.storage.sqlite import connect_read_only, connect_writable, create_private_file

BACKUP_PAGES: Final = 2_048
INSTANT_TIMEOUT_SECONDS: Final = 30.0
# A writer that is always busy leaves the file alone for well below a millisecond.
_INSTANT_POLL_SECONDS: Final = 0.0002


@contextlib.contextmanager
def held_alone(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a file to be read, and keeps every other process from opening it meanwhile.

    Raises:
        FailedPreconditionError: Another process has it open.
        sqlite3.Error: It cannot be opened, or is not a database.
    """
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    with contextlib.closing(connection):
        try:
            # Before anything is read: then even a process that does nothing with the file is noticed.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_BUSY:
                raise
            raise FailedPreconditionError(
                f"{path} is in use by another process. Stop the platform first."
            ) from error
        yield connection
        connection.execute("ROLLBACK")


def revision_of(connection: sqlite3.Connection) -> str:
    """Returns the revision of a service's file; empty if it was never migrated."""
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return ""
    return str(row[0]) if row else ""


def check_revision(connection: sqlite3.Connection, migrations_folder: Path, name: str) -> None:
    """Checks that a service's file is at the revision of this version.

    Raises:
        FailedPreconditionError: It is not.
    """
    found, newest = revision_of(connection), known_revisions(migrations_folder)[-1]
    if found != newest:
        raise FailedPreconditionError(
            f"The database of the {name} is at revision {found or 'none'}, and this version of "
            f"agent-executor is at {newest}. Start and stop this version once with the data folder; "
            "that brings it up to date."
        )


@contextlib.contextmanager
def same_instant(paths: Sequence[Path]) -> Iterator[list[sqlite3.Connection]]:
    """Opens files that are in use, and shows all of them as they were at one instant.

    Writers of these files wait for as long as it takes to get hold of all of them, a few
    milliseconds; then they go on, and what they write is not seen here. So what is seen is what the
    files would hold if all processes had been killed at that instant.

    Raises:
        UnavailableError: They could not be held together in 30 seconds.
        sqlite3.Error: One cannot be opened, or is not a database.
    """
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(contextlib.closing(connect_read_only(p))) for p in paths]
        with contextlib.ExitStack() as holding:
            for path in paths:
                holding.enter_context(_without_writers(path))
            for reader in readers:
                reader.execute("BEGIN")
                # Only with its first read a transaction gets its snapshot.
                reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        yield readers


def copy_file(
    source: sqlite3.Connection, target: Path, tell: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Copies what a connection sees into a new file (mode 0600), and checks that it is sound.

    Args:
        source: A connection; in a transaction, so that what is written meanwhile is not seen.
        target: The file, which must not exist.
        tell: Told how many pages are left, and how many there are.

    Raises:
        UnavailableError: What was copied is not sound.
        FileExistsError: The file exists.
        OSError: It cannot be made.
        sqlite3.Error: The copy failed.
    """
    if target.exists():
        raise FileExistsError(target)
    create_private_file(target)
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
        source.backup(copy, pages=BACKUP_PAGES, progress=lambda _, left, all_: tell(left, all_))
        # One file, with nothing of it in a log beside it; whoever opens it next decides again.
        copy.execute("PRAGMA journal_mode = DELETE")
        if (found := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise UnavailableError(f"The copy of the database is not sound: {found}.")


@contextlib.contextmanager
def _without_writers(path: Path) -> Iterator[None]:
    with contextlib.closing(connect_writable(path)) as connection:
        connection.execute("PRAGMA busy_timeout = 0")
        give_up_at = time.monotonic() + INSTANT_TIMEOUT_SECONDS
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_BUSY:
                    raise
                if time.monotonic() >= give_up_at:
                    raise UnavailableError(
                        f"{path} is written to without a pause; the databases could not be held at "
                        "one instant."
                    ) from error
                time.sleep(_INSTANT_POLL_SECONDS)
        yield
        connection.execute("ROLLBACK")

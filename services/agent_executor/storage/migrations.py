"""Brings a service's database to the newest revision that the code knows, at start.

This module does it for a SQLite file, ``migrations_postgres`` for PostgreSQL, by the same revisions.

A service keeps its revisions in ``<folder>/versions``, one file each, named like
``0001_create_runs.py`` and counted without a gap; the number is the revision's id, and
``down_revision`` is the number before it. So the newest revision is known from the file names, and
alembic, which takes a third of a second to import, is loaded only when there is something to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_executor.storage.sqlite import connect_read_only, connect_writable, create_private_file

if TYPE_CHECKING:
    import sqlalchemy

LOCK_TIMEOUT_SECONDS: Final = 30.0
LOCK_POLL_SECONDS: Final = 0.02

_LOGGER = logging.getLogger(__name__)
_ENVIRONMENT_FOLDER: Final = Path(__file__).with_name("environment")

# alembic keeps its context in module globals, so one process runs one upgrade at a time.
ALEMBIC_LOCK: Final = threading.Lock()


class MigrationError(Exception):
    """A database cannot be brought to the revision of the code; the message says why."""


def upgrade(
    database_path: Path,
    migrations_folder: Path,
    *,
    lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS,
) -> None:
    """Create the database if need be (mode 0600) and apply the migrations that it lacks.

    Each migration is one transaction, so a process that is killed leaves whole revisions. Of
    several processes that start together one migrates and the others wait for it.

    Args:
        database_path: The SQLite file.
        migrations_folder: The service's folder that holds ``versions/``.
        lock_timeout_seconds: How long to wait for another process that migrates.

    Raises:
        MigrationError: The database is newer than the code, another process has migrated it for
            too long, or the revision files are not numbered as they must be.
        OSError: The file cannot be made.
        sqlite3.Error: The file cannot be opened, or is not a database.
    """
    revisions = known_revisions(migrations_folder)
    create_private_file(database_path)
    if _is_current(database_path, revisions):
        return
    with ALEMBIC_LOCK, _exclusive(database_path, lock_timeout_seconds):
        if _is_current(database_path, revisions):
            return
        _run_alembic(database_path, migrations_folder)
        if not _is_current(database_path, revisions):
            msg = f"The chain of revisions in {migrations_folder} does not end in {revisions[-1]}."
            raise MigrationError(msg)
        _LOGGER.info("Migrated %s to revision %s.", database_path.name, revisions[-1])


def known_revisions(migrations_folder: Path) -> list[str]:
    """Return the ids of the revisions in order, from the names of their files.

    Raises:
        MigrationError: The files are not numbered as they must be.
    """
    files = sorted((migrations_folder / "versions").glob("[0-9]*.py"))
    revisions = [file.name.partition("_")[0] for file in files]
    if not revisions or revisions != [f"{number:04}" for number in range(1, len(files) + 1)]:
        msg = f"The revisions in {migrations_folder} are not numbered 0001, 0002 and so on."
        raise MigrationError(msg)
    return revisions


def _is_current(database_path: Path, revisions: list[str]) -> bool:
    """Tell whether the database is at the newest revision.

    Raises:
        MigrationError: The database is at a revision that the code does not know.
    """
    with contextlib.closing(connect_read_only(database_path)) as connection:
        if not connection.execute(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'alembic_version'"
        ).fetchone():
            return False
        stored = [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]
    return is_newest(stored, revisions, str(database_path))


def is_newest(stored: list[str], revisions: list[str], database_name: str) -> bool:
    """Tell whether the revisions that a database has stored are the newest one.

    Raises:
        MigrationError: The database is at a revision that the code does not know.
    """
    for revision in stored:
        if revision not in revisions:
            msg = (
                f"The database {database_name} is at revision {revision}, and this version of "
                f"agent-executor knows none after {revisions[-1]}. It was written by a newer "
                "version: start that one, or restore a backup."
            )
            raise MigrationError(msg)
    return stored == revisions[-1:]


@contextlib.contextmanager
def _exclusive(database_path: Path, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock file beside the database; the kernel frees it if the holder dies."""
    lock_path = database_path.with_name(f"{database_path.name}.migration-lock")
    create_private_file(lock_path)
    give_up_at = time.monotonic() + timeout_seconds
    with lock_path.open("r+b") as lock_file:
        while True:
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up_at:
                    msg = f"Another process has been migrating {database_path} for too long."
                    raise MigrationError(msg) from None
            time.sleep(LOCK_POLL_SECONDS)
        yield


def _run_alembic(database_path: Path, migrations_folder: Path) -> None:
    """Apply every pending migration."""
    import sqlalchemy

    def connect() -> sqlite3.Connection:
        connection = connect_writable(database_path)
        # Copying a table that others refer to must not delete their rows.
        connection.execute("PRAGMA foreign_keys = OFF")
        return connection

    def begin(connection: sqlalchemy.Connection) -> None:
        # The driver leaves transactions to us.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=sqlalchemy.NullPool)
    sqlalchemy.event.listen(engine, "begin", begin)
    with engine.connect() as connection:
        apply_pending(connection, migrations_folder)


def apply_pending(connection: sqlalchemy.Connection, migrations_folder: Path) -> None:
    """Apply every pending migration on a connection; the caller holds ``ALEMBIC_LOCK``."""
    # Before it is loaded, for it tells of its plugins then.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command, config

    options = config.Config()
    for name, value in (
        ("script_location", str(_ENVIRONMENT_FOLDER)),
        ("version_locations", str(migrations_folder / "versions")),
        ("path_separator", "newline"),
    ):
        options.set_main_option(name, value.replace("%", "%%"))
    options.attributes["connection"] = connection
    command.upgrade(options, "head")

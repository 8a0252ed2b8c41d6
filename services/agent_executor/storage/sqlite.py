"""One SQLite database file: a group-commit writer and a pool of read-only connections.

The file is in WAL mode, so readers and the writer do not wait for each other, and ``synchronous``
is FULL, so a commit survives a power cut and not only a killed process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from agent_executor.errors import UnavailableError
from agent_executor.storage.group_commit import (
    MAX_BATCH_OPERATIONS,
    MAX_QUEUED_OPERATIONS,
    BatchStatistics,
    GroupCommitWriter,
    Operation,
    is_storage_failure,
)

T = TypeVar("T")

READER_THREADS: Final = 2
BUSY_TIMEOUT_SECONDS: Final = 5.0
CACHED_STATEMENTS: Final = 256
WAL_SIZE_LIMIT_BYTES: Final = 64 * 1024 * 1024


def create_private_file(path: Path) -> None:
    """Create an empty file that only its owner may read, in folders that only its owner may enter.

    What exists already is left as it is.

    Raises:
        OSError: A folder or the file cannot be made.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def connect_writable(path: Path) -> sqlite3.Connection:
    """Open a connection on which every transaction is explicit and every commit is durable.

    Raises:
        sqlite3.Error: The file cannot be opened, or is not a database.
    """
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        cached_statements=CACHED_STATEMENTS,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_LIMIT_BYTES}")
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write, for use from one thread at a time.

    Raises:
        sqlite3.Error: The file does not exist, cannot be opened, or is not a database.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        cached_statements=CACHED_STATEMENTS,
        # The pool's thread uses it, and whoever closes the pool closes it.
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


@contextlib.contextmanager
def _storage_failures() -> Iterator[None]:
    """Turn failures of the storage, but not of a statement, into ``UnavailableError``."""
    try:
        yield
    except sqlite3.Error as error:
        # Read-only is how the connection was opened: to write on it is the operation's fault.
        if not is_storage_failure(error) or error.sqlite_errorcode == sqlite3.SQLITE_READONLY:
            raise
        msg = "The database cannot be read at the moment."
        raise UnavailableError(msg) from error


class SqliteDatabase:
    """A database file, for one event loop.

    Attributes:
        path: The file.
        writer: Runs every write operation.
    """

    def __init__(
        self,
        path: Path,
        *,
        readers: int = READER_THREADS,
        max_batch: int = MAX_BATCH_OPERATIONS,
        max_queue: int = MAX_QUEUED_OPERATIONS,
        on_batch: Callable[[BatchStatistics], None] | None = None,
    ) -> None:
        """Open the file, and create it with mode 0600 if it does not exist.

        Args:
            path: A file; databases in memory are not supported.
            readers: Threads that read, each with its own connection.
            max_batch: Write operations in one transaction, at most.
            max_queue: Write operations under way, at most; more have to wait.
            on_batch: Called in the event loop after each batch of write operations.

        Raises:
            OSError: The file cannot be made.
            sqlite3.Error: The file cannot be opened, or is not a database.
        """
        # Absolute, for no name of a file is then one that SQLite treats as special.
        path = path.absolute()
        create_private_file(path)
        # Once here, so that a bad file fails the start and not the first operation.
        connect_writable(path).close()
        self.path = path
        self.writer = GroupCommitWriter(
            lambda: connect_writable(path),
            max_batch=max_batch,
            max_queue=max_queue,
            on_batch=on_batch,
            name=f"{path.stem}-writer",
        )
        self._closed = False
        self._local = threading.local()
        self._read_connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix=f"{path.stem}-reader")

    async def read(self, operation: Operation[T]) -> T:
        """Run a read operation on one snapshot of the database and return its value.

        It sees every write that was acknowledged before the call.

        Raises:
            UnavailableError: The database is closed, or the storage failed.
            Exception: Whatever the operation raised.
        """
        if self._closed:
            msg = "The database is closed."
            raise UnavailableError(msg)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, operation)

    def read_inline(self, operation: Operation[T]) -> T:
        """Run a read operation of one statement on the calling thread, which waits for it.

        For point reads by a primary key only: they cost less than the hop to a reader's thread
        and back. One statement needs no transaction to see one snapshot.

        Raises:
            UnavailableError: The database is closed, or the storage failed.
            Exception: Whatever the operation raised.
        """
        if self._closed:
            msg = "The database is closed."
            raise UnavailableError(msg)
        with _storage_failures():
            connection = self._read_connection()
            try:
                return operation(connection)
            except BaseException:
                self._give_up(connection)
                raise

    async def close(self) -> None:
        """End what was submitted, refuse what comes later, and close every connection."""
        self._closed = True
        await asyncio.to_thread(self._readers.shutdown)
        while self._read_connections:
            self._read_connections.pop().close()
        # The last connection to close is one that may write: it empties the WAL file.
        await self.writer.close()

    def _read(self, operation: Operation[T]) -> T:
        """Run a read operation in a transaction of its own; on a reader's thread."""
        with _storage_failures():
            connection = self._read_connection()
            try:
                connection.execute("BEGIN")
                result = operation(connection)
                connection.execute("ROLLBACK")
            except BaseException:
                self._give_up(connection)
                raise
            return result

    def _read_connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opened at its first use."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect_read_only(self.path)
            self._read_connections.append(connection)
        return connection

    def _give_up(self, connection: sqlite3.Connection) -> None:
        """Close this thread's connection after an operation that raised.

        A cursor that it left half read keeps its snapshot for as long as somebody holds the error,
        and every read after it would see the database as it was then.
        """
        self._local.connection = None
        self._read_connections.remove(connection)
        connection.close()

"""One PostgreSQL database: a group-commit writer and a pool of connections that only read.

A commit is durable when it returns: where the server's ``synchronous_commit`` is off, it is put on
for these connections. They keep prepared statements, so a pooler between must be one of sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

import asyncpg

from agent_executor.errors import UnavailableError
from agent_executor.storage.group_commit import MAX_QUEUED_OPERATIONS, BatchStatistics
from agent_executor.storage.postgres_connection import PostgresConnection
from agent_executor.storage.postgres_writer import (
    CLOSE_TIMEOUT_SECONDS,
    MAX_BATCH_OPERATIONS,
    WRITER_CONNECTIONS,
    PostgresRead,
    PostgresWriter,
    is_closed,
    is_lost,
    is_storage_failure,
)

T = TypeVar("T")

READER_CONNECTIONS: Final = 4

_CANNOT_READ: Final = "The database cannot be read at the moment."
CONNECT_TIMEOUT_SECONDS: Final = 5.0
STATEMENT_TIMEOUT_SECONDS: Final = 30.0
APPLICATION_NAME: Final = "agent-executor"


async def connect(database_url: str) -> PostgresConnection:
    """Opens a connection whose commits are durable.

    Raises:
        OSError: The server cannot be reached.
        TimeoutError: It does not answer in time.
        asyncpg.PostgresError: It refuses the connection.
        ValueError: The URL is none.
    """
    connection: PostgresConnection = await asyncpg.connect(database_url, **_options())
    # Whatever else an operator has chosen is at least durable on the server itself.
    if await connection.fetchval("SHOW synchronous_commit") == "off":
        await connection.execute("SET synchronous_commit = on")
    return connection


class PostgresDatabase:
    """A database, for one event loop.

    Attributes:
        writer: Runs every write operation.
    """

    def __init__(
        self,
        database_url: str,
        *,
        writers: int = WRITER_CONNECTIONS,
        readers: int = READER_CONNECTIONS,
        max_batch: int = MAX_BATCH_OPERATIONS,
        max_queue: int = MAX_QUEUED_OPERATIONS,
        on_batch: Callable[[BatchStatistics], None] | None = None,
    ) -> None:
        """Prepares the connections, each of which is opened at its first use, in the event loop.

        Args:
            database_url: As ``postgresql://user:password@host:port/database``.
            writers: Connections that write.
            readers: Connections that read, at most.
            max_batch: Write operations in one transaction, at most.
            max_queue: Write operations under way, at most; more have to wait.
            on_batch: Called after each batch of write operations.
        """
        self.writer = PostgresWriter(
            lambda: connect(database_url),
            connections=writers,
            max_batch=max_batch,
            max_queue=max_queue,
            on_batch=on_batch,
        )
        self._pool: Any = asyncpg.create_pool(
            database_url, min_size=0, max_size=readers, reset=_keep, **_options()
        )
        self._initializing = asyncio.Lock()
        self._initialized = False
        self._closed = False

    async def read(self, operation: PostgresRead[T]) -> T:
        """Runs a read operation on one snapshot of the database and returns its value.

        It sees every write that was acknowledged before the call. Where the connection turns out
        to be lost, the operation runs once more on another one.

        Raises:
            UnavailableError: The database is closed, or the storage failed.
            Exception: Whatever the operation raised.
        """

        async def on_a_snapshot(connection: PostgresConnection) -> T:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                return await operation(connection)
            finally:
                if not is_closed(connection):
                    await connection.execute("ROLLBACK")

        return await self.read_statement(on_a_snapshot)

    async def read_statement(self, operation: PostgresRead[T]) -> T:
        """Runs a read operation of one statement, which needs no transaction to be one snapshot.

        Where the connection turns out to be lost, the operation runs once more on another one.

        Raises:
            UnavailableError: The database is closed, or the storage failed.
            Exception: Whatever the operation raised.
        """
        with contextlib.suppress(_ConnectionLost):
            async with self._reader() as connection:
                return await operation(connection)
        try:
            async with self._reader() as connection:
                return await operation(connection)
        except _ConnectionLost as lost:
            raise UnavailableError(_CANNOT_READ) from lost.__cause__

    @property
    def connections(self) -> dict[str, int]:
        """How many connections are open: those that are ``writing``, ``reading`` or ``idle``."""
        writing, idle = self.writer.connections
        # A pool that was not used yet has no sizes.
        if self._initialized:
            idle_readers = self._pool.get_idle_size()
            reading = self._pool.get_size() - idle_readers
            return {"writing": writing, "reading": reading, "idle": idle + idle_readers}
        return {"writing": writing, "reading": 0, "idle": idle}

    async def close(self) -> None:
        """Ends what was submitted, refuses what comes later, and closes every connection."""
        self._closed = True
        await self.writer.close()
        if self._initialized:
            try:
                await asyncio.wait_for(self._pool.close(), CLOSE_TIMEOUT_SECONDS)
            except TimeoutError:
                self._pool.terminate()

    @contextlib.asynccontextmanager
    async def _reader(self) -> AsyncIterator[PostgresConnection]:
        """Lends a connection, and turns failures of the storage into ``UnavailableError``."""
        if self._closed:
            raise UnavailableError("The database is closed.")
        try:
            if not self._initialized:
                async with self._initializing:
                    await self._pool
                    self._initialized = True
            connection = await self._pool.acquire(timeout=STATEMENT_TIMEOUT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise UnavailableError(_CANNOT_READ) from error
        try:
            yield connection
        except Exception as error:
            if is_lost(error, connection):
                # The server has ended it, and most likely every other one that was idle.
                await self._pool.expire_connections()
                if not is_closed(connection):
                    connection.terminate()
                raise _ConnectionLost from error
            if is_storage_failure(error):
                raise UnavailableError(_CANNOT_READ) from error
            raise
        finally:
            await self._pool.release(connection)


class _ConnectionLost(Exception):  # noqa: N818 -- it is caught here, and no caller's error
    """The connection of a read ended, maybe while it was idle."""


def _options() -> dict[str, Any]:
    return {
        "timeout": CONNECT_TIMEOUT_SECONDS,
        "command_timeout": STATEMENT_TIMEOUT_SECONDS,
        "server_settings": {"application_name": APPLICATION_NAME},
    }


async def _keep(_: object) -> None:
    """Saves a round trip at each return of a connection, for readers leave no state on theirs."""

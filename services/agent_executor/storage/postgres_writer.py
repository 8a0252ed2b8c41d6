"""Group commit on PostgreSQL: few connections, one transaction for all operations that wait.

A durable commit costs a round trip and a flush of the log, whatever it holds. So the operations
that arrive while one commit runs wait together and share the next one, as ``group_commit`` does it
for SQLite, with which this shares its promises.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from agent_executor.errors import UnavailableError
from agent_executor.storage.group_commit import MAX_QUEUED_OPERATIONS, BatchStatistics
from agent_executor.storage.postgres_connection import PostgresConnection

T = TypeVar("T")


class PostgresTransaction:
    """An open transaction, with the statements of its connection.

    Attributes:
        memory: What the operations of this transaction tell each other, for example what is behind
            a lock that one of them has taken; it is lost when the transaction ends.
    """

    def __init__(self, connection: PostgresConnection) -> None:
        self.memory: dict[object, Any] = {}
        self.execute = connection.execute
        self.fetch = connection.fetch
        self.fetchrow = connection.fetchrow
        self.fetchval = connection.fetchval


PostgresRead: TypeAlias = Callable[[PostgresConnection], Awaitable[T]]
PostgresWrite: TypeAlias = Callable[[PostgresTransaction], Awaitable[T]]

WRITER_CONNECTIONS: Final = 2
# A transaction keeps its locks until it ends, and other processes may wait for one of them.
MAX_BATCH_OPERATIONS: Final = 200
MAX_ATTEMPTS: Final = 3
CLOSE_TIMEOUT_SECONDS: Final = 5.0

_LOGGER = logging.getLogger(__name__)

# Classes and codes of SQLSTATE by which PostgreSQL says that it failed, not the statement:
# connection, resources, operator intervention, system and internal errors.
_STORAGE_FAILURE_CLASSES: Final = frozenset({"08", "53", "57", "58", "XX"})
# Transactions that lost against another one: a deadlock or a serialization failure.
_ROLLED_BACK_CLASS: Final = "40"


def is_storage_failure(error: BaseException) -> bool:
    """Tells whether the server or the way to it failed, whatever was asked of it."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in _STORAGE_FAILURE_CLASSES
    return isinstance(error, OSError | TimeoutError | asyncpg.InternalClientError)


def is_closed(connection: PostgresConnection) -> bool:
    """Tells whether a connection is closed, be it one of a pool."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # A pool takes a connection back when it ends, and then it answers nothing any more.
        return True


def is_lost(error: BaseException, connection: PostgresConnection) -> bool:
    """Tells whether it is the connection that failed, so that another one may do."""
    # The client knows of an end only when it has read it; a statement that comes before fails in
    # one of these ways on a connection that does not call itself closed.
    return is_closed(connection) or isinstance(
        error,
        ConnectionError
        | asyncpg.PostgresConnectionError
        | asyncpg.AdminShutdownError
        | asyncpg.CrashShutdownError
        | asyncpg.InternalClientError,
    )


@dataclass(slots=True)
class _Submitted:
    """An operation in the queue, and the future on which its caller waits."""

    operation: PostgresWrite[Any]
    key: str
    future: asyncio.Future[Any]


@dataclass(slots=True)
class _Failed:
    """The outcome of an operation that has had no effect."""

    error: Exception


class PostgresWriter:
    """Runs the write operations of one event loop, many in one transaction.

    An operation gets an open transaction of isolation level READ COMMITTED.
    It touches nothing else and does not begin, commit or roll back, for it may be rolled back and
    run again. It refuses by returning a value. If it raises, its batch is rolled back and each
    operation is run again in a transaction of its own, so that only the guilty one fails.

    The operations of one key run in the order in which they were submitted, and those of a batch in
    the order of their keys: so processes that lock by key wait for each other, and never in a ring.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[PostgresConnection]],
        *,
        connections: int = WRITER_CONNECTIONS,
        max_batch: int = MAX_BATCH_OPERATIONS,
        max_queue: int = MAX_QUEUED_OPERATIONS,
        on_batch: Callable[[BatchStatistics], None] | None = None,
    ) -> None:
        """Starts the tasks; to be called in the event loop.

        Args:
            connect: Opens a connection; called again after a failure of the storage.
            connections: How many transactions run at the same time.
            max_batch: Operations in one transaction, at most.
            max_queue: Operations submitted and not ended, at most; beyond it ``submit`` waits.
            on_batch: Called after each batch.
        """
        self._places = asyncio.Semaphore(max_queue)
        self._on_batch = on_batch
        self._statistics = BatchStatistics()
        self._closed = False
        self._lanes = [_Lane(connect, max_batch, self._count) for _ in range(connections)]

    @property
    def statistics(self) -> BatchStatistics:
        """What the writer has done so far."""
        return self._statistics

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections are open: those of batches under way, and idle ones."""
        is_busy = [lane.is_busy for lane in self._lanes if lane.is_connected]
        return sum(is_busy), len(is_busy) - sum(is_busy)

    async def submit(self, operation: PostgresWrite[T], *, key: str = "") -> T:
        """Runs a write operation and returns its value once that is durable.

        Waits for a place while ``max_queue`` operations are under way. A caller that is cancelled
        before it has a place has submitted nothing; one that is cancelled later does not undo its
        operation.

        Args:
            operation: What to run.
            key: What it locks, for example an organization; see the class.

        Raises:
            UnavailableError: The writer is closed, or the storage failed. The operation has had no
                effect, unless the connection broke during the very commit.
            Exception: What the operation raised; it has had no effect.
        """
        await self._places.acquire()
        if self._closed:
            self._places.release()
            raise UnavailableError("The database is closed.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        lane = self._lanes[zlib.crc32(key.encode(errors="surrogatepass")) % len(self._lanes)]
        lane.put(_Submitted(operation, key, future))
        return await future

    async def close(self) -> None:
        """Runs what was submitted, refuses what comes later, and closes the connections."""
        self._closed = True
        await asyncio.gather(*(lane.close() for lane in self._lanes))

    def _count(self, operations: int, seconds: float) -> None:
        for _ in range(operations):
            self._places.release()
        self._statistics = BatchStatistics(
            batches=self._statistics.batches + 1,
            operations=self._statistics.operations + operations,
            last_batch_operations=operations,
            last_batch_seconds=seconds,
        )
        if self._on_batch is not None:
            self._on_batch(self._statistics)


class _Lane:
    """One connection, its queue and its task.

    Attributes:
        is_busy: Whether a batch is under way.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[PostgresConnection]],
        max_batch: int,
        on_batch: Callable[[int, float], None],
    ) -> None:
        self._connect = connect
        self._max_batch = max_batch
        self._on_batch = on_batch
        self._queue: asyncio.Queue[_Submitted | None] = asyncio.Queue()
        self._connection: PostgresConnection | None = None
        self._closing = False
        self.is_busy = False
        self._task = asyncio.create_task(self._run())

    @property
    def is_connected(self) -> bool:
        """Whether its connection is open."""
        return self._connection is not None and not self._connection.is_closed()

    def put(self, submitted: _Submitted) -> None:
        """Queues an operation."""
        self._queue.put_nowait(submitted)

    async def close(self) -> None:
        """Ends after what is queued."""
        if not self._closing:
            self._closing = True
            self._queue.put_nowait(None)
        await asyncio.shield(self._task)

    async def _run(self) -> None:
        """Is the task: batch after batch, until the end mark."""
        ended = False
        batch: list[_Submitted] = []
        try:
            while not ended:
                batch, ended = await self._next_batch()
                if batch:
                    started = time.perf_counter()
                    self.is_busy = True
                    outcomes = await self._execute(batch)
                    self.is_busy = False
                    _deliver(batch, outcomes)
                    self._on_batch(len(batch), time.perf_counter() - started)
                    batch = []
            await self._disconnect()
        finally:
            # Only a task that is cancelled, with its event loop, leaves anyone waiting.
            while not self._queue.empty():
                if (submitted := self._queue.get_nowait()) is not None:
                    batch.append(submitted)
            _deliver(batch, [_Failed(_unavailable()) for _ in batch])
            self._drop_connection()

    async def _next_batch(self) -> tuple[list[_Submitted], bool]:
        """Waits for an operation and takes all behind it; tells whether the end is reached."""
        batch: list[_Submitted] = []
        while (submitted := await self._queue.get()) is not None:
            batch.append(submitted)
            if len(batch) == self._max_batch or self._queue.empty():
                break
        batch.sort(key=lambda each: each.key)
        return batch, submitted is None

    async def _execute(self, batch: list[_Submitted], attempt: int = 1) -> list[Any]:
        """Returns the outcome of each operation: its value, or ``_Failed``."""
        try:
            return await self._transact(batch)
        except Exception as error:  # noqa: BLE001 -- the task lives on, whatever is raised
            rolled_back = await self._roll_back()
            # A server that does not let write is a standby: another is the right one by now.
            is_standby = isinstance(error, asyncpg.ReadOnlySQLTransactionError)
            if not rolled_back or is_standby or is_storage_failure(error):
                return self._fail(batch, error)
            if len(batch) == 1:
                if not _lost_against_another(error):
                    return [_Failed(error)]
                if attempt == MAX_ATTEMPTS:
                    return self._fail(batch, error)
                return await self._execute(batch, attempt + 1)
        return [outcome for each in batch for outcome in await self._execute([each])]

    async def _transact(self, batch: list[_Submitted]) -> list[Any]:
        """Runs the operations in one transaction and commits it."""
        connection = await self._begin()
        transaction = PostgresTransaction(connection)
        outcomes = []
        for submitted in batch:
            outcomes.append(await submitted.operation(transaction))
            if not connection.is_in_transaction():
                raise RuntimeError("The operation ended its transaction.")
        # A transaction in which an operation swallowed an error can only be rolled back.
        if await connection.execute("COMMIT") != "COMMIT":
            raise RuntimeError("An operation swallowed an error of its transaction.")
        return outcomes

    async def _begin(self) -> PostgresConnection:
        """Opens a transaction; a connection that was lost while it was idle is replaced."""
        begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
        if self._connection is not None and not self._connection.is_closed():
            try:
                await self._connection.execute(begin)
            except Exception as error:
                if not is_lost(error, self._connection):
                    raise
                self._drop_connection()
            else:
                return self._connection
        self._connection = None
        self._connection = await self._connect()
        await self._connection.execute(begin)
        return self._connection

    async def _roll_back(self) -> bool:
        """Undoes the open transaction, if there is one; tells whether the connection is sound."""
        connection = self._connection
        if connection is None or connection.is_closed():
            return False
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            _LOGGER.exception("A transaction could not be rolled back; reconnecting.")
            self._drop_connection()
            return False
        return True

    def _fail(self, batch: list[_Submitted], error: Exception) -> list[Any]:
        """Gives up a batch for which the storage failed, and the connection with it."""
        _LOGGER.error("%d operations were not committed.", len(batch), exc_info=error)
        self._drop_connection()
        return [_Failed(_unavailable()) for _ in batch]

    def _drop_connection(self) -> None:
        """Drops the connection; the next batch opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _disconnect(self) -> None:
        """Closes the connection at the end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
                await connection.close(timeout=CLOSE_TIMEOUT_SECONDS)


def _lost_against_another(error: Exception) -> bool:
    return (
        isinstance(error, asyncpg.PostgresError)
        and (error.sqlstate or "")[:2] == _ROLLED_BACK_CLASS
    )


def _unavailable() -> UnavailableError:
    return UnavailableError("The database cannot be written to at the moment.")


def _deliver(batch: list[_Submitted], outcomes: list[Any]) -> None:
    """Wakes the callers of a batch."""
    for submitted, outcome in zip(batch, outcomes, strict=True):
        if submitted.future.done():
            if type(outcome) is _Failed:
                _LOGGER.warning("An abandoned operation failed.", exc_info=outcome.error)
        elif type(outcome) is _Failed:
            submitted.future.set_exception(outcome.error)
        else:
            submitted.future.set_result(outcome)

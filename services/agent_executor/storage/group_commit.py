"""Group commit: one thread, one connection, one transaction for all operations that wait.

A durable commit costs an ``fdatasync``, whatever it holds. So the operations that arrive while one
commit runs wait together and share the next one: under load each commit carries many operations,
and at rest an operation waits for nobody.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

from agent_executor.errors import UnavailableError

T = TypeVar("T")

Operation: TypeAlias = Callable[[sqlite3.Connection], T]

MAX_BATCH_OPERATIONS: Final = 1_000
MAX_QUEUED_OPERATIONS: Final = 10_000

_LOGGER = logging.getLogger(__name__)

# The primary result codes by which SQLite says that the storage failed, not the statement.
_STORAGE_FAILURE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    }
)


def is_storage_failure(error: BaseException) -> bool:
    """Tell whether SQLite failed for the disk, the file or a lock, whatever was asked of it."""
    # The low byte is the primary code; sqlite3 leaves the attribute out of errors of its own.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    return isinstance(error, sqlite3.Error) and code in _STORAGE_FAILURE_CODES


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """What a writer has done so far.

    Attributes:
        batches: Batches ended, committed or not.
        operations: Operations in them.
        last_batch_operations: Operations in the last batch.
        last_batch_seconds: How long the last batch took, from its begin to its commit.
    """

    batches: int = 0
    operations: int = 0
    last_batch_operations: int = 0
    last_batch_seconds: float = 0.0


@dataclass(slots=True)
class _Submitted:
    """An operation in the queue, and the future on which its caller waits."""

    operation: Operation[Any]
    future: asyncio.Future[Any]


@dataclass(slots=True)
class _Failed:
    """The outcome of an operation that has had no effect."""

    error: BaseException


class GroupCommitWriter:
    """Runs the write operations of one event loop on one thread, many in one transaction.

    An operation gets the connection inside an open transaction. It touches nothing else and does
    not begin, commit or roll back, for it may be rolled back and run a second time. It refuses by
    returning a value. If it raises, its batch is rolled back and each operation is run again in a
    transaction of its own, so that only the guilty one fails.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        max_batch: int = MAX_BATCH_OPERATIONS,
        max_queue: int = MAX_QUEUED_OPERATIONS,
        on_batch: Callable[[BatchStatistics], None] | None = None,
        name: str = "group-commit",
    ) -> None:
        """Start the thread.

        Args:
            connect: Opens a connection with ``isolation_level=None``. Called on the thread, and
                again after a failure of the storage.
            max_batch: Operations in one transaction, at most.
            max_queue: Operations submitted and not ended, at most; beyond it ``submit`` waits.
            on_batch: Called in the event loop after each batch.
            name: The thread's name.
        """
        self._connect = connect
        self._max_batch = max_batch
        self._on_batch = on_batch
        self._places = asyncio.Semaphore(max_queue)
        self._queue: SimpleQueue[_Submitted | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._statistics = BatchStatistics()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        # A daemon, so that a program that never closes its database can still exit: what was
        # acknowledged is on disk.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def statistics(self) -> BatchStatistics:
        """What the writer has done so far."""
        return self._statistics

    async def submit(self, operation: Operation[T]) -> T:
        """Run a write operation and return its value once that is durable.

        Waits for a place while ``max_queue`` operations are under way. A caller that is cancelled
        before it has a place has submitted nothing; one that is cancelled later does not undo its
        operation.

        Raises:
            UnavailableError: The writer is closed, or the storage failed. The operation has had no
                effect, unless the machine went down in that very instant.
            RuntimeError: The writer is in use from another event loop.
            Exception: What the operation raised; it has had no effect.
        """
        await self._places.acquire()
        if self._closed:
            self._places.release()
            msg = "The database is closed."
            raise UnavailableError(msg)
        future: asyncio.Future[T] = self._event_loop().create_future()
        self._queue.put(_Submitted(operation, future))
        return await future

    async def close(self) -> None:
        """Run what was submitted, refuse what comes later, and close the connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop, which is the same for every operation."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            self._places.release()
            msg = "A GroupCommitWriter serves one event loop only."
            raise RuntimeError(msg)
        return loop

    def _run(self) -> None:
        """Be the thread: batch after batch, until the end mark."""
        ended = False
        while not ended:
            batch, ended = self._next_batch()
            if batch:
                started = time.perf_counter()
                outcomes = self._execute(batch)
                self._deliver(batch, outcomes, time.perf_counter() - started)
        self._disconnect()

    def _next_batch(self) -> tuple[list[_Submitted], bool]:
        """Wait for an operation and take all behind it; tell whether the end is reached."""
        batch: list[_Submitted] = []
        while (submitted := self._queue.get()) is not None:
            batch.append(submitted)
            if len(batch) == self._max_batch or self._queue.empty():
                return batch, False
        return batch, True

    def _execute(self, batch: list[_Submitted]) -> list[Any]:
        """Return the outcome of each operation: its value, or ``_Failed``."""
        try:
            return self._transact(batch)
        except BaseException as error:  # noqa: BLE001 -- the thread lives on, whatever is raised
            if self._connection is None or is_storage_failure(error):
                return self._fail(batch, error)
            self._roll_back()
            if len(batch) == 1:
                return [_Failed(_raisable(error))]
        return [outcome for submitted in batch for outcome in self._execute([submitted])]

    def _transact(self, batch: list[_Submitted]) -> list[Any]:
        """Run the operations in one transaction and commit it."""
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        outcomes = []
        for submitted in batch:
            outcomes.append(submitted.operation(connection))
            # SQLite itself rolls back when the disk is full; an operation that swallows that error
            # would go on outside of any transaction.
            if not connection.in_transaction:
                msg = "The operation, or an error that it swallowed, ended its transaction."
                raise RuntimeError(msg)
        connection.execute("COMMIT")
        return outcomes

    def _roll_back(self) -> None:
        """Undo the open transaction, if there is one."""
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            _LOGGER.exception("A transaction could not be rolled back; reconnecting.")
            self._disconnect()

    def _fail(self, batch: list[_Submitted], error: BaseException) -> list[Any]:
        """Give up a batch for which the storage failed, and the connection with it."""
        _LOGGER.error("%d operations were not committed.", len(batch), exc_info=error)
        self._disconnect()
        msg = "The database cannot be written to at the moment."
        return [_Failed(UnavailableError(msg)) for _ in batch]

    def _disconnect(self) -> None:
        """Close the connection; the next batch opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                _LOGGER.exception("A connection could not be closed.")

    def _deliver(self, batch: list[_Submitted], outcomes: list[Any], seconds: float) -> None:
        """Hand the outcomes to the event loop, with one wake-up for all of them."""
        statistics = BatchStatistics(
            batches=self._statistics.batches + 1,
            operations=self._statistics.operations + len(batch),
            last_batch_operations=len(batch),
            last_batch_seconds=seconds,
        )
        self._statistics = statistics
        loop = batch[0].future.get_loop()
        try:
            loop.call_soon_threadsafe(self._resolve, batch, outcomes, statistics)
        except RuntimeError:
            _LOGGER.warning("%d operations ended after their event loop.", len(batch))

    def _resolve(
        self, batch: list[_Submitted], outcomes: list[Any], statistics: BatchStatistics
    ) -> None:
        """Wake the callers of a batch; runs in the event loop."""
        for submitted, outcome in zip(batch, outcomes, strict=True):
            self._places.release()
            if submitted.future.done():
                if type(outcome) is _Failed:
                    _LOGGER.warning("An abandoned operation failed.", exc_info=outcome.error)
            elif type(outcome) is _Failed:
                submitted.future.set_exception(outcome.error)
            else:
                submitted.future.set_result(outcome)
        if self._on_batch is not None:
            self._on_batch(statistics)


def _raisable(error: BaseException) -> BaseException:
    """Return the error, or what stands for it where a future cannot hold it."""
    if isinstance(error, StopIteration):
        replacement = RuntimeError("The operation raised StopIteration.")
        replacement.__cause__ = error
        return replacement
    return error

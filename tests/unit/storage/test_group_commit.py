from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agent_executor.errors import UnavailableError
from agent_executor.storage.group_commit import BatchStatistics, GroupCommitWriter, Operation
from agent_executor.storage.sqlite import connect_read_only, connect_writable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "letters.sqlite3"
    connection = connect_writable(path)
    connection.execute("CREATE TABLE letters (letter TEXT PRIMARY KEY)")
    connection.execute(
        "CREATE TABLE words (first TEXT REFERENCES letters DEFERRABLE INITIALLY DEFERRED)"
    )
    connection.close()
    return path


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[GroupCommitWriter]:
    writer = GroupCommitWriter(lambda: connect_writable(path))
    yield writer
    await writer.close()


def insert(letter: str) -> Operation[str]:
    def operation(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO letters VALUES (?)", (letter,))
        return letter

    return operation


def insert_and_raise(letter: str) -> Operation[str]:
    def operation(connection: sqlite3.Connection) -> str:
        insert(letter)(connection)
        raise KeyError(letter)

    return operation


def stored(path: Path) -> str:
    connection = connect_read_only(path)
    letters = "".join(row[0] for row in connection.execute("SELECT letter FROM letters"))
    connection.close()
    return "".join(sorted(letters))


@contextlib.asynccontextmanager
async def busy(writer: GroupCommitWriter) -> AsyncIterator[None]:
    """Keep the writer busy with one operation, so that what is submitted meanwhile must wait."""
    entered = threading.Event()
    left = threading.Event()

    def operation(_: sqlite3.Connection) -> None:
        entered.set()
        assert left.wait(10)

    task = asyncio.create_task(writer.submit(operation))
    await asyncio.to_thread(entered.wait, 10)
    try:
        yield
    finally:
        left.set()
        await task


async def submit_all(
    writer: GroupCommitWriter, *operations: Operation[Any]
) -> list[asyncio.Task[Any]]:
    """Submit from a task each, and let each get as far as it can."""
    tasks = [asyncio.create_task(writer.submit(operation)) for operation in operations]
    await asyncio.sleep(0)
    return tasks


async def submit_together(writer: GroupCommitWriter, *operations: Operation[Any]) -> list[Any]:
    """Submit while the writer is busy, so that all operations are in one batch."""
    async with busy(writer):
        tasks = await submit_all(writer, *operations)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_acknowledged_operation_is_committed(
    path: Path, writer: GroupCommitWriter
) -> None:
    assert await writer.submit(insert("a")) == "a"
    assert stored(path) == "a"


def test_it_works_under_uvloop(path: Path) -> None:
    async def main() -> None:
        writer = GroupCommitWriter(lambda: connect_writable(path))
        await asyncio.gather(*(writer.submit(insert(letter)) for letter in "abc"))
        await writer.close()

    uvloop.run(main())
    assert stored(path) == "abc"


async def test_operations_that_wait_share_one_transaction(
    path: Path, writer: GroupCommitWriter
) -> None:
    await submit_together(writer, *map(insert, "abcdefghij"))
    assert stored(path) == "abcdefghij"
    assert writer.statistics.batches == 2
    assert writer.statistics.operations == 11
    assert writer.statistics.last_batch_operations == 10
    assert writer.statistics.last_batch_seconds > 0


async def test_a_batch_has_a_limit(path: Path) -> None:
    seen: list[BatchStatistics] = []
    writer = GroupCommitWriter(lambda: connect_writable(path), max_batch=4, on_batch=seen.append)
    await submit_together(writer, *map(insert, "abcdefghij"))
    await writer.close()
    assert [statistics.last_batch_operations for statistics in seen] == [1, 4, 4, 2]
    assert seen[-1] == writer.statistics


async def test_only_the_operation_that_raises_fails(path: Path, writer: GroupCommitWriter) -> None:
    outcomes = await submit_together(
        writer, insert("a"), insert_and_raise("b"), insert("c"), insert("a"), insert("d")
    )
    assert outcomes[0] == "a"
    assert isinstance(outcomes[1], KeyError)
    assert outcomes[2] == "c"
    assert isinstance(outcomes[3], sqlite3.IntegrityError)
    assert outcomes[4] == "d"
    assert stored(path) == "acd"


async def test_only_the_operation_that_breaks_a_deferred_constraint_fails(
    path: Path, writer: GroupCommitWriter
) -> None:
    def orphan(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO words VALUES ('z')")

    outcomes = await submit_together(writer, insert("a"), orphan, insert("b"))
    assert isinstance(outcomes[1], sqlite3.IntegrityError)
    assert stored(path) == "ab"


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
async def test_an_operation_that_ends_the_transaction_fails_and_harms_no_later_one(
    path: Path, writer: GroupCommitWriter, statement: str
) -> None:
    outcomes = await submit_together(
        writer, lambda connection: connection.execute(statement).rowcount, insert("a")
    )
    assert isinstance(outcomes[0], RuntimeError)
    assert outcomes[1] == "a"
    assert stored(path) == "a"


async def test_a_refusal_is_a_value(path: Path, writer: GroupCommitWriter) -> None:
    outcomes = await submit_together(writer, insert("a"), lambda _: "refused", insert("b"))
    assert outcomes == ["a", "refused", "b"]
    assert writer.statistics.batches == 2
    assert stored(path) == "ab"


async def test_stop_iteration_reaches_the_caller_in_a_form_that_a_future_can_hold(
    writer: GroupCommitWriter,
) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await writer.submit(lambda _: next(iter(())))


async def test_the_thread_survives_whatever_an_operation_raises(
    path: Path, writer: GroupCommitWriter
) -> None:
    class Fatal(BaseException):
        pass

    def fail(_: sqlite3.Connection) -> None:
        raise Fatal

    with pytest.raises(Fatal):
        await writer.submit(fail)
    await writer.submit(insert("a"))
    assert stored(path) == "a"


async def test_a_cancelled_caller_does_not_undo_its_operation(
    path: Path, writer: GroupCommitWriter, caplog: pytest.LogCaptureFixture
) -> None:
    async with busy(writer):
        abandoned = await submit_all(writer, insert("a"), insert_and_raise("b"))
        for task in abandoned:
            task.cancel()
        await asyncio.wait(abandoned)
        assert all(task.cancelled() for task in abandoned)
    await writer.submit(insert("c"))
    assert stored(path) == "ac"
    assert "An abandoned operation failed." in caplog.text


async def test_a_full_queue_makes_callers_wait(path: Path) -> None:
    writer = GroupCommitWriter(lambda: connect_writable(path), max_queue=2)
    async with busy(writer):
        tasks = await submit_all(writer, *map(insert, "abc"))
        assert writer._queue.qsize() == 1
        tasks[1].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    await writer.close()
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert stored(path) == "ac"


async def test_close_ends_what_was_submitted_and_refuses_the_rest(path: Path) -> None:
    writer = GroupCommitWriter(lambda: connect_writable(path), max_queue=3)
    async with busy(writer):
        tasks = await submit_all(writer, *map(insert, "abc"))
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0)
    await closing
    *submitted, waiting = await asyncio.gather(*tasks, return_exceptions=True)
    assert submitted == ["a", "b"]
    assert isinstance(waiting, UnavailableError)
    with pytest.raises(UnavailableError):
        await writer.submit(insert("d"))
    await writer.close()
    assert stored(path) == "ab"


async def test_a_failed_commit_fails_its_batch_and_not_the_next(path: Path) -> None:
    failing = True

    class FaultyConnection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if failing and sql == "COMMIT":
                error = sqlite3.OperationalError("disk I/O error on /var/secret/place")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
                raise error
            return super().execute(sql, parameters)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, factory=FaultyConnection)

    writer = GroupCommitWriter(connect)
    outcomes = await asyncio.gather(*map(writer.submit, map(insert, "ab")), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 2
    assert not any("/" in str(outcome) for outcome in outcomes)
    failing = False
    assert await writer.submit(insert("c")) == "c"
    await writer.close()
    assert stored(path) == "c"


async def test_a_connection_that_cannot_roll_back_is_replaced(path: Path) -> None:
    connections: list[sqlite3.Connection] = []

    class BrokenConnection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if sql == "ROLLBACK":
                raise sqlite3.OperationalError
            return super().execute(sql, parameters)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, factory=BrokenConnection)
        connections.append(connection)
        return connection

    writer = GroupCommitWriter(connect)
    with pytest.raises(KeyError):
        await writer.submit(insert_and_raise("a"))
    assert await writer.submit(insert("b")) == "b"
    await writer.close()
    assert len(connections) == 2
    assert stored(path) == "b"


async def test_a_full_disk_fails_the_whole_batch(path: Path) -> None:
    full = True

    def connect() -> sqlite3.Connection:
        connection = connect_writable(path)
        if full:
            connection.execute("PRAGMA max_page_count = 1")
        return connection

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO letters VALUES (?)", ("x" * 100_000,))

    writer = GroupCommitWriter(connect)
    outcomes = await submit_together(writer, insert("a"), fill, insert("b"))
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
    full = False
    assert await writer.submit(insert("c")) == "c"
    await writer.close()
    assert stored(path) == "c"


async def test_a_database_that_cannot_be_opened_is_unavailable_until_it_can(path: Path) -> None:
    missing = True

    def connect() -> sqlite3.Connection:
        if missing:
            raise FileNotFoundError(path)
        return connect_writable(path)

    writer = GroupCommitWriter(connect)
    with pytest.raises(UnavailableError) as caught:
        await writer.submit(insert("a"))
    assert path.name not in str(caught.value)
    missing = False
    assert await writer.submit(insert("b")) == "b"
    await writer.close()
    assert stored(path) == "b"


def test_a_writer_serves_one_event_loop(path: Path) -> None:
    writer = GroupCommitWriter(lambda: connect_writable(path), max_queue=1)
    asyncio.run(writer.submit(insert("a")))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="one event loop"):
            asyncio.run(writer.submit(insert("b")))
    asyncio.run(writer.close())
    assert stored(path) == "a"


def test_a_writer_outlives_an_event_loop_that_left_operations_behind(path: Path) -> None:
    writer = GroupCommitWriter(lambda: connect_writable(path))
    left = threading.Event()

    async def leave() -> None:
        await submit_all(writer, lambda _: left.wait(10), insert("a"))

    asyncio.run(leave())
    left.set()
    asyncio.run(writer.close())
    assert stored(path) == "a"

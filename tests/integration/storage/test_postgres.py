"""What the PostgreSQL writer and reader promise, against a real server."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import uvloop

from agent_executor.errors import UnavailableError
from agent_executor.storage.group_commit import BatchStatistics
from agent_executor.storage.postgres import PostgresDatabase
from agent_executor.storage.postgres_connection import PostgresConnection
from agent_executor.storage.postgres_writer import (
    PostgresTransaction,
    PostgresWrite,
)
from tests.postgres import PostgresServer


@pytest.fixture
async def url(postgres_url: str) -> str:
    """Returns the URL of a database with a table of letters."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "CREATE TABLE letters (letter TEXT PRIMARY KEY);"
        "CREATE TABLE words (first TEXT REFERENCES letters DEFERRABLE INITIALLY DEFERRED)"
    )
    await connection.close()
    return postgres_url


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(url)
    yield database
    await database.close()


def insert(letter: str) -> PostgresWrite[str]:
    async def operation(connection: PostgresTransaction) -> str:
        await connection.execute("INSERT INTO letters VALUES ($1)", letter)
        return letter

    return operation


def insert_and_raise(letter: str) -> PostgresWrite[str]:
    async def operation(connection: PostgresTransaction) -> str:
        await insert(letter)(connection)
        raise KeyError(letter)

    return operation


def run(statement: str) -> PostgresWrite[str]:
    return lambda connection: connection.execute(statement)


async def stored(database: PostgresDatabase) -> str:
    rows = await database.read(lambda connection: connection.fetch("SELECT letter FROM letters"))
    return "".join(sorted(row[0] for row in rows))


async def submit_together(database: PostgresDatabase, *operations: PostgresWrite[Any]) -> list[Any]:
    """Submits while the writer is busy, so that all operations are in one batch."""
    entered, left = asyncio.Event(), asyncio.Event()

    async def wait(_: PostgresTransaction) -> None:
        entered.set()
        await left.wait()

    busy = asyncio.create_task(database.writer.submit(wait))
    await entered.wait()
    tasks = [asyncio.create_task(database.writer.submit(operation)) for operation in operations]
    await asyncio.sleep(0)
    left.set()
    await busy
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_operations_that_wait_share_one_transaction(database: PostgresDatabase) -> None:
    assert await submit_together(database, *map(insert, "abcdefghij")) == list("abcdefghij")
    assert await stored(database) == "abcdefghij"
    statistics = database.writer.statistics
    assert (statistics.batches, statistics.operations) == (2, 11)
    assert statistics.last_batch_operations == 10


def test_it_works_under_uvloop(postgres_server: PostgresServer) -> None:
    async def main() -> list[int]:
        database = PostgresDatabase(postgres_server.url())

        def select(number: int) -> PostgresWrite[int]:
            return lambda connection: connection.fetchval(f"SELECT {number}")

        values = await asyncio.gather(*map(database.writer.submit, map(select, range(20))))
        await database.close()
        return values

    assert uvloop.run(main()) == list(range(20))


async def test_a_batch_has_a_limit(url: str) -> None:
    seen: list[BatchStatistics] = []
    database = PostgresDatabase(url, max_batch=4, on_batch=seen.append)
    await submit_together(database, *map(insert, "abcdefghij"))
    await database.close()
    assert [statistics.last_batch_operations for statistics in seen] == [1, 4, 4, 2]


async def test_only_the_operation_that_raises_fails(database: PostgresDatabase) -> None:
    outcomes = await submit_together(
        database, insert("a"), insert_and_raise("b"), insert("c"), insert("a"), insert("d")
    )
    assert [outcomes[0], outcomes[2], outcomes[4]] == ["a", "c", "d"]
    assert isinstance(outcomes[1], KeyError)
    assert isinstance(outcomes[3], asyncpg.UniqueViolationError)
    assert await stored(database) == "acd"


async def test_only_the_operation_that_breaks_a_deferred_constraint_fails(
    database: PostgresDatabase,
) -> None:
    outcomes = await submit_together(
        database, insert("a"), run("INSERT INTO words VALUES ('z')"), insert("b")
    )
    assert isinstance(outcomes[1], asyncpg.ForeignKeyViolationError)
    assert await stored(database) == "ab"


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
async def test_an_operation_that_ends_the_transaction_fails_alone(
    database: PostgresDatabase, statement: str
) -> None:
    outcomes = await submit_together(database, run(statement), insert("a"))
    assert isinstance(outcomes[0], RuntimeError)
    assert outcomes[1] == "a"
    assert await stored(database) == "a"


async def test_an_operation_that_swallows_an_error_fails_and_is_not_acknowledged(
    database: PostgresDatabase,
) -> None:
    async def swallow(connection: PostgresTransaction) -> str:
        await insert("b")(connection)
        try:
            await connection.execute("NO STATEMENT")
        except asyncpg.PostgresError:
            return "written"
        return ""

    outcomes = await submit_together(database, insert("a"), swallow)
    assert outcomes[0] == "a"
    assert isinstance(outcomes[1], RuntimeError)
    assert await stored(database) == "a"


async def test_a_cancelled_caller_does_not_undo_its_operation(
    database: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = [
        asyncio.create_task(database.writer.submit(operation))
        for operation in (insert("a"), insert_and_raise("b"))
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    await database.writer.submit(insert("c"))
    assert await stored(database) == "ac"
    assert "An abandoned operation failed." in caplog.text


async def test_operations_tell_each_other_what_holds_in_their_transaction_only(
    database: PostgresDatabase,
) -> None:
    async def count(transaction: PostgresTransaction) -> int:
        transaction.memory["count"] = transaction.memory.get("count", 0) + 1
        return int(transaction.memory["count"])

    assert await submit_together(database, count, count, count) == [1, 2, 3]
    # After the failure each is run again in a transaction of its own.
    outcomes = await submit_together(database, count, insert_and_raise("a"), count)
    assert [outcomes[0], outcomes[2]] == [1, 1]


async def test_operations_of_one_key_keep_their_order(database: PostgresDatabase) -> None:
    seen: list[str] = []

    def note(text: str) -> PostgresWrite[None]:
        async def operation(_: PostgresTransaction) -> None:
            seen.append(text)

        return operation

    await asyncio.gather(
        *(
            database.writer.submit(note(f"{key}{number}"), key=key)
            for number, key in itertools.product(range(20), "cab")
        )
    )
    for key in "abc":
        assert [text for text in seen if text[0] == key] == [f"{key}{n}" for n in range(20)]


async def test_a_full_queue_makes_callers_wait(url: str) -> None:
    database = PostgresDatabase(url, max_queue=2)
    tasks = [asyncio.create_task(database.writer.submit(insert(letter))) for letter in "abc"]
    await asyncio.sleep(0)
    tasks[2].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[:2] == ["a", "b"]
    assert isinstance(outcomes[2], asyncio.CancelledError)
    assert await stored(database) == "ab"
    await database.close()


async def test_close_ends_what_was_submitted_and_refuses_the_rest(url: str) -> None:
    database = PostgresDatabase(url)
    tasks = [asyncio.create_task(database.writer.submit(insert(letter))) for letter in "abc"]
    await asyncio.sleep(0)
    await database.close()
    assert [task.result() for task in tasks] == ["a", "b", "c"]
    with pytest.raises(UnavailableError):
        await database.writer.submit(insert("d"))
    with pytest.raises(UnavailableError):
        await stored(database)
    await database.close()


async def test_a_read_is_one_snapshot_and_cannot_write(
    database: PostgresDatabase, url: str
) -> None:
    async def count_twice(connection: PostgresConnection) -> list[int]:
        counts = [await connection.fetchval("SELECT count(*) FROM letters")]
        await database.writer.submit(insert("a"))
        return [*counts, await connection.fetchval("SELECT count(*) FROM letters")]

    assert await database.read(count_twice) == [0, 0]
    assert await stored(database) == "a"
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await database.read(
            lambda connection: connection.execute("INSERT INTO letters VALUES ('b')")
        )
    with pytest.raises(KeyError):
        await database.read(raise_key_error)
    assert await stored(database) == "a"


async def raise_key_error(_: PostgresConnection) -> None:
    raise KeyError


async def test_a_statement_that_is_wrong_is_no_failure_of_the_storage(
    database: PostgresDatabase,
) -> None:
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await database.read_statement(lambda connection: connection.fetch("NO STATEMENT"))
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await database.writer.submit(run("NO STATEMENT"))


async def test_a_commit_is_durable_whatever_the_server_s_default(url: str) -> None:
    async def setting(connection: PostgresTransaction) -> Any:
        return await connection.fetchval("SHOW synchronous_commit")

    for default, expected in (("off", "on"), ("remote_apply", "remote_apply"), ("on", "on")):
        connection = await asyncpg.connect(url)
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = {default}")
        await connection.close()
        database = PostgresDatabase(url)
        assert await database.writer.submit(setting) == expected
        await database.close()


async def test_transactions_that_wait_in_a_ring_both_end(url: str) -> None:
    connection = await asyncpg.connect(url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '50ms'")
    await connection.close()
    databases = [PostgresDatabase(url) for _ in range(2)]
    await databases[0].writer.submit(run("INSERT INTO letters VALUES ('a'), ('b')"))
    meeting = asyncio.Barrier(2)
    attempts = 0

    def lock(first: str, second: str) -> PostgresWrite[str]:
        is_first_attempt = True

        async def operation(connection: PostgresTransaction) -> str:
            nonlocal attempts, is_first_attempt
            attempts += 1
            statement = "SELECT 1 FROM letters WHERE letter = $1 FOR UPDATE"
            await connection.execute(statement, first)
            if is_first_attempt:
                is_first_attempt = False
                await meeting.wait()
            await connection.execute(statement, second)
            return first

        return operation

    outcomes = await asyncio.gather(
        databases[0].writer.submit(lock("a", "b")), databases[1].writer.submit(lock("b", "a"))
    )
    assert list(outcomes) == ["a", "b"]
    # Both may find the ring at the same time, and then both begin again.
    assert attempts in {3, 4}
    for database in databases:
        await database.close()


async def test_lost_connections_are_opened_again(database: PostgresDatabase, url: str) -> None:
    await database.writer.submit(insert("a"))
    assert await stored(database) == "a"
    other = await asyncpg.connect(url)

    async def end_all() -> None:
        await other.fetch(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    async def be_ended(connection: PostgresTransaction) -> None:
        await insert("b")(connection)
        await end_all()
        await insert("c")(connection)

    with pytest.raises(UnavailableError) as failed:
        await database.writer.submit(be_ended)
    assert "administrator" not in str(failed.value)
    assert await stored(database) == "a"
    assert await database.writer.submit(insert("d")) == "d"
    await end_all()
    await other.close()
    assert await database.writer.submit(insert("e")) == "e"
    assert await stored(database) == "ade"


async def test_an_end_of_which_the_client_has_not_heard_yet_is_no_failure(
    database: PostgresDatabase, url: str
) -> None:
    async def end_all() -> None:
        other = await asyncpg.connect(url)
        await other.fetch(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await other.close()

    def end_all_unheard() -> None:
        """Holds the event loop meanwhile, which so reads nothing of it before the next call."""
        thread = threading.Thread(target=asyncio.run, args=(end_all(),))
        thread.start()
        thread.join()

    for letter in "abcde":
        await database.writer.submit(insert(letter))
        await asyncio.gather(*(stored(database) for _ in range(4)))
        end_all_unheard()
        assert letter in await stored(database)
        await asyncio.gather(*(stored(database) for _ in range(4)))
        end_all_unheard()
        assert letter.upper() == await database.writer.submit(insert(letter.upper()))
        end_all_unheard()
        both = await asyncio.gather(*(stored(database) for _ in range(4)))
        assert all(letter.upper() in each for each in both)


async def test_a_server_that_cannot_be_reached_is_unavailable_until_it_can(
    postgres_server: PostgresServer, url: str
) -> None:
    database = PostgresDatabase(url)
    await database.writer.submit(insert("a"))
    assert await stored(database) == "a"
    postgres_server.stop()
    try:
        for _ in range(2):
            with pytest.raises(UnavailableError) as caught:
                await database.writer.submit(insert("b"))
            assert str(postgres_server.folder) not in str(caught.value)
        with pytest.raises(UnavailableError):
            await stored(database)
    finally:
        postgres_server.start()
    assert await database.writer.submit(insert("c")) == "c"
    assert await stored(database) == "ac"
    await database.close()


async def test_acknowledged_is_durable_and_the_rest_is_all_or_nothing(
    postgres_server: PostgresServer, url: str
) -> None:
    database = PostgresDatabase(url)
    acknowledged: set[str] = set()
    ids = itertools.count()
    enough = asyncio.Event()

    async def write_until_it_fails() -> None:
        while True:
            first, second = f"{next(ids)}", f"{next(ids)}"

            async def insert_two(
                connection: PostgresTransaction, pair: tuple[str, str] = (first, second)
            ) -> None:
                for letter in pair:
                    await insert(letter)(connection)

            try:
                await database.writer.submit(insert_two)
            except UnavailableError:
                return
            acknowledged.update((first, second))
            if len(acknowledged) > 300:
                enough.set()

    writing = asyncio.gather(*(write_until_it_fails() for _ in range(16)))
    await enough.wait()
    postgres_server.stop()
    await writing
    postgres_server.start()
    rows = await database.read(lambda connection: connection.fetch("SELECT letter FROM letters"))
    letters = {row[0] for row in rows}
    assert acknowledged <= letters
    assert all(str(int(letter) ^ 1) in letters for letter in letters)
    await database.close()

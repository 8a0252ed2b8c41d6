from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_executor.errors import UnavailableError
from agent_executor.storage.sqlite import SqliteDatabase, connect_writable, create_private_file


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    # A name in which every character that a URI treats as special stands for itself.
    database = SqliteDatabase(tmp_path / "new" / "folder" / "a?b#c%20 d.sqlite3")
    await database.writer.submit(lambda c: c.execute("CREATE TABLE numbers (number INTEGER)"))
    yield database
    await database.close()


def insert(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO numbers VALUES (7)")


def count(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("SELECT count(*) FROM numbers").fetchone()[0]
    return number


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_only_the_owner_may_read_the_files(database: SqliteDatabase) -> None:
    await database.writer.submit(insert)
    folder = database.path.parent
    assert mode(folder) == mode(folder.parent) == 0o700
    files = list(folder.iterdir())
    assert {file.name.removeprefix(database.path.name) for file in files} == {"", "-wal", "-shm"}
    assert {mode(file) for file in files} == {0o600}


def test_what_exists_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    file = folder / "file"
    file.write_bytes(b"content")
    file.chmod(0o640)
    create_private_file(file)
    assert (mode(folder), mode(file), file.read_bytes()) == (0o755, 0o640, b"content")


async def test_a_commit_survives_a_power_cut_and_foreign_keys_hold(
    database: SqliteDatabase,
) -> None:
    def pragmas(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    full = 2
    assert await database.writer.submit(pragmas) == ["wal", full, 1, 5000]


async def test_a_read_sees_every_acknowledged_write(database: SqliteDatabase) -> None:
    for expected in range(1, 21):
        await database.writer.submit(insert)
        assert await database.read(count) == expected


async def test_a_point_read_may_be_made_without_a_thread(database: SqliteDatabase) -> None:
    await database.writer.submit(insert)
    assert database.read_inline(count) == 1
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.read_inline(insert)
    await database.close()
    with pytest.raises(UnavailableError):
        database.read_inline(count)


async def test_a_read_operation_sees_one_snapshot(database: SqliteDatabase) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def count_twice(connection: sqlite3.Connection) -> tuple[int, int]:
        first = count(connection)
        begun.set()
        assert go_on.wait(10)
        return first, count(connection)

    reading = asyncio.create_task(database.read(count_twice))
    await asyncio.to_thread(begun.wait, 10)
    await database.writer.submit(insert)
    assert await database.read(count) == 1
    go_on.set()
    assert await reading == (0, 0)


async def test_a_read_operation_cannot_write(database: SqliteDatabase) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(insert)
    assert await database.read(count) == 0


async def test_a_read_operation_that_raised_half_way_leaves_no_old_snapshot_behind(
    database: SqliteDatabase,
) -> None:
    for _ in range(3):
        await database.writer.submit(insert)

    def raise_half_way(connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT number FROM numbers")
        for row in rows:
            raise ValueError(row)

    # Whoever holds the error, as a log does, holds the half read cursor.
    with pytest.raises(ValueError, match="7") as raised:
        await database.read(raise_half_way)
    with pytest.raises(ValueError, match="7") as raised_inline:
        database.read_inline(raise_half_way)
    await database.writer.submit(insert)
    assert await database.read(count) == database.read_inline(count) == 4
    assert raised.tb is not raised_inline.tb


async def test_the_fault_of_a_read_operation_reaches_its_caller(database: SqliteDatabase) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.read(lambda connection: connection.execute("SELECT * FROM unknown"))
    assert await database.read(count) == 0


async def test_a_lost_file_is_unavailable_and_not_named(database: SqliteDatabase) -> None:
    database.path.unlink()
    with pytest.raises(UnavailableError) as caught:
        await database.read(count)
    assert database.path.stem not in str(caught.value)


async def test_a_closed_database_refuses_and_leaves_one_file(database: SqliteDatabase) -> None:
    await database.writer.submit(insert)
    await database.read(count)
    await database.close()
    with pytest.raises(UnavailableError):
        await database.read(count)
    with pytest.raises(UnavailableError):
        await database.writer.submit(insert)
    assert list(database.path.parent.iterdir()) == [database.path]


async def test_another_process_that_locks_the_file_delays_a_write(
    database: SqliteDatabase,
) -> None:
    other = connect_writable(database.path)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(database.writer.submit(insert))
    assert await database.read(count) == 0
    other.execute("COMMIT")
    other.close()
    await writing
    assert await database.read(count) == 1


def test_a_file_that_is_no_database_fails_the_start(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite3"
    path.write_text("This is not a database. " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        SqliteDatabase(path)


async def test_a_name_that_sqlite_treats_as_special_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = SqliteDatabase(Path(":memory:"))
    await database.writer.submit(lambda c: c.execute("CREATE TABLE numbers (number INTEGER)"))
    assert await database.read(count) == 0
    await database.close()
    assert (tmp_path / ":memory:").stat().st_size > 0
